"""Makes and destroys clients of librdkafka."""

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

    :param make: ``Producer``, or a test's.
    :param section: its name, for messages.
    :raises ConfigurationError: naming every property that librdkafka refuses.
    """
    logger = _ClientLog(log)
    try:
        return make({**properties, **callbacks}, logger=logger)
    except KafkaException as error:
        problems = []
        for name, value in properties.items():  # of all together librdkafka names the first one only
            try:
                make({name: value}, logger=logger)
            except KafkaException as refusal:
                problems.append(_problem(f"{section}.{name}", refusal))
        raise ConfigurationError(problems or [_problem(section, error)]) from error


def let_go(producers: list[Producer]) -> None:
    """Destroy clients. The caller holds no other reference to them.

    On a thread: it waits for the client's own threads, and one of these may wait for a name server.
    """
    Thread(target=producers.clear, name="fleetgw-kafka-end", daemon=True).start()


def _problem(path: str, error: KafkaException) -> Problem:
    return Problem(path, error.args[0].str().strip(), "see librdkafka's CONFIGURATION.md for names and values")


class _ClientLog:
    """Writes librdkafka's messages to the gateway's log in place of standard error; it asks for logging.Logger's ``log``."""

    def __init__(self, log: ILog) -> None:
        self._log = log

    def log(self, _level: int, _form: str, facility: str, _client: str, text: str) -> None:
        write = self._log.warn if facility == "CONFWARN" else self._log.debug
        write("kafka_client", facility=facility, text=text)
