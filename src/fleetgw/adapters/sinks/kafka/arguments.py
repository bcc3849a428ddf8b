"""Translates librdkafka's property names and values to kafka-python's arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from fleetgw.adapters.sinks.kafka.kafka_library import has_lz4, has_snappy, has_zstd
from fleetgw.adapters.sinks.kafka.partitioners import HASHES, HashPartitioner
from fleetgw.adapters.sinks.kafka.properties import LINGER_MS
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.domain.ports import ILog

    Reader = Callable[[str], object]


@frozen
class ProducerPlan:
    """A configuration section, translated for kafka-python.

    :ivar arguments: for ``kafka.KafkaProducer``.
    :ivar max_records: bound on the records in flight (``queue.buffering.max.messages``).
    :ivar max_bytes: bound on their payload bytes (``queue.buffering.max.kbytes``).
    """

    arguments: dict[str, Any]  # kafka-python has no types
    max_records: int
    max_bytes: int

    @property
    def servers(self) -> list[str]:
        """The bootstrap servers, each ``host:port``."""
        servers: list[str] = self.arguments.get("bootstrap_servers", ["localhost:9092"])
        return servers


def _text(value: str) -> str:
    return value


def _one_of(*choices: str) -> Reader:
    def read(value: str) -> str:
        if value.upper() not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices).lower()}")
        return value.upper()

    return read


def _acks(value: str) -> int:
    acks = -1 if value == "all" else int(value)
    if acks not in {-1, 0, 1}:
        raise ValueError(f"{value!r} is not one of all, -1, 0, 1")
    return acks


def _flag(value: str) -> bool:
    if value.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(f"{value!r} is neither true nor false")
    return value.lower() in {"true", "1"}


def _compression(value: str) -> str | None:
    installed = {"none": True, "gzip": True, "snappy": has_snappy(), "lz4": has_lz4(), "zstd": has_zstd()}
    if value not in installed:
        raise ValueError(f"{value!r} is not one of {', '.join(installed)}")
    if not installed[value]:
        raise ValueError(f"the library for {value} is not installed (pip install 'fleetgw[kafka-python]')")
    return None if value == "none" else value


def _readable(path: str) -> str:
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def _partitioner(value: str) -> HashPartitioner:
    if value not in HASHES:
        raise ValueError(f"{value!r} is not one of {', '.join(HASHES)}")
    return HashPartitioner(HASHES[value])


def _servers(value: str) -> list[str]:
    return [server.strip().rpartition("://")[2] for server in value.split(",") if server.strip()]


def _version(value: str) -> tuple[int, ...]:
    return tuple(map(int, value.split(".")))


_SECURITY = _one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")  # kafka-python takes "ssl" for PLAINTEXT
_MECHANISM = _one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI")

_ARGUMENTS: dict[str, tuple[str, Reader]] = {
    "acks": ("acks", _acks),
    "batch.size": ("batch_size", int),
    "bootstrap.servers": ("bootstrap_servers", _servers),
    "broker.version.fallback": ("api_version", _version),
    "client.id": ("client_id", _text),
    "compression.codec": ("compression_type", _compression),
    "compression.type": ("compression_type", _compression),
    "connections.max.idle.ms": ("connections_max_idle_ms", int),
    "delivery.timeout.ms": ("delivery_timeout_ms", int),
    "linger.ms": ("linger_ms", int),
    "max.in.flight": ("max_in_flight_requests_per_connection", int),
    "max.in.flight.requests.per.connection": ("max_in_flight_requests_per_connection", int),
    "message.max.bytes": ("max_request_size", int),
    "message.send.max.retries": ("retries", int),
    "message.timeout.ms": ("delivery_timeout_ms", int),
    "metadata.broker.list": ("bootstrap_servers", _servers),
    "metadata.max.age.ms": ("metadata_max_age_ms", int),
    "partitioner": ("partitioner", _partitioner),
    "queue.buffering.max.ms": ("linger_ms", int),
    "reconnect.backoff.max.ms": ("reconnect_backoff_max_ms", int),
    "reconnect.backoff.ms": ("reconnect_backoff_ms", int),
    "request.required.acks": ("acks", _acks),
    "request.timeout.ms": ("request_timeout_ms", int),
    "retries": ("retries", int),
    "retry.backoff.ms": ("retry_backoff_ms", int),
    "sasl.kerberos.service.name": ("sasl_kerberos_service_name", _text),
    "sasl.mechanism": ("sasl_mechanism", _MECHANISM),
    "sasl.mechanisms": ("sasl_mechanism", _MECHANISM),
    "sasl.password": ("sasl_plain_password", _text),
    "sasl.username": ("sasl_plain_username", _text),
    "security.protocol": ("security_protocol", _SECURITY),
    "socket.connection.setup.timeout.ms": ("bootstrap_timeout_ms", int),
    "socket.receive.buffer.bytes": ("receive_buffer_bytes", int),
    "socket.send.buffer.bytes": ("send_buffer_bytes", int),
    "socket.timeout.ms": ("request_timeout_ms", int),
    "ssl.ca.location": ("ssl_cafile", _readable),
    "ssl.certificate.location": ("ssl_certfile", _readable),
    "ssl.cipher.suites": ("ssl_ciphers", _text),
    "ssl.crl.location": ("ssl_crlfile", _readable),
    "ssl.endpoint.identification.algorithm": ("ssl_check_hostname", lambda value: value.lower() != "none"),
    "ssl.key.location": ("ssl_keyfile", _readable),
    "ssl.key.password": ("ssl_password", _text),
    "api.version.request": ("asks_version", _flag),
    "queue.buffering.max.messages": ("max_records", int),
    "queue.buffering.max.kbytes": ("max_kbytes", int),
    "enable.idempotence": ("enable_idempotence", _flag),
}

_DEFAULTS: dict[str, Any] = {
    # librdkafka's defaults, where kafka-python has others
    "batch_size": 1_000_000,
    "delivery_timeout_ms": 300_000,
    "linger_ms": LINGER_MS,
    "max_request_size": 1_000_000,
    "partitioner": HashPartitioner(HASHES["consistent_random"]),
    # more requests in flight would let a record overtake an earlier one that is retried
    "max_in_flight_requests_per_connection": 1,
    # longest waits of the sink's thread: for a broker, and for the metadata of a topic
    "bootstrap_timeout_ms": 5_000,
    "max_block_ms": 5_000,
    "metrics_enabled": False,
    # finds a broker that is back within about a second; the library's own default is 30 s
    "reconnect_backoff_max_ms": 1_000,
    "max_records": 100_000,
    "max_kbytes": 1_048_576,
    "request_timeout_ms": 30_000,
}


def producer_plan(section: str, properties: Mapping[str, str], log: ILog) -> ProducerPlan:
    """Translate properties; one without a counterpart is ignored, with a warning that names it.

    :param section: the section's name, for messages.
    :raises ConfigurationError: naming every property whose value cannot be used.
    """
    given: dict[str, Any] = {}
    problems = []
    for name, value in properties.items():
        if name not in _ARGUMENTS:
            log.warn("kafka_property_ignored", property=f"{section}.{name}", reason="kafka-python has no counterpart of it")
            continue
        argument, read = _ARGUMENTS[name]
        try:
            given[argument] = read(value)
        except ValueError as error:
            problems.append(Problem(f"{section}.{name}", str(error), "see librdkafka's CONFIGURATION.md for values"))
    if problems:
        raise ConfigurationError(problems)
    if given.get("enable_idempotence"):
        reason = "with it one refused record would stop kafka-python for ever"
        log.warn("kafka_property_ignored", property=f"{section}.enable.idempotence", reason=reason)
    arguments = {**_DEFAULTS, **given, "enable_idempotence": False}
    if arguments.pop("asks_version", True):
        arguments.pop("api_version", None)  # a fallback for brokers that do not tell their version
    # in kafka-python linger and request timeout must fit into the delivery timeout; librdkafka shortens the request timeout
    time_left_ms = arguments["delivery_timeout_ms"] - arguments["linger_ms"]
    arguments["request_timeout_ms"] = max(1, min(arguments["request_timeout_ms"], time_left_ms))
    return ProducerPlan(
        max_records=arguments.pop("max_records"), max_bytes=arguments.pop("max_kbytes") * 1024, arguments=arguments
    )
