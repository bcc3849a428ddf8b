"""The ``kafka`` section of the configuration: librdkafka's property names and plain values."""

from collections.abc import Mapping

from fleetgw.adapters.sinks.kafka.settings import as_text, confirms_nothing
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import ILog

LINGER_MS = 1
"""Default of ``linger.ms``. Records come in batches already, so lingering only has to cover the hand-over of one batch. The
clients' own default is 5."""

RECONNECT_MAX_MS = 500
"""Default of the longest pause before a client connects again; a broker that is back is found within about a second.
librdkafka's own default is 10 s."""

SETUP_MS = 5000
"""Default time for one attempt to connect, with its handshake: an attempt that hangs delays the next one."""

METADATA_RECOVERY = "none"
"""Keeps the known brokers while all of them are down. librdkafka's default, ``rebootstrap``, forgets them: it then connects
and asks for the partitions' leaders on a timer of 1 s, so that records leave up to 2 s after a broker is back. After a long
outage the sink makes a new client, which asks the bootstrap servers."""

STATISTICS_MS = 500
"""Default interval of a client's statistics, which tell whether it has a broker."""

_RECONNECT = {"reconnect.backoff.ms", "reconnect.backoff.max.ms"}

ORDER_PROPERTIES = frozenset(
    {
        "acks",
        "enable.idempotence",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
        "message.send.max.retries",
        "queuing.strategy",
        "request.required.acks",
        "retries",
    }
)
"""The properties that idempotence depends on: an operator who sets one of them decides how order is kept."""

_OURS = {
    "delivery.report.only.error": "every record's delivery is reported, or no receipt could be given",
    "enabled_events": "the sink chooses the events that it needs",
    "log.queue": "the client's log lines go to the gateway's log",
}


def read_properties(section: str, settings: Mapping[str, object], log: ILog) -> dict[str, str]:
    """Check the section's values and convert them to librdkafka's form.

    Properties of the Go client, and those that would break the sink's contract, are ignored with a warning.

    :param section: name of the configuration section, for messages.
    :return: property name -> value as text.
    :raises ConfigurationError: a value is neither text, number nor boolean, or a property cannot work here.
    """
    properties: dict[str, str] = {}
    problems = []
    for name, value in settings.items():
        reason = "it belongs to the Go client" if name.startswith("go.") else _OURS.get(name)
        if name == "transactional.id":
            problems.append(Problem(f"{section}.{name}", "the gateway writes no transactions", "remove it"))
        elif reason is not None:
            log.warn("kafka_property_ignored", property=f"{section}.{name}", reason=reason)
        elif name in {"message.timeout.ms", "delivery.timeout.ms"} and value in (0, "0"):
            # 0 means no timeout to librdkafka, but every record gets its outcome within bounded time
            log.warn("kafka_property_ignored", property=f"{section}.{name}", reason="a record's wait must end")
        elif isinstance(value, str | int | float):
            properties[name] = as_text(value)
        else:
            problems.append(
                Problem(f"{section}.{name}", f"{value!r} is no property value", "give text, a number or a boolean")
            )
    if problems:
        raise ConfigurationError(problems)
    if confirms_nothing(properties):
        log.warn("kafka_unconfirmed", property=f"{section}.acks", effect="a receipt means sent, not stored: acks is 0")
    return properties


def bootstrap_servers(properties: Mapping[str, str]) -> str:
    """The bootstrap servers, separated by commas; empty where none is configured."""
    return properties.get("bootstrap.servers") or properties.get("metadata.broker.list", "")


def confluent_properties(section: str, settings: Mapping[str, object], log: ILog) -> dict[str, str]:
    """As ``read_properties``, with defaults that linger less, connect faster and report sooner than librdkafka's own."""
    properties = read_properties(section, settings, log)
    if "queue.buffering.max.ms" not in properties:  # the other name of linger.ms
        properties.setdefault("linger.ms", str(LINGER_MS))
    if not properties.keys() & _RECONNECT:
        properties["reconnect.backoff.max.ms"] = str(RECONNECT_MAX_MS)
    defaults = {
        "metadata.recovery.strategy": METADATA_RECOVERY,
        "socket.connection.setup.timeout.ms": str(SETUP_MS),
        "statistics.interval.ms": str(STATISTICS_MS),
    }
    return defaults | properties
