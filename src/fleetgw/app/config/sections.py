"""The configuration as typed values. Names, types and descriptions here are also the JSON Schema and the reference."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field, structs

from fleetgw.app.config.monitoring_sections import Monitoring
from fleetgw.app.config.sink_sections import Airbrake, Embedded, Kinesis, Mqtt, Pubsub, Redis, Sqlite, Zmq
from fleetgw.adapters.settings.values import SECRET_FORMS, ZERO_IS_LEFT_OUT, Natural, Pause, Port, Positive, Seconds, Whole

FREE_FORM = {"free_form": True}
"""Hint: an object whose members have no fixed names; secrets in it are told by their form or their name."""

LOG_LEVEL_ALIASES = {"warning": "warn", "fatal": "error", "panic": "error"}
"""Names that the Go server takes too; nothing here is more important than an error."""


Setting = Annotated[object, Meta(extra_json_schema={"description": "Any JSON value; a secret may be named as everywhere."})]
KafkaValue = Annotated[
    object,
    Meta(
        extra_json_schema={"anyOf": [{"type": "number"}, {"type": "boolean"}, *SECRET_FORMS["anyOf"]]},
        extra={"in_words": "text, a number, true or false, or a secret"},
    ),
]


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The port that vehicles connect to: TLS 1.2 or later, client certificates required."""

    ca_file: Annotated[
        Path,
        Meta(
            description="PEM file of the authorities that sign vehicles' certificates (Tesla's: `fleetgw fetch-ca FILE`).",
            extra={
                "when_missing": "get Tesla's authorities with `fleetgw fetch-ca FILE` and name that FILE: none are built in"
            },
        ),
    ]
    server_cert: Annotated[Path, Meta(description="PEM file of our certificate, followed by its intermediates.")]
    server_key: Annotated[Path, Meta(description="PEM file of our certificate's private key, not encrypted.")]


class RateLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records that one vehicle may send, over all its connections. A record above that is neither acked nor dispatched."""

    enabled: Annotated[bool, Meta(description="Whether vehicles are limited.")] = False
    message_limit: Annotated[Whole, Meta(description="Records in one interval; needed, and at least 1, when enabled.")] = 0
    message_interval_time: Annotated[
        Whole, Meta(description="Length of the interval in seconds; 0: the default.", extra=ZERO_IS_LEFT_OUT)
    ] = 60


class Logger(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sink `logger`."""

    verbose: Annotated[bool, Meta(description="Wrap each value in an object that names its type.")] = False


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one vehicle may ask of the gateway. A time of 0 is no limit."""

    handshake_timeout_s: Annotated[Seconds, Meta(description="Seconds for the TLS handshake and the upgrade together.")] = (
        10.0
    )
    message_timeout_s: Annotated[
        Seconds, Meta(description="Seconds from the first byte of a frame or message to its last.")
    ] = 30.0
    ping_after_s: Annotated[Seconds, Meta(description="Seconds of silence after which a connection is pinged.")] = 25.0
    ping_timeout_s: Annotated[Seconds, Meta(description="Seconds of further silence after which it is closed.")] = 20.0
    write_timeout_s: Annotated[Seconds, Meta(description="Seconds that replies may wait for a vehicle to read them.")] = 10.0
    max_message_bytes: Annotated[Positive, Meta(description="Bytes of a message; a larger one gets the error reply.")] = (
        1_000_000
    )
    max_frame_bytes: Annotated[
        Positive,
        Meta(description="Bytes of a frame and of an assembled message; beyond it the connection is closed (1009)."),
    ] = 4_194_304
    max_connections: Annotated[
        Natural, Meta(description="Connections of vehicles at a time; 0: as many as RLIMIT_NOFILE leaves, 200 kept back.")
    ] = 0
    max_connections_per_vehicle: Annotated[
        Natural,
        Meta(description="Connections of one vehicle (certificate) at a time; 0: a quarter of all, at most 1024."),
    ] = 0
    max_half_open: Annotated[
        Natural,
        Meta(
            description="Connections that have not finished TLS handshake and upgrade; further ones wait in the kernel. "
            "0: a quarter of RLIMIT_NOFILE, at most 4096."
        ),
    ] = 0
    max_half_open_per_address: Annotated[
        Natural,
        Meta(
            description="Of these, those of one IPv4 address or IPv6 /64 network; further ones are closed. "
            "0: half of `max_half_open`. Behind a load balancer, all vehicles may have one address."
        ),
    ] = 0
    max_pending_reply_bytes: Annotated[
        Positive, Meta(description="Bytes of unread replies beyond which a vehicle is cut off.")
    ] = 262_144


class LaneSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The queue before one sink."""

    queue_records: Positive
    queue_bytes: Positive
    in_flight_records: Positive
    batch_records: Positive
    gather_ms: Seconds
    retry_initial_s: Pause
    retry_max_s: Seconds
    drain_timeout_s: Seconds


