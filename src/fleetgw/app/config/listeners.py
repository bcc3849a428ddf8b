"""Can the gateway listen where it is told to?"""

import ipaddress
import re
from itertools import combinations

from fleetgw.app.config.findings import Findings, Surroundings, quoted
from fleetgw.app.config.sections import Config

_EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  compared with, not bound to


def check_listeners(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    """Addresses are addresses, and no two listeners want the same port of the same address."""
    monitoring = config.monitoring
    for path, host in (("host", config.host), ("monitoring.prometheus_metrics_host", monitoring.prometheus_metrics_host)):
        if not _is_host(host):
            findings.refuse(
                path, f"{quoted([host])} is no address", 'must be an IP address or a name, such as "0.0.0.0", without a port'
            )
    if config.port == 0:
        findings.warn("port", "is 0: a free port is chosen at each start", "name the port that vehicles connect to")
    listeners = [
        ("port", config.host, config.port),
        ("status_port", config.host, config.status_port),
        ("monitoring.prometheus_metrics_port", monitoring.prometheus_metrics_host, monitoring.prometheus_metrics_port),
        ("monitoring.profiler_port", monitoring.profiler_host, monitoring.profiler_port),
    ]
    for (first, first_host, first_port), (second, second_host, second_port) in combinations(listeners, 2):
        if first_port == second_port != 0 and (first_host == second_host or {first_host, second_host} & _EVERY_ADDRESS):
            findings.refuse(second, f"is {second_port}, where {first} listens already", "choose another port")


def _is_host(host: str) -> bool:
    try:
        return host == "" or bool(ipaddress.ip_address(host))
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", host) is not None and not re.fullmatch(
            r"[\d.]+", host
        )
