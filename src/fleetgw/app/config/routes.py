"""The routes, and checks of ``records``, ``reliable_ack_sources`` and the sections that refer to them."""

from collections.abc import Mapping

from fleetgw.adapters.settings.findings import Findings, member
from fleetgw.adapters.settings.spelling import did_you_mean, is_it, nearest, quoted
from fleetgw.app.config.ack_policies import ack_policies
from fleetgw.app.config.dispatchers import is_place
from fleetgw.app.config.sections import Config
from fleetgw.app.config.sinks import GatewaySurroundings, routed_sinks
from fleetgw.domain.gateway_status import GATEWAY_STATUS
from fleetgw.domain.records import RECORD_TYPES
from fleetgw.domain.routing import Route, build_routes

_KNOWN_TYPES = (*RECORD_TYPES, GATEWAY_STATUS)


def routes_of(config: Config) -> Mapping[str, Route]:
    """The routes of a configuration that has been checked, by record type."""
    spools_all = config.spool is not None and config.spool.always
    return build_routes(config.records, ack_policies(config), spools_all=spools_all)


def check_routes(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    """Check that every record type has sinks, and that every sink exists and is configured."""
    if not config.records:
        findings.refuse(
            "records", "is empty: every record would be acknowledged and lost", 'route some, as in {"V": ["logger"]}'
        )
    for record_type, sinks in config.records.items():
        path = member("records", record_type)
        meant = nearest(record_type, _KNOWN_TYPES, similarity=0.85)
        if not record_type:
            findings.refuse(path, "is a record type without a name", f"name one, such as {quoted(_KNOWN_TYPES)}")
        elif record_type not in _KNOWN_TYPES and meant is not None:
            findings.warn(path, "is taken as a type of your own", is_it(meant))
        if not sinks:
            findings.refuse(path, "has no sinks", 'name at least one, such as ["logger"], or remove the type')
        for index, sink in enumerate(sinks):
            if sink in sinks[:index]:
                findings.warn(f"{path}[{index}]", f"names {quoted([sink])} again", "a record goes there once: remove it")
            else:
                _check_sink(sink, f"{path}[{index}]", config, findings, surroundings)


def _check_sink(sink: str, path: str, config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    built_in = surroundings.installed.built_in.get(sink)
    if built_in is not None:
        if built_in.embedded_only and sink not in surroundings.available_sinks:
            what = f"the sink {quoted([sink])} is for a gateway that runs inside a program of yours, which this one does not"
            fix = f"see docs/embedding.md, or name another: {quoted(sorted(surroundings.available_sinks))}"
            findings.refuse(path, what, fix)
        elif getattr(config, sink) is None and findings.usable(sink):
            what = f"routes to {quoted([sink])}, which is not configured"
            findings.refuse(path, what, f"add the section {quoted([sink])}")
    elif sink not in config.dispatchers and sink not in surroundings.installed.third_party:
        known = surroundings.available_sinks | surroundings.installed.third_party.keys() | config.dispatchers.keys()
        near = nearest(sink, known)
        fix = f"{is_it(near)} Known: " if near else "known: "
        findings.refuse(path, f"there is no sink {quoted([sink])}", fix + quoted(sorted(known)))


def check_unused_sections(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    """Warn of sections of sinks that no records are routed to."""
    routed = routed_sinks(config)
    for name, sink in surroundings.installed.built_in.items():
        if sink.needs_section and getattr(config, name) is not None and name not in routed:
            findings.warn(name, "is configured, but nothing is routed to it", "route records to it, or remove it")


def check_namespace(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    """Warn of an empty namespace where sinks name their destinations after it."""
    used = [surroundings.sinks[name] for name in routed_sinks(config) & surroundings.sinks.keys()]
    if not config.namespace and any(sink.type.names_destinations for sink in used):
        record_type = next(iter(config.records))
        findings.warn("namespace", f'is empty: topics are called "_{record_type}" and so on', 'name one, such as "fleet"')


def check_dispatchers(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    """Check that third parties' sinks have unique names and a type."""
    routed = routed_sinks(config)
    for name, dispatcher in config.dispatchers.items():
        path = member("dispatchers", name)
        if not name or name in surroundings.installed.built_in:
            findings.refuse(path, "is the name of a built-in sink" if name else "has no name", "choose another name")
        elif dispatcher.class_ is None and name not in surroundings.installed.third_party:
            installed = quoted(sorted(surroundings.installed.third_party)) or "none"
            findings.refuse(
                path, "has no class, and no installed package adds a sink of this name", f"installed: {installed}"
            )
        elif dispatcher.class_ is not None and not is_place(dispatcher.class_):
            findings.refuse(f"{path}.class", f"is {quoted([dispatcher.class_])}", 'must be "module:NAME"')
        elif name not in routed:
            findings.warn(path, "is configured, but nothing is routed to it", "route records to it, or remove it")


def check_lanes(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    """Check that overrides are for sinks in use, and that pauses between retries grow."""
    routed = routed_sinks(config)
    for name in config.delivery.sinks:
        if name not in routed:
            findings.refuse(member("delivery.sinks", name), "nothing is routed to this sink", did_you_mean(name, routed))
    lanes = {"delivery": config.delivery.lane("")}
    lanes |= {member("delivery.sinks", name): config.delivery.lane(name) for name in config.delivery.sinks}
    for path, lane in lanes.items():
        if lane.retry_initial_s > lane.retry_max_s:
            findings.refuse(f"{path}.retry_initial_s", "is longer than retry_max_s", f"must be at most {lane.retry_max_s}")
