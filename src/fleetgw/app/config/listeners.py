"""Can the gateway listen where it is told to?"""

import ipaddress
import re
from itertools import combinations

from fleetgw.adapters.listening.sockets import is_every_address, unbracketed
from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.settings.surroundings import Surroundings
from fleetgw.app.config.sections import Config


def check_listeners(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    """Addresses are addresses, and no two listeners want the same port of the same address."""
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
    listeners = [
        ("port", config.host, config.port),
        ("status_port", "", config.status_port),
        ("monitoring.prometheus_metrics_port", monitoring.prometheus_metrics_host, monitoring.prometheus_metrics_port),
        ("monitoring.profiler_port", monitoring.profiler_host, monitoring.profiler_port),
    ]
    for (first, first_host, first_port), (second, second_host, second_port) in combinations(listeners, 2):
        if first_port == second_port != 0 and _overlap(first_host, second_host):
            findings.refuse(second, f"is {second_port}, where {first} listens already", "choose another port")


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
