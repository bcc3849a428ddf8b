"""Measures how late the reactor is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from fleetgw.domain.metrics import REACTOR_LAG_SECONDS

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.domain.ports import IMetrics

INTERVAL_S = 0.25
"""Time between two measurements: four timers a second, whatever the load."""


class ReactorLag:
    """Observes how late a timer is called, four times a second.

    Whatever holds the reactor up, such as a long turn or the garbage collector, delays every vehicle by as much.
    """

    def __init__(self, metrics: IMetrics, clock: IReactorTime) -> None:
        self._lag = metrics.histogram(REACTOR_LAG_SECONDS)
        self._clock = clock
        self._next: IDelayedCall | None = None

    def start(self) -> Deferred[None]:
        """Begin to measure. Fires at once; never fails."""
        self._schedule()
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """End. Fires at once; never fails. Does nothing when it has not started."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        return succeed(None)

    def _schedule(self) -> None:
        self._next = self._clock.callLater(INTERVAL_S, self._measure, self._clock.seconds() + INTERVAL_S)

    def _measure(self, due_s: float) -> None:
        self._lag.observe(max(0.0, self._clock.seconds() - due_s))
        self._schedule()
