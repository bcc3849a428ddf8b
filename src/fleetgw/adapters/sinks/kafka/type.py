"""The declaration of the sink ``kafka``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.kafka.checks import check_kafka
from fleetgw.adapters.sinks.kafka.settings import KafkaClient, KafkaProperties, confirms_nothing
from fleetgw.adapters.sinks.sink_type import Confirmation, Confirms, ConfirmsHandOver, SinkType, imported
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.adapters.sinks.kafka.settings import Client
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher


def kafka_sink(context: SinkContext, kafka_client: Client | None = None) -> IDispatcher:
    """Make the Kafka sink; a client library is imported only when it is the one used.

    :param kafka_client: which library; None takes confluent-kafka where it is installed, else kafka-python.
    :raises ConfigurationError: the library is not installed, or ``context.settings`` cannot work.
    """
    if kafka_client != "kafka-python":
        try:
            from fleetgw.adapters.sinks.kafka.confluent import ConfluentKafkaSink
        except ImportError as error:
            if kafka_client is not None:
                raise _not_installed(context, kafka_client, "kafka") from error
        else:
            return ConfluentKafkaSink(context)
    try:
        from fleetgw.adapters.sinks.kafka.kafka_python import KafkaPythonSink
    except ImportError as error:
        if kafka_client is not None:
            raise _not_installed(context, kafka_client, "kafka-python") from error
        raise _not_installed(context, "confluent-kafka", "kafka") from error
    return KafkaPythonSink(context)


def _confirmation(kafka: Mapping[str, object]) -> Confirmation:
    if confirms_nothing(kafka):
        return ConfirmsHandOver("kafka with acks 0 confirms no more than that the client has sent a record")
    return Confirms()


def _not_installed(context: SinkContext, client: Client, extra: str) -> ConfigurationError:
    return ConfigurationError(
        [Problem(context.name, f"the client library {client} is not installed", f"pip install 'fleetgw[{extra}]'")]
    )


KAFKA: SinkType[Mapping[str, object]] = SinkType(
    name="kafka",
    settings=KafkaProperties,
    make=kafka_sink,
    further_keys={"kafka_client": KafkaClient},
    meaning="The sink `kafka`: librdkafka property names and their values.",
    needs_section=True,
    check=check_kafka,
    confirmation=_confirmation,
    certificate_keys=[("ssl.certificate.location",)],
    make_probe=imported("fleetgw.adapters.sinks.kafka.probe:kafka_probe", "kafka"),
)
