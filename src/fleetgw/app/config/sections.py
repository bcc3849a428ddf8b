"""The configuration as typed values. Names, types and descriptions are also the JSON Schema and the reference."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta, defstruct, field

from fleetgw.adapters.settings.values import OLD_RELIABLE_ACK, Port, Settings
from fleetgw.adapters.sinks.registry import built_in_sinks
from fleetgw.app.config.airbrake import Airbrake
from fleetgw.app.config.dead_letters import DeadLetters
from fleetgw.app.config.deduplication import Deduplication
from fleetgw.app.config.delivery import Delivery
from fleetgw.app.config.dispatchers import Dispatcher
from fleetgw.app.config.drain import Drain
from fleetgw.app.config.health import Health
from fleetgw.app.config.identity import Identity
from fleetgw.app.config.limits import Connectivity, Limits, RateLimit
from fleetgw.app.config.monitoring_sections import Monitoring
from fleetgw.app.config.on_reload import APPLIED, NEW_SINKS
from fleetgw.app.config.operations import Operations
from fleetgw.app.config.sink_sections import sink_sections
from fleetgw.app.config.spool import Spool
from fleetgw.app.config.tls import Tls
from fleetgw.app.config.vehicles import Vehicles

LOG_LEVEL_ALIASES = {"warning": "warn", "fatal": "error", "panic": "error"}
"""Other names that the Go server accepts; there are no levels above error."""

_FOR_A_SCRIPT = "remove it, or keep it for the script that checks a server's certificate"


class GatewayConfig(Settings, frozen=True, kw_only=True):
    """The whole configuration."""

    old_keys: ClassVar[Mapping[str, str]] = {
        **OLD_RELIABLE_ACK,
        "reliable_ack_workers": "remove it: confirmations need no workers",
        "json_log_handler": "use json_log_enable, and remove it",
        "hostname": _FOR_A_SCRIPT,
        "ca": f"{_FOR_A_SCRIPT}; vehicles' authorities belong in tls.ca_file",
    }
    near_keys: ClassVar[Mapping[str, str]] = {
        "metrics": "monitoring.prometheus_metrics_port",
        "metrics_port": "monitoring.prometheus_metrics_port",
        "prometheus_metrics_port": "monitoring.prometheus_metrics_port",
        "prometheus_metrics_host": "monitoring.prometheus_metrics_host",
        "profiler_port": "monitoring.profiler_port",
        "profiling_path": "monitoring.profiling_path",
        "statsd": "monitoring.statsd",
        "verbose": "logger.verbose",
        "topic_prefix": "namespace",
        "health_port": "status_port",
        "ssl": "tls",
        "ca_file": "tls.ca_file",
        "server_cert": "tls.server_cert",
        "server_key": "tls.server_key",
    }

    schema_: Annotated[str, Meta(description="For editors: where the JSON Schema is; not used.", extra=APPLIED)] = field(
        default="", name="$schema"
    )
    host: Annotated[
        str, Meta(description="Address that vehicles connect to and of the status port; empty: every address.")
    ] = ""
    port: Annotated[Port, Meta(description="Port that vehicles connect to; 0: any free one.")]
    status_port: Annotated[Port, Meta(description="Port of `GET /status`, and of the operators' page and API; 0: off.")] = 0
    tls: Annotated[Tls, Meta(description="Certificates.", extra=APPLIED)]
    use_default_eng_ca: Annotated[
        bool,
        Meta(description="Accepted for the Go server's files, with a warning: no authorities are built in.", extra=APPLIED),
    ] = False
    records: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description="Record type (`V`, `alerts`, `errors`, `connectivity`, `gateway_status` or your own) to the "
            "sinks it goes to.",
            extra=APPLIED | {"when_missing": 'say where records go, such as {"V": ["logger"]}'},
        ),
    ]
    reliable_ack_sources: Annotated[
        dict[str, str],
        Meta(description="Record type to the sink whose confirmation is acknowledged to the vehicle.", extra=APPLIED),
    ] = {}
    ack_policies: Annotated[
        dict[str, str],
        Meta(
            description="Record type to the condition of its acknowledgements: `accepted`, `spooled`, a sink, `all`, `any`, "
            "or an expression such as `kafka and (mqtt or redis)`. A type left out: `accepted`.",
            extra=APPLIED,
        ),
    ] = {}
    unrouted: Annotated[
        Literal["accept", "refuse"],
        Meta(
            description="Records of types that `records` does not name: `accept` acknowledges and drops them, as the Go "
            "server does; `refuse` answers with the error reply. Both count them in `unrouted_records_total`.",
            extra=APPLIED,
        ),
    ] = "accept"
    rate_limit: Annotated[RateLimit, Meta(description="Limit on the records of one vehicle.", extra=APPLIED)] = field(
        default_factory=RateLimit
    )
    namespace: Annotated[str, Meta(description="Topics, streams and channels are called `<namespace>_<record type>`.")] = ""
    transmit_decoded_records: Annotated[bool, Meta(description="Send JSON to the sinks in place of protobuf.")] = False
    vins_signal_tracking_enabled: Annotated[
        tuple[str, ...], Meta(description="VINs whose signals are counted singly, at most 20.", extra=APPLIED)
    ] = ()
    log_level: Annotated[
        Literal["trace", "debug", "info", "warn", "error"],
        Meta(
            description="Lowest level of logged events.",
            extra=APPLIED | {"aliases": LOG_LEVEL_ALIASES, "as_left_out": ("",)},
        ),
    ] = "info"
    json_log_enable: Annotated[bool, Meta(description="Log lines are JSON in place of readable text.")] = False
    dispatchers: Annotated[
        dict[str, Dispatcher],
        Meta(description="Third parties' sinks: name that records are routed to, and declaration.", extra=NEW_SINKS),
    ] = {}
    monitoring: Annotated[Monitoring, Meta(description="Metrics and profiling.")] = field(default_factory=Monitoring)
    operations: Annotated[Operations, Meta(description="Access of operators to the status port.", extra=APPLIED)] = field(
        default_factory=Operations
    )
    airbrake: Annotated[Airbrake | None, Meta(description="Error reports.")] = None
    limits: Annotated[Limits, Meta(description="Limits on vehicles and their connections.", extra=APPLIED)] = field(
        default_factory=Limits
    )
    connectivity: Annotated[Connectivity, Meta(description="Connectivity records.", extra=APPLIED)] = field(
        default_factory=Connectivity
    )
    delivery: Annotated[Delivery, Meta(description="The queue before each sink.")] = field(default_factory=Delivery)
    spool: Annotated[Spool | None, Meta(description="The durable queue on disk.")] = None
    dead_letters: Annotated[
        DeadLetters | None, Meta(description="The store of the records that a sink refuses for good.")
    ] = None
    deduplication: Annotated[Deduplication, Meta(description="Duplicates of acknowledged records.", extra=APPLIED)] = field(
        default_factory=Deduplication
    )
    drain: Annotated[Drain, Meta(description="The stop of the gateway.", extra=APPLIED)] = field(default_factory=Drain)
    health: Annotated[Health, Meta(description="The answers to probes.", extra=APPLIED)] = field(default_factory=Health)
    identity: Annotated[Identity, Meta(description="Issuers of vehicles' certificates.", extra=APPLIED)] = field(
        default_factory=Identity
    )
    vehicles: Annotated[Vehicles, Meta(description="The vehicles that may connect.")] = field(default_factory=Vehicles)


if TYPE_CHECKING:  # a class that is made at run time is no type to a checker
    Config: TypeAlias = GatewayConfig
else:
    Config = defstruct(
        "Config",
        sink_sections(built_in_sinks().values()),
        bases=(GatewayConfig,),
        namespace={"__doc__": GatewayConfig.__doc__},
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
