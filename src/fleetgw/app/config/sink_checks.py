"""Checks of the settings of all sinks in use. Checks that need the destination itself are the doctor's."""

from fleetgw.adapters.settings.checking import SettingsCheck
from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.sinks.sink_type import Exclusive
from fleetgw.app.config.sections import Config
from fleetgw.app.config.sinks import GatewaySurroundings, further_of, routed_sinks


def check_sinks(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    """Have every routed sink's type check its settings; no two sinks may hold the same resource exclusively."""
    holders = dict[Exclusive, str]()
    for name in sorted(routed_sinks(config) & surroundings.sinks.keys()):
        sink = surroundings.sinks[name]
        if sink.settings is None:
            continue
        record_types = tuple(kind for kind, sinks in config.records.items() if name in sinks)
        further = further_of(sink.type, config)
        check = SettingsCheck(sink.path, config.namespace, record_types, further, findings, surroundings)
        sink.type.check(sink.settings, check)
        for held in sink.type.holds(sink.settings):
            other = holders.setdefault(held, name)
            if other != name:
                check.refuse(
                    "", f"the sink {other} has the {held.kind} {held.name} already", "give each sink one of its own"
                )
