"""Gauges of the gateway's health, and of the certificates in use."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from fleetgw.domain.metrics import CERTIFICATE_EXPIRY, GATEWAY_READY

if TYPE_CHECKING:
    from fleetgw.adapters.ingress.reloadable_context import ReloadableContext
    from fleetgw.adapters.metrics.store import MetricStore
    from fleetgw.app.operations.health import GatewayHealth

AUTHORITIES = "tls.ca_file"


def measure_health(metrics: MetricStore, health: GatewayHealth, tls: ReloadableContext) -> None:
    """Have the gauges measured for each export from now on."""
    metrics.gauge(GATEWAY_READY).measured_by(lambda: health.health().state.is_ready)
    names: set[str] = set()

    def set_expiries() -> None:
        expiries = {each.name: each.not_after_ms / 1000 for each in health.certificates}
        if tls.authority_expires is not None:
            expiries[AUTHORITIES] = tls.authority_expires.timestamp()
        names.update(expiries)
        for name in names:  # a series cannot be removed; NaN raises no alert
            metrics.gauge(CERTIFICATE_EXPIRY, certificate=name).set_to(expiries.get(name, nan))

    metrics.before_export(set_expiries)
