"""The section ``health``, and its checks."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.values import Seconds, Settings

LEAST_GRACE_S = 10.0
"""Time that sinks may need to connect; with a shorter grace a gateway would not be ready after each start."""


class Health(Settings, frozen=True, kw_only=True):
    """The answers of `/ready`."""

    sink_grace_s: Annotated[
        Seconds,
        Meta(
            description="Seconds that a sink may be not ready before `/ready` answers 503 because of it; 0: it never does, "
            "as the queue or the spool has room for the records."
        ),
    ] = 0.0


def check_health(health: Health, status_port: int, findings: Findings) -> None:
    """A grace leaves sinks time to connect, and somebody can ask."""
    path, grace_s = "health.sink_grace_s", health.sink_grace_s
    if 0 < grace_s < LEAST_GRACE_S:
        what = f"is {grace_s:g}: the gateway is not ready while sinks connect, after a start and after a short outage"
        findings.warn(path, what, f"set it to {LEAST_GRACE_S:g} or more, or to 0")
    if grace_s and not status_port:
        findings.warn(path, "has no effect without status_port", "set status_port, too")
