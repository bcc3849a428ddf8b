"""Checks of the addresses that the gateway listens on."""

import ipaddress
import re
from collections.abc import Sequence
from itertools import combinations

from attrs import frozen

from fleetgw.adapters.listening.sockets import is_every_address, unbracketed
from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.settings.surroundings import Surroundings
from fleetgw.app.config.sections import Config


@frozen
class ListeningAddress:
    """An address that the gateway listens on.

    :ivar key: of the port in the configuration.
    :ivar port: 0: any free one for vehicles, else none.
    """

    key: str
    host: str
    port: int


def listening_addresses(config: Config) -> Sequence[ListeningAddress]:
    """All addresses that a configuration has a port for."""
    monitoring = config.monitoring
    return (
        ListeningAddress("port", config.host, config.port),
        ListeningAddress("status_port", "", config.status_port),
        ListeningAddress(
            "monitoring.prometheus_metrics_port", monitoring.prometheus_metrics_host, monitoring.prometheus_metrics_port
        ),
        ListeningAddress("monitoring.profiler_port", monitoring.profiler_host, monitoring.profiler_port),
    )


def check_listeners(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    """Check that hosts are addresses or names, and that no two listeners have the same port of the same address."""
    monitoring = config.monitoring
    hosts = (
        ("host", config.host),
        ("monitoring.prometheus_metrics_host", monitoring.prometheus_metrics_host),
        ("monitoring.profiler_host", monitoring.profiler_host),
    )
    for path, host in hosts:
        if not _is_host(host):
            findings.refuse(
                path, f"{quoted([host])} is no address", 'must be an IP address or a name, such as "0.0.0.0", without a port'
            )
    if config.port == 0:
        findings.warn("port", "is 0: a free port is chosen at each start", "name the port that vehicles connect to")
    for first, second in combinations(listening_addresses(config), 2):
        if first.port == second.port != 0 and _overlap(first.host, second.host):
            findings.refuse(second.key, f"is {second.port}, where {first.key} listens already", "choose another port")


def _overlap(first: str, second: str) -> bool:
    return unbracketed(first) == unbracketed(second) or is_every_address(first) or is_every_address(second)


def _is_host(host: str) -> bool:
    if host.startswith("["):
        return host.endswith("]") and ":" in host and _is_host(host[1:-1])
    try:
        return host == "" or bool(ipaddress.ip_address(host))
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", host) is not None and not re.fullmatch(
            r"[\d.]+", host
        )
