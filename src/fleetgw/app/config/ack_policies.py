"""Checks of the configuration's ack policies, and their conversion to the domain's values."""

from collections.abc import Mapping

from fleetgw.adapters.settings.findings import Findings, member
from fleetgw.adapters.settings.spelling import did_you_mean, is_it, nearest, quoted
from fleetgw.adapters.sinks.sink_type import Confirmation, Confirms, ConfirmsHandOver, ConfirmsLess, ConfirmsNothing
from fleetgw.app.config.sections import Config
from fleetgw.app.config.sinks import GatewaySurroundings
from fleetgw.domain.ack_expressions import SPOOLED, WHOLE_POLICIES, BadExpression, read_policy
from fleetgw.domain.acks import Accepted, AckPolicy, ConfirmedBy, names_spool, sinks_of
from fleetgw.domain.gateway_status import OWN_TYPES


def ack_policies(config: Config) -> Mapping[str, AckPolicy]:
    """The policy of each record type that has one, of a configuration that has been checked."""
    policies: dict[str, AckPolicy] = {
        record_type: ConfirmedBy(sink) for record_type, sink in config.reliable_ack_sources.items()
    }
    for record_type, text in config.ack_policies.items():
        policies[record_type] = read_policy(text, config.records[record_type])
    return policies


def check_ack_policies(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    """Each policy is an expression over sinks of its type that confirm, and a type has one policy."""
    for record_type, text in config.ack_policies.items():
        path = member("ack_policies", record_type)
        sinks = config.records.get(record_type, ())
        if not _is_acknowledged(path, record_type, config, findings) or not sinks:
            continue
        if record_type in config.reliable_ack_sources:
            other = member("reliable_ack_sources", record_type)
            findings.refuse(path, f"is a second policy beside {other}", "remove one of them")
        try:
            policy = read_policy(text, sinks)
        except BadExpression as error:
            near = nearest(error.unknown, (*sinks, *WHOLE_POLICIES, SPOOLED)) if error.unknown is not None else None
            findings.refuse(path, error.what, is_it(near) if near else error.fix)
            continue
        if names_spool(policy) and config.spool is None:
            fix = 'add the section "spool" with its path, as in {"path": "/var/lib/fleetgw/spool"}'
            findings.refuse(path, "waits for the spool, which is not configured", fix)
        if not isinstance(policy, Accepted):
            _check_confirmations(path, dict.fromkeys(sinks_of(policy)), sinks, findings, surroundings)


def _check_confirmations(
    path: str,
    named: Mapping[str, None],
    sinks: tuple[str, ...],
    findings: Findings,
    surroundings: GatewaySurroundings,
) -> None:
    confirmations = {sink: _confirmation(sink, surroundings) for sink in sinks}
    able = [sink for sink in sinks if not isinstance(confirmations[sink], (ConfirmsNothing, ConfirmsHandOver))]
    for sink in named:
        match confirmations[sink]:
            case ConfirmsNothing(what) | ConfirmsHandOver(what):
                findings.refuse(path, f"waits for {quoted([sink])}, but {what}", _name_one_of(able))
            case ConfirmsLess(what, fix):
                findings.warn(path, what, fix or _name_one_of(able))
            case Confirms():
                pass


def _is_acknowledged(path: str, record_type: str, config: Config, findings: Findings) -> bool:
    """Whether vehicles send records of this type, and the type is routed; else says so."""
    if record_type in OWN_TYPES:
        what = f"{record_type} records come from the gateway: nobody waits for an acknowledgement"
        findings.refuse(path, what, "remove it")
    elif record_type not in config.records:
        findings.refuse(path, "is a record type without a route", did_you_mean(record_type, config.records.keys()))
    else:
        return True
    return False


def check_reliable_ack_sources(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    """Each source is one of its type's sinks and can confirm.

    The Go server's files may name a source that confirms a hand-over alone: there is a warning, and no error.
    """
    for record_type, source in config.reliable_ack_sources.items():
        path = member("reliable_ack_sources", record_type)
        if not _is_acknowledged(path, record_type, config, findings):
            continue
        sinks = config.records[record_type]
        candidates = [sink for sink in sinks if not isinstance(_confirmation(sink, surroundings), ConfirmsNothing)]
        match _confirmation(source, surroundings):
            case ConfirmsNothing(what):
                findings.refuse(path, what, _name_one_of(candidates))
            case _ if source not in sinks:
                what = f"{quoted([source])} is not among the sinks of {member('records', record_type)}"
                findings.refuse(path, what, _name_one_of(candidates))
            case ConfirmsLess(what, fix):
                findings.warn(path, what, fix or _name_one_of(candidates))
            case ConfirmsHandOver(what):
                findings.warn(path, what, _name_one_of(candidates))
            case Confirms():
                pass


def _confirmation(name: str, surroundings: GatewaySurroundings) -> Confirmation:
    sink = surroundings.sinks.get(name)
    if sink is None or sink.settings is None:  # that is reported elsewhere
        return Confirms()
    return sink.type.confirmation(sink.settings)


def _name_one_of(sinks: list[str]) -> str:
    return (
        f"name one that can be relied on; the type goes to {quoted(sinks)}"
        if sinks
        else "remove it, or add a sink that confirms"
    )
