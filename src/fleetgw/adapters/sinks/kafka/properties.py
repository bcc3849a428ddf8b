"""The ``kafka`` section of the configuration: librdkafka's property names and plain values."""

from collections.abc import Mapping

from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import ILog

LINGER_MS = 1
"""How long a client gathers records into a request where the section does not say: they come in batches, so only as long as
handing one over takes. Clients' own default is 5."""

RECONNECT_MAX_MS = 500
"""The longest pause before a client connects again: a broker that is back is found within about a second. librdkafka's own
is 10 s."""

SETUP_MS = 5000
"""Time for one attempt to connect, the handshake included: one that hangs keeps the next from being made."""

METADATA_RECOVERY = "none"
"""Keep the known brokers while all of them are down. librdkafka's default, ``rebootstrap``, forgets them: it then connects
and asks for the partitions' leaders on a timer of 1 s, and records leave up to 2 s after a broker is back. The sink makes a
new client, which asks the bootstrap servers, when no broker was reached for long."""

STATISTICS_MS = 500
"""How often a client tells whether it has a broker."""

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
"""The properties that idempotence depends on: an operator who sets one of these has decided how order is kept."""

_OURS = {
    "delivery.report.only.error": "every record's delivery is reported, or no receipt could be given",
    "enabled_events": "the sink chooses the events that it needs",
    "log.queue": "the client's log lines go to the gateway's log",
}


def read_properties(section: str, settings: Mapping[str, object], log: ILog) -> dict[str, str]:
    """Check the section's values and write them as librdkafka reads them.

    What belongs to the Go client alone, or would break the sink's contract, is left out with a warning.

    :param section: its name, for messages.
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
            # 0 is "for ever" to librdkafka, but an outcome is owed within bounded time
            log.warn("kafka_property_ignored", property=f"{section}.{name}", reason="a record's wait must end")
        elif isinstance(value, bool):
            properties[name] = "true" if value else "false"
        elif isinstance(value, int | float):
            properties[name] = str(int(value))
        elif isinstance(value, str):
            properties[name] = value
        else:
            problems.append(
                Problem(f"{section}.{name}", f"{value!r} is no property value", "give text, a number or a boolean")
            )
    if problems:
        raise ConfigurationError(problems)
    if "0" in {properties.get("acks"), properties.get("request.required.acks")}:
        log.warn("kafka_unconfirmed", property=f"{section}.acks", effect="a receipt means sent, not stored: acks is 0")
    return properties


def confluent_properties(section: str, settings: Mapping[str, object], log: ILog) -> dict[str, str]:
    """As ``read_properties``, with our defaults where librdkafka's own are slower to hand over, to connect or to tell."""
    properties = read_properties(section, settings, log)
    if "queue.buffering.max.ms" not in properties:  # its other name
        properties.setdefault("linger.ms", str(LINGER_MS))
    if not properties.keys() & _RECONNECT:
        properties["reconnect.backoff.max.ms"] = str(RECONNECT_MAX_MS)
    defaults = {
        "metadata.recovery.strategy": METADATA_RECOVERY,
        "socket.connection.setup.timeout.ms": str(SETUP_MS),
        "statistics.interval.ms": str(STATISTICS_MS),
    }
    return defaults | properties
