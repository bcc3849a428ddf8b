"""Paused vehicles: they are not read from, because a queue that their records need is full."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import VEHICLES_PAUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.domain.ports import IGauge, ILog, IMetrics
    from fleetgw.domain.records import Vehicle


class PausedSession(Protocol):
    """A connection whose records wait."""

    vehicle: Vehicle

    def place_waiting(self) -> bool:
        """Offer what waits, in order. Returns whether nothing waits any more."""

    def resume(self) -> None:
        """Read again."""


@define(eq=False)
class PausedVehicles:
    """The vehicles that are paused. All connections of one share their turn, so that its records stay in order.

    :ivar monotonic: seconds, never going back.
    :ivar queues: by VIN, the connections whose records wait. The first one waits for room in a lane, the others behind it.
    """

    metrics: IMetrics
    log: ILog
    monotonic: Callable[[], float]
    queues: dict[str, deque[PausedSession]] = field(factory=dict, init=False)
    _lines: LineLimit = field(factory=LineLimit, init=False)
    _gauge: IGauge = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._gauge = self.metrics.gauge(VEHICLES_PAUSED)

    def pause(self, session: PausedSession, record_type: str, dispatchers: Sequence[str]) -> None:
        """Pause a vehicle: records of one of its connections wait for room. Logged once in ten seconds, as an example.

        :param record_type: of these records.
        :param dispatchers: the sinks in whose queues they need room.
        """
        vin = session.vehicle.vin
        self.queues[vin] = deque([session])
        self._gauge.set_to(len(self.queues))
        if self._lines.admit("paused", "", self.monotonic(), 1) is not None:
            self.log.warn(
                "reading_paused",
                vin=vin,
                record_type=record_type,
                dispatchers=[*dispatchers],
                vehicles_paused=len(self.queues),
            )

    def go_on(self, vin: str) -> None:
        """Place what waits of a paused vehicle, as far as there is room: connection after connection."""
        queue = self.queues[vin]
        while queue and queue[0].place_waiting():
            queue.popleft().resume()
        if not queue:
            del self.queues[vin]
            self._gauge.set_to(len(self.queues))

    def leave(self, session: PausedSession) -> None:
        """Forget a connection that has ended. It has given up what waited."""
        vin = session.vehicle.vin
        self.queues[vin].remove(session)
        self.go_on(vin)
