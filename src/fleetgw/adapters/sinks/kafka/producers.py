"""Makes and destroys librdkafka clients."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.domain.ports import ILog


def make_producer(
    make: Callable[..., Producer],
    section: str,
    properties: Mapping[str, str],
    callbacks: Mapping[str, Callable[..., None]],
    log: ILog,
) -> Producer:
    """Make a client.

    :param make: ``Producer``, or a test double.
    :param section: name of the configuration section, for messages.
    :raises ConfigurationError: naming every property that librdkafka refuses.
    """
    logger = _ClientLog(log)
    try:
        return make({**properties, **callbacks}, logger=logger)
    except KafkaException as error:
        problems = []
        for name, value in properties.items():  # librdkafka names the first one only
            try:
                make({name: value}, logger=logger)
            except KafkaException as refusal:
                problems.append(_problem(f"{section}.{name}", refusal))
        raise ConfigurationError(problems or [_problem(section, error)]) from error


def destroy(producers: list[Producer]) -> None:
    """Destroy clients, to which the caller has no other reference.

    This happens in a thread, because it waits for the client's own threads, of which one may wait for a name server.
    """
    Thread(target=producers.clear, name="fleetgw-kafka-end", daemon=True).start()


def _problem(path: str, error: KafkaException) -> Problem:
    return Problem(path, error.args[0].str().strip(), "see librdkafka's CONFIGURATION.md for names and values")


class _ClientLog:
    """Writes librdkafka's messages to the gateway's log instead of standard error, as a ``logging.Logger`` would."""

    def __init__(self, log: ILog) -> None:
        self._log = log

    def log(self, _level: int, _form: str, facility: str, _client: str, text: str) -> None:
        write = self._log.warn if facility == "CONFWARN" else self._log.debug
        write("kafka_client", facility=facility, text=text)
