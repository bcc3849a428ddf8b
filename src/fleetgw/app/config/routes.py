"""Does what ``records`` and ``reliable_ack_sources`` say make sense?"""

import re

from fleetgw.adapters.settings.findings import Findings, Surroundings, did_you_mean, member, nearest, quoted
from fleetgw.app.config.sections import Config
from fleetgw.domain.records import RECORD_TYPES

SINKS_WITH_SECTION = ("kafka", "kinesis", "pubsub", "zmq", "mqtt", "redis")
"""Built-in sinks that cannot work without their section."""

BUILT_IN_SINKS = frozenset({*SINKS_WITH_SECTION, "embedded", "logger", "memory", "sqlite"})
"""Those that there are when the gateway runs inside a program."""

AVAILABLE_SINKS = BUILT_IN_SINKS - {"embedded"}
"""Those that there are when it runs by itself."""


def routed_sinks(config: Config) -> frozenset[str]:
    """The names of all sinks that records are routed to."""
    return frozenset(sink for sinks in config.records.values() for sink in sinks)


def check_routes(config: Config, findings: Findings, surroundings: Surroundings) -> None:
    """Every record type has sinks, and every sink exists and is configured."""
    if not config.records:
        findings.refuse(
            "records", "is empty: every record would be acknowledged and lost", 'route some, as in {"V": ["logger"]}'
        )
    for record_type, sinks in config.records.items():
        path = member("records", record_type)
        meant = nearest(record_type, RECORD_TYPES, likeness=0.85)
        if not record_type:
            findings.refuse(path, "is a record type without a name", f"name one, such as {quoted(RECORD_TYPES)}")
        elif record_type not in RECORD_TYPES and meant is not None:
            findings.warn(path, "is taken as a type of your own", f"did you mean {quoted([meant])}?")
        if not sinks:
            findings.refuse(path, "has no sinks", 'name at least one, such as ["logger"], or remove the type')
        for index, sink in enumerate(sinks):
            if sink in sinks[:index]:
                findings.warn(f"{path}[{index}]", f"names {quoted([sink])} again", "a record goes there once: remove it")
            else:
                _check_sink(sink, f"{path}[{index}]", config, findings, surroundings)


def _check_sink(sink: str, path: str, config: Config, findings: Findings, surroundings: Surroundings) -> None:
    third_party = surroundings.installed_sinks | config.dispatchers.keys()
    if sink == "embedded" and sink not in surroundings.available_sinks:
        what = 'the sink "embedded" is for a gateway that runs inside a program of yours, which this one does not'
        findings.refuse(
            path, what, f"see docs/embedding.md, or name another: {quoted(sorted(surroundings.available_sinks))}"
        )
    elif sink in SINKS_WITH_SECTION and getattr(config, sink) is None and findings.usable(sink):
        findings.refuse(path, f"routes to {quoted([sink])}, which is not configured", f"add the section {quoted([sink])}")
    elif sink not in BUILT_IN_SINKS | third_party:
        known = surroundings.available_sinks | third_party
        near = nearest(sink, known)
        fix = f"did you mean {quoted([near])}? Known: " if near else "known: "
        findings.refuse(path, f"there is no sink {quoted([sink])}", fix + quoted(sorted(known)))


def check_unused_sections(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    """Sections of sinks that nothing is routed to are worth a word."""
    routed = routed_sinks(config)
    for sink in SINKS_WITH_SECTION:
        if getattr(config, sink) is not None and sink not in routed:
            findings.warn(sink, "is configured, but nothing is routed to it", "route records to it, or remove it")


def check_reliable_ack_sources(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    """Each source is one of its type's sinks and can confirm."""
    for record_type, sink in config.reliable_ack_sources.items():
        path = member("reliable_ack_sources", record_type)
        candidates = [each for each in config.records.get(record_type, ()) if each != "logger"]
        if record_type == "connectivity":
            findings.refuse(
                path, "connectivity records come from the gateway: nobody waits for an acknowledgement", "remove it"
            )
        elif record_type not in config.records:
            findings.refuse(path, "is a record type without a route", did_you_mean(record_type, config.records.keys()))
        elif sink == "logger":
            findings.refuse(path, "the logger confirms nothing", _name_one_of(candidates))
        elif sink not in candidates:
            findings.refuse(
                path,
                f"{quoted([sink])} is not among the sinks of {member('records', record_type)}",
                _name_one_of(candidates),
            )
        elif sink == "zmq" or (sink == "mqtt" and config.mqtt is not None and config.mqtt.qos == 0):
            what = "zmq" if sink == "zmq" else "mqtt with qos 0"
            findings.warn(path, f"{what} confirms no more than that the socket has taken a record", _name_one_of(candidates))
        elif sink == "sqlite" and config.sqlite.synchronous == "normal":
            what = "a power cut may lose what sqlite has confirmed, as sqlite.synchronous is normal"
            findings.warn(path, what, 'set sqlite.synchronous to "full"')


def _name_one_of(sinks: list[str]) -> str:
    return (
        f"name one that can be relied on; the type goes to {quoted(sinks)}"
        if sinks
        else "remove it, or add a sink that confirms"
    )


def check_dispatchers(config: Config, findings: Findings, surroundings: Surroundings) -> None:
    """Third parties' sinks have names of their own and something that makes them. They are not imported here."""
    routed = routed_sinks(config)
    for name, dispatcher in config.dispatchers.items():
        path = member("dispatchers", name)
        if not name or name in BUILT_IN_SINKS:
            findings.refuse(path, "is the name of a built-in sink" if name else "has no name", "choose another name")
        elif dispatcher.class_ is None and name not in surroundings.installed_sinks:
            installed = quoted(sorted(surroundings.installed_sinks)) or "none"
            findings.refuse(
                path, "has no class, and no installed package adds a sink of this name", f"installed: {installed}"
            )
        elif dispatcher.class_ is not None and not re.fullmatch(r"[\w.]+:[\w.]+", dispatcher.class_):
            findings.refuse(f"{path}.class", f"is {quoted([dispatcher.class_])}", 'must be "module:Class"')
        elif name not in routed:
            findings.warn(path, "is configured, but nothing is routed to it", "route records to it, or remove it")


def check_lanes(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    """Overrides are for sinks that are routed, and pauses grow."""
    routed = routed_sinks(config)
    for name in config.delivery.sinks:
        if name not in routed:
            findings.refuse(member("delivery.sinks", name), "nothing is routed to this sink", did_you_mean(name, routed))
    lanes = {"delivery": config.delivery.lane("")}
    lanes |= {member("delivery.sinks", name): config.delivery.lane(name) for name in config.delivery.sinks}
    for path, lane in lanes.items():
        if lane.retry_initial_s > lane.retry_max_s:
            findings.refuse(f"{path}.retry_initial_s", "is longer than retry_max_s", f"must be at most {lane.retry_max_s}")
