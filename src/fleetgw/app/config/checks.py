"""The checks of a configuration's meaning, and the sections that each one needs."""

from collections.abc import Callable
from math import ceil
from os import W_OK, access
from pathlib import Path

from attrs import frozen

from fleetgw.adapters.settings.certificate_checks import check_client_tls
from fleetgw.adapters.settings.findings import Findings, member
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.text.addresses import is_host_and_port, is_http_url
from fleetgw.app.config.ack_policies import ack_policies, check_ack_policies, check_reliable_ack_sources
from fleetgw.app.config.airbrake import KEY_VARIABLE
from fleetgw.app.config.certificates import check_server_certificates
from fleetgw.app.config.drain import PACED_BY
from fleetgw.app.config.folders import check_folder
from fleetgw.app.config.health import check_health
from fleetgw.app.config.listeners import check_listeners
from fleetgw.app.config.operations import Operations, check_operations
from fleetgw.app.config.routes import (
    check_dispatchers,
    check_lanes,
    check_namespace,
    check_routes,
    check_unused_sections,
)
from fleetgw.app.config.sections import Config
from fleetgw.app.config.sink_checks import check_sinks
from fleetgw.app.config.sinks import GatewaySurroundings, routed_sinks
from fleetgw.app.config.spool import check_spool
from fleetgw.app.config.vehicles import check_vehicles
from fleetgw.domain.acks import names_spool

MAX_TRACKED_VINS = 20


