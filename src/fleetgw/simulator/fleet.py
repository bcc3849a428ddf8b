"""A fleet: vehicles that share one rate of records, from the first connection to the last acknowledgement."""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING

from attrs import field, frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from fleetgw.simulator.vehicle import SimulatedVehicle

_TICK_S = 0.005
_RESEND_CHECK_S = 1.0
_CLOSING_HANDSHAKE_S = 5.0
_CATCH_UP_S = 1.0


class Stage(Enum):
    """The stage of a run."""

    CONNECTING = "connecting"
    SENDING = "sending"
    DRAINING = "draining"
    CLOSING = "closing"


@frozen
class Schedule:
    """The schedule of a fleet.

    :ivar rate: records a second, of all vehicles together.
    :ivar mix: record type -> weight.
    :ivar duration_s: seconds in which records are issued; None: without end.
    :ivar count: number of records to issue; None: without end.
    :ivar connects_per_s: connections that are opened in a second.
    :ivar connect_deadline_s: longest wait for all vehicles to connect before sending; when none has connected by then, the
        run ends.
    :ivar drain_s: longest wait for the last answers.
    """

    rate: float
    mix: Mapping[str, float] = field(factory=lambda: {"V": 1.0})
    duration_s: float | None = None
    count: int | None = None
    connects_per_s: float = 200.0
    connect_deadline_s: float = 30.0
    drain_s: float = 30.0


class Fleet:
    """Runs ``vehicles`` by ``schedule``.

    A vehicle without a connection puts its records into its outbox; one whose outbox is full issues none, so that a gateway
    that does not answer slows the fleet down.

    :param random: picks record types.
    :param epoch_ns: the time of day in nanoseconds.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        vehicles: Sequence[SimulatedVehicle],
        schedule: Schedule,
        random: Random,
        epoch_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.stage = Stage.CONNECTING
        self.sending_s = 0.0
        self._reactor = reactor
        self._vehicles = vehicles
        self._schedule = schedule
        self._random = random
        self._epoch_ns = epoch_ns
        self._record_types = list(schedule.mix)
        self._weights = list(schedule.mix.values())
        self._started_vehicles = 0
        self._next_vehicle = 0
        self._issued = 0
        self._skipped = 0
        self._stage_began_s = 0.0
        self._drain_s = schedule.drain_s
        self._ticking = LoopingCall(self._tick)
        self._resending = LoopingCall(self._resend_overdue)
        self._ticking.clock = self._resending.clock = reactor
        self._finished: Deferred[None] = Deferred()

    @property
    def unacked(self) -> int:
        """Number of unacknowledged records."""
        return sum(vehicle.unacked for vehicle in self._vehicles)

    @property
    def done_fraction(self) -> float | None:
        """Part of the sending that is done, 0 to 1; None when it has no end."""
        if self.stage is Stage.CONNECTING:
            return 0.0
        if self.stage is not Stage.SENDING:
            return 1.0
        if self._schedule.count is not None:
            return self._issued / self._schedule.count
        if self._schedule.duration_s is not None:
            return min(1.0, self.sending_s / self._schedule.duration_s)
        return None

    def run(self) -> Deferred[None]:
        """Connect, send, wait for the last answers, close all connections. Called once; fires when all have closed.

        Fails only by a defect of the simulator.
        """
        self._stage_began_s = self._reactor.seconds()
        self._ticking.start(_TICK_S).addErrback(self._broken)
        self._resending.start(_RESEND_CHECK_S, now=False).addErrback(self._broken)
        return self._finished

    def interrupt(self, drain_s: float) -> None:
        """Issue no more; wait for the last answers ``drain_s`` at most. A second call ends the wait."""
        if self.stage in (Stage.CONNECTING, Stage.SENDING):
            self._drain_s = min(drain_s, self._drain_s)
            self._enter(Stage.DRAINING)
        elif self.stage is Stage.DRAINING:
            self._close()

    def _tick(self) -> None:
        now_s = self._reactor.seconds()
        in_stage_s = now_s - self._stage_began_s
        match self.stage:
            case Stage.CONNECTING:
                self._connect_more(in_stage_s)
                if all(vehicle.has_opened for vehicle in self._vehicles):
                    self._enter(Stage.SENDING)
                elif in_stage_s >= self._schedule.connect_deadline_s:
                    opened = any(vehicle.has_opened for vehicle in self._vehicles)
                    self._enter(Stage.SENDING if opened else Stage.DRAINING)
            case Stage.SENDING:
                self._connect_more(in_stage_s + self._schedule.connect_deadline_s)
                self.sending_s = in_stage_s
                if not self._issue_due(in_stage_s):
                    self._enter(Stage.DRAINING)
            case Stage.DRAINING:
                if self.unacked == 0 or in_stage_s >= self._drain_s:
                    self._close()
            case Stage.CLOSING:
                pass

    def _connect_more(self, elapsed_s: float) -> None:
        wanted = min(len(self._vehicles), 1 + int(elapsed_s * self._schedule.connects_per_s))
        for vehicle in self._vehicles[self._started_vehicles : wanted]:
            vehicle.start()
        self._started_vehicles = max(self._started_vehicles, wanted)

    def _issue_due(self, elapsed_s: float) -> bool:
        """Issue the records that are due by now; False when no more will be due."""
        schedule = self._schedule
        within_s = elapsed_s if schedule.duration_s is None else min(elapsed_s, schedule.duration_s)
        due = int(within_s * schedule.rate) - self._issued - self._skipped
        # records that a slow machine or gateway has delayed for too long are skipped, so that they do not pile up
        late = due - max(1, int(_CATCH_UP_S * schedule.rate))
        if late > 0:
            self._skipped += late
            due -= late
        if schedule.count is not None:
            due = min(due, schedule.count - self._issued)
        if due > 0:
            now_epoch_ns = self._epoch_ns()
            for record_type in self._random.choices(self._record_types, self._weights, k=due):
                if not self._issue(record_type, now_epoch_ns):
                    break
        if schedule.count is not None and self._issued >= schedule.count:
            return False
        return schedule.duration_s is None or elapsed_s < schedule.duration_s

    def _issue(self, record_type: str, now_epoch_ns: int) -> bool:
        """Have the next vehicle that can do so issue a record; False when none can."""
        for _ in self._vehicles:
            vehicle = self._vehicles[self._next_vehicle]
            self._next_vehicle = (self._next_vehicle + 1) % len(self._vehicles)
            if vehicle.has_opened and vehicle.report(record_type, now_epoch_ns):
                self._issued += 1
                return True
        return False

    def _resend_overdue(self) -> None:
        for vehicle in self._vehicles:
            vehicle.resend_overdue()

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self._stage_began_s = self._reactor.seconds()

    def _close(self) -> None:
        self._enter(Stage.CLOSING)
        self._ticking.stop()
        self._resending.stop()
        started = self._vehicles[: self._started_vehicles]
        gone = DeferredList([vehicle.stop() for vehicle in started])
        timer = self._reactor.callLater(_CLOSING_HANDSHAKE_S, self._abort_all, started)

        def all_gone(_results: object) -> None:
            if timer.active():
                timer.cancel()
            self._finished.callback(None)

        gone.addCallback(all_gone)

    def _abort_all(self, vehicles: Sequence[SimulatedVehicle]) -> None:
        for vehicle in vehicles:
            vehicle.abort()

    def _broken(self, failure: Failure) -> None:
        if not self._finished.called:
            self._finished.errback(failure)
