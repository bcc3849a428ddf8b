"""Kafka, by either of two clients behind one configuration section."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher

Client = Literal["confluent-kafka", "kafka-python"]


def kafka_sink(context: SinkContext, client: Client | None = None) -> IDispatcher:
    """Make the Kafka sink; a client library is imported only when it is the one used.

    :param client: which library; None takes confluent-kafka where it is installed, else kafka-python.
    :raises ConfigurationError: the library is not installed, or ``context.settings`` cannot work.
    """
    if client != "kafka-python":
        try:
            from fleetgw.adapters.sinks.kafka.confluent import ConfluentKafkaSink
        except ImportError as error:
            if client is not None:
                raise _not_installed(context, client, "kafka") from error
        else:
            return ConfluentKafkaSink(context)
    try:
        from fleetgw.adapters.sinks.kafka.kafka_python import KafkaPythonSink
    except ImportError as error:
        if client is not None:
            raise _not_installed(context, client, "kafka-python") from error
        raise _not_installed(context, "confluent-kafka", "kafka") from error
    return KafkaPythonSink(context)


def _not_installed(context: SinkContext, client: Client, extra: str) -> ConfigurationError:
    return ConfigurationError(
        [Problem(context.name, f"the client library {client} is not installed", f"pip install 'fleetgw[{extra}]'")]
    )