def _check_rate_limit(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    limit = config.rate_limit
    if not limit.enabled:
        return
    if limit.message_limit < 1:
        what = "is missing or 0, though the limit is enabled" if limit.message_limit == 0 else f"is {limit.message_limit}"
        findings.refuse("rate_limit.message_limit", what, "must be at least 1 record per interval")
    if limit.message_interval_time < 1:
        what = f"is {limit.message_interval_time}, though the limit is enabled"
        findings.refuse("rate_limit.message_interval_time", what, "must be at least 1 second")


def _check_vins(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    count = len(set(config.vins_signal_tracking_enabled))
    if count > MAX_TRACKED_VINS:
        findings.refuse("vins_signal_tracking_enabled", f"names {count} VINs", f"must name at most {MAX_TRACKED_VINS}")


def _check_old_keys(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    if config.use_default_eng_ca:
        what = "has no effect: no authorities are built in"
        fix = "have the engineering authorities in tls.ca_file (fleetgw fetch-ca FILE --append --eng), and remove it"
        findings.warn("use_default_eng_ca", what, fix)


def _check_monitoring(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    monitoring, statsd = config.monitoring, config.monitoring.statsd
    if statsd is not None and not statsd.host:
        findings.warn(
            "monitoring.statsd.host", "is missing: no metrics are sent", 'name the server, such as "127.0.0.1:8125"'
        )
    elif statsd is not None and not is_host_and_port(statsd.host):
        findings.refuse("monitoring.statsd.host", f"is {quoted([statsd.host])}", 'must be "host:port"')
    if monitoring.profiling_path and not monitoring.profiler_port:
        findings.warn("monitoring.profiling_path", "has no effect without a profiler", "set monitoring.profiler_port too")
    if monitoring.profiling_path and not access(Path(monitoring.profiling_path).parent, W_OK):
        findings.warn(
            "monitoring.profiling_path", f"cannot be written: {quoted([monitoring.profiling_path])}", "make its folder"
        )


def _check_operations(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    check_operations(config.operations, findings)
    if not config.status_port and config.operations != Operations():
        findings.warn("operations", "has no effect without the status port", "set status_port too")


def _check_airbrake(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    airbrake = config.airbrake
    if airbrake is None:
        return
    if not airbrake.project_key and not surroundings.environ.get(KEY_VARIABLE):
        fix = f"give the project's key, in the file or by {KEY_VARIABLE}; or remove the section"
        findings.warn("airbrake.project_key", "is missing: no errors are reported", fix)
    if airbrake.host and not is_http_url(airbrake.host):
        findings.refuse("airbrake.host", f"is {quoted([airbrake.host])}", 'must be a URL, such as "https://errors.example"')
    check_client_tls(airbrake.tls, "airbrake.tls", findings)


def _check_limits(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    limits = config.limits
    if limits.max_frame_bytes < limits.max_message_bytes:
        findings.refuse(
            "limits.max_frame_bytes", "is less than limits.max_message_bytes", f"must be at least {limits.max_message_bytes}"
        )


def _check_drain(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    rate, connections = config.drain.rate_per_s, config.limits.max_connections
    drain_s = max((config.delivery.lane(sink).drain_timeout_s for sink in routed_sinks(config)), default=0.0)
    in_time = int(rate * PACED_BY * drain_s)
    if rate and connections > in_time:
        what = f"closes {in_time} vehicles in time, and limits.max_connections is {connections}"
        needed_s = ceil(connections / rate / PACED_BY)
        findings.warn("drain.rate_per_s", what, f"raise it, or set delivery.drain_timeout_s to at least {needed_s}")


def _check_spool(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    if config.spool is None:
        return
    check_spool(config.spool, findings)
    if config.spool.always or findings.refuses("ack_policies"):
        return
    if not any(map(names_spool, ack_policies(config).values())):
        fix = 'name "spooled" in ack_policies, set spool.always, or remove the section'
        findings.warn("spool", "is configured, but nothing is spooled", fix)


def _check_health(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    check_health(config.health, config.status_port, findings)


def _check_dead_letters(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    if config.dead_letters is None:
        return
    path = config.dead_letters.path
    check_folder(path, "dead_letters.path", findings)
    if config.spool is not None and path.resolve() == config.spool.path.resolve():
        findings.refuse("dead_letters.path", f"is {quoted([str(path)])}, the folder of the spool", "name another folder")


def _check_issuers(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    for issuer, client_type in config.identity.issuers.items():
        path = member("identity.issuers", issuer)
        if not issuer:
            findings.refuse(path, "is an issuer without a name", "name the common name of a certificate authority")
        if client_type == "":
            findings.refuse(path, "is empty", 'name a client type, such as "vehicle_device"')


def _check_vehicles(config: Config, findings: Findings, _surroundings: GatewaySurroundings) -> None:
    check_vehicles(config.vehicles, findings)


@frozen
class _Check:
    """One check, and the parts of the configuration that it needs."""

    run: Callable[[Config, Findings, GatewaySurroundings], None]
    needs: tuple[str, ...]


CHECKS = (
    _Check(check_listeners, ("host", "port", "status_port", "monitoring")),
    _Check(check_server_certificates, ()),
    _Check(check_routes, ("records", "dispatchers")),
    _Check(check_reliable_ack_sources, ("records", "reliable_ack_sources")),
    _Check(check_ack_policies, ("records", "reliable_ack_sources", "ack_policies", "spool")),
    _Check(check_dispatchers, ("records", "dispatchers")),
    _Check(check_unused_sections, ("records",)),
    _Check(check_sinks, ("records",)),
    _Check(check_lanes, ("records", "delivery")),
    _Check(check_namespace, ("records", "namespace")),
    _Check(_check_rate_limit, ("rate_limit",)),
    _Check(_check_vins, ("vins_signal_tracking_enabled",)),
    _Check(_check_old_keys, ()),
    _Check(_check_monitoring, ("monitoring",)),
    _Check(_check_operations, ("operations", "status_port")),
    _Check(_check_airbrake, ("airbrake",)),
    _Check(_check_limits, ("limits",)),
    _Check(_check_dead_letters, ("dead_letters", "spool")),
    _Check(_check_health, ("health", "status_port")),
    _Check(_check_drain, ("records", "drain", "delivery", "limits")),
    _Check(_check_spool, ("records", "reliable_ack_sources", "ack_policies", "spool")),
    _Check(_check_issuers, ("identity",)),
    _Check(_check_vehicles, ("vehicles",)),
)


def check(config: Config, findings: Findings, surroundings: GatewaySurroundings) -> None:
    """Run every check whose parts could be read, and note problems in ``findings``."""
    for each in CHECKS:
        if all(map(findings.usable, each.needs)):
            each.run(config, findings, surroundings)
