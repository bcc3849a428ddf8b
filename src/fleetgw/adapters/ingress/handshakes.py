"""Metrics of TLS handshakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.metrics import HANDSHAKE_SECONDS, RESUMPTIONS_OFFERED_TOTAL

if TYPE_CHECKING:
    from fleetgw.domain.ports import IMetrics


class Handshakes:
    """Counts and times the handshakes of all connections."""

    def __init__(self, metrics: IMetrics) -> None:
        self._duration = metrics.histogram(HANDSHAKE_SECONDS)
        self._resumptions_offered = metrics.counter(RESUMPTIONS_OFFERED_TOTAL)

    def completed(self, duration_s: float) -> None:
        """A handshake is complete, so many seconds after its connection was accepted."""
        self._duration.observe(duration_s)

    def resumption_offered(self) -> None:
        """A client has offered to resume a session; the gateway makes a full handshake."""
        self._resumptions_offered.add(1)