class LaneOverride(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs for one sink from the rest of `delivery`."""

    queue_records: Annotated[Positive | None, Meta(description="As in `delivery`.")] = None
    queue_bytes: Annotated[Positive | None, Meta(description="As in `delivery`.")] = None
    in_flight_records: Annotated[Positive | None, Meta(description="As in `delivery`.")] = None
    batch_records: Annotated[Positive | None, Meta(description="As in `delivery`.")] = None
    gather_ms: Annotated[Seconds | None, Meta(description="As in `delivery`.")] = None
    retry_initial_s: Annotated[Pause | None, Meta(description="As in `delivery`.")] = None
    retry_max_s: Annotated[Seconds | None, Meta(description="As in `delivery`.")] = None
    drain_timeout_s: Annotated[Seconds | None, Meta(description="As in `delivery`.")] = None


class Delivery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounded queue before each sink. A record that finds it full is not acknowledged; the vehicle resends it."""

    queue_records: Annotated[
        Positive,
        Meta(description="Records a sink may hold, waiting and in flight; what is set aside counts per record type."),
    ] = 100_000
    queue_bytes: Annotated[
        Positive, Meta(description="Bytes of memory that a sink's records may take, counted likewise.")
    ] = 268_435_456
    in_flight_records: Annotated[Positive, Meta(description="Records handed to the sink and not yet confirmed.")] = 20_000
    batch_records: Annotated[Positive, Meta(description="Records in one batch.")] = 2_000
    gather_ms: Annotated[
        Seconds, Meta(description="Milliseconds to gather a batch, at most; 0: one turn of the reactor.")
    ] = 5.0
    retry_initial_s: Annotated[Pause, Meta(description="Seconds before the first retry; doubled each time.")] = 0.5
    retry_max_s: Annotated[Seconds, Meta(description="Seconds between retries, at most.")] = 30.0
    drain_timeout_s: Annotated[Seconds, Meta(description="Seconds to settle what is held when the gateway stops.")] = 10.0
    memory_mib: Annotated[
        Positive | None,
        Meta(
            description="MiB of memory that the queues of all sinks may take together; left out: half of what the container "
            "may use, or the machine has."
        ),
    ] = None
    sinks: Annotated[dict[str, LaneOverride], Meta(description="Sink name to what differs for it.")] = {}

    def lane(self, sink: str) -> LaneSettings:
        """The settings of one sink's queue: the general ones, with its own in their place."""
        override = self.sinks.get(sink, LaneOverride())
        return LaneSettings(
            **{key: getattr(self, key) if own is None else own for key, own in structs.asdict(override).items()}
        )


class ByExtendedKeyUsage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take the client type from the certificate's extended key usages, as for the default issuers."""

    by_extended_key_usage: Annotated[Literal[True], Meta(description="Always `true`.")]


class Identity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose certificates make a vehicle."""

    issuers: Annotated[
        dict[str, str | ByExtendedKeyUsage],
        Meta(
            description='Issuer common name to client type, or to `{"by_extended_key_usage": true}`; added to the defaults.'
        ),
    ] = {}


class Dispatcher(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A third party's sink."""

    class_: Annotated[
        str | None,
        Meta(description="`module:Class`; left out: the entry point of this name in the group `fleetgw.dispatchers`."),
    ] = field(default=None, name="class")
    settings: Annotated[dict[str, Setting], Meta(description="Handed to the sink; secrets resolved.", extra=FREE_FORM)] = {}


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration."""

    schema_: Annotated[str, Meta(description="For editors: where the JSON Schema is; not used.")] = field(
        default="", name="$schema"
    )
    host: Annotated[
        str, Meta(description="Address that vehicles connect to and of the status port; empty: every address.")
    ] = ""
    port: Annotated[Port, Meta(description="Port that vehicles connect to; 0: any free one.")]
    status_port: Annotated[Port, Meta(description="Port of the plain `GET /status`; 0: off.")] = 0
    tls: Annotated[Tls, Meta(description="Certificates.")]
    use_default_eng_ca: Annotated[
        bool, Meta(description="Accepted for the Go server's files, with a warning: no authorities are built in.")
    ] = False
    records: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description="Record type (`V`, `alerts`, `errors`, `connectivity` or your own) to the sinks it goes to.",
            extra={"when_missing": 'say where records go, such as {"V": ["logger"]}'},
        ),
    ]
    reliable_ack_sources: Annotated[
        dict[str, str], Meta(description="Record type to the sink whose confirmation is acknowledged to the vehicle.")
    ] = {}
    rate_limit: Annotated[RateLimit, Meta(description="Records that one vehicle may send.")] = field(
        default_factory=RateLimit
    )
    namespace: Annotated[str, Meta(description="Topics, streams and channels are called `<namespace>_<record type>`.")] = ""
    transmit_decoded_records: Annotated[bool, Meta(description="Send JSON to the sinks in place of protobuf.")] = False
    vins_signal_tracking_enabled: Annotated[
        tuple[str, ...], Meta(description="VINs whose signals are counted singly, at most 20.")
    ] = ()
    log_level: Annotated[
        Literal["trace", "debug", "info", "warn", "error"],
        Meta(
            description="The least important events that are logged.",
            extra={"aliases": LOG_LEVEL_ALIASES, "as_left_out": ("",)},
        ),
    ] = "info"
    json_log_enable: Annotated[bool, Meta(description="Log lines are JSON in place of readable text.")] = False
    logger: Annotated[Logger, Meta(description="The sink `logger`.", extra={"null_refused": True})] = field(
        default_factory=Logger
    )
    kafka: Annotated[
        dict[str, KafkaValue] | None,
        Meta(description="The sink `kafka`: librdkafka property names and their values.", extra=FREE_FORM),
    ] = None
    kafka_client: Annotated[
        Literal["confluent-kafka", "kafka-python"] | None,
        Meta(description="The library that the sink `kafka` uses; default: `confluent-kafka` when installed."),
    ] = None
    kinesis: Annotated[Kinesis | None, Meta(description="The sink `kinesis`.")] = None
    pubsub: Annotated[Pubsub | None, Meta(description="The sink `pubsub`.")] = None
    zmq: Annotated[Zmq | None, Meta(description="The sink `zmq`.")] = None
    redis: Annotated[Redis | None, Meta(description="The sink `redis`.")] = None
    mqtt: Annotated[Mqtt | None, Meta(description="The sink `mqtt`.")] = None
    sqlite: Annotated[
        Sqlite, Meta(description="The sink `sqlite`; works without its section.", extra={"null_refused": True})
    ] = field(default_factory=Sqlite)
    embedded: Annotated[
        Embedded,
        Meta(
            description="The sink `embedded`, in a program of yours; works without its section.",
            extra={"null_refused": True},
        ),
    ] = field(default_factory=Embedded)
    dispatchers: Annotated[
        dict[str, Dispatcher], Meta(description="Third parties' sinks: the name to route to, and what it is.")
    ] = {}
    monitoring: Annotated[Monitoring, Meta(description="Metrics and profiling.")] = field(default_factory=Monitoring)
    airbrake: Annotated[Airbrake | None, Meta(description="Error reports.")] = None
    limits: Annotated[Limits, Meta(description="What one vehicle may ask of the gateway.")] = field(default_factory=Limits)
    delivery: Annotated[Delivery, Meta(description="The queue before each sink.")] = field(default_factory=Delivery)
    identity: Annotated[Identity, Meta(description="Whose certificates make a vehicle.")] = field(default_factory=Identity)
