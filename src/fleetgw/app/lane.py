"""A lane: one sink's bounded queue, gathering batches and trying again what can be tried again."""

from __future__ import annotations

import base64
from random import Random
from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from fleetgw.domain.delivery import Backlog, Backoff, Batch, Settlement
from fleetgw.domain.errors import Retryable
from fleetgw.domain.metrics import DEAD_LETTER_TOTAL, LANE_HELD_RECORDS, LANE_REFUSED_TOTAL, LANE_RETRIED_TOTAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from fleetgw.domain.delivery import BacklogLimits, Refusal
    from fleetgw.domain.ports import IDispatcher, ILog, IMetrics, Outcome
    from fleetgw.domain.records import Record


class AwaitsConfirmation(Protocol):
    """Who is told when a sink has confirmed its records (the session of a vehicle)."""

    def __hash__(self) -> int: ...

    def confirmed(self, records: Sequence[Record]) -> None:
        """The sink has confirmed these records, in order."""


@frozen
class LaneTiming:
    """When a lane acts, in seconds.

    :ivar gather_s: how long the first record of a batch waits for company.
    :ivar retry_initial_s: the pause after a first failure; doubled at each further one.
    :ivar retry_max_s: the longest pause.
    """

    gather_s: float
    retry_initial_s: float
    retry_max_s: float


class Lane:
    """Feeds one sink. Records go in by ``offer`` and come to rest by themselves."""

    def __init__(
        self, sink: IDispatcher, limits: BacklogLimits, timing: LaneTiming, clock: IReactorTime, metrics: IMetrics, log: ILog
    ) -> None:
        self.sink = sink
        self._timing = timing
        self._clock = clock
        self._log = log
        self._backlog: Backlog[AwaitsConfirmation] = Backlog(limits)
        self._backoff = Backoff(timing.retry_initial_s, timing.retry_max_s)
        self._random = Random()  # noqa: S311  jitter needs no secrecy
        self._pending_send: IDelayedCall | None = None
        self._settling: list[Deferred[None]] = []
        self._refused_total = metrics.counter(LANE_REFUSED_TOTAL, dispatcher=sink.name)
        self._retried_total = metrics.counter(LANE_RETRIED_TOTAL, dispatcher=sink.name)
        self._dead_letter_total = metrics.counter(DEAD_LETTER_TOTAL, dispatcher=sink.name)
        self._held_records = metrics.gauge(LANE_HELD_RECORDS, dispatcher=sink.name)

    def offer(self, records: Sequence[Record], size_bytes: int, origin: AwaitsConfirmation | None) -> int:
        """Take records into the queue.

        :param size_bytes: the payload bytes of all of them.
        :param origin: told when the sink has confirmed them; None when nobody waits.
        :return: how many were taken, from the first on; the rest found the queue full and is not the lane's concern.
        """
        taken = self._backlog.offer(records, size_bytes, origin)
        if taken < len(records):
            self._refused_total.add(len(records) - taken)
        if self._pending_send is None:
            self._pending_send = self._clock.callLater(self._timing.gather_s, self._send)
        return taken

    @property
    def held_records(self) -> int:
        """Records waiting and in flight."""
        return self._backlog.held_records

    def settled(self) -> Deferred[None]:
        """Fires once nothing waits and nothing is in flight. Cancelling it changes nothing in the lane."""
        if not self._backlog.held_records:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._settling.remove)
        self._settling.append(waiter)
        return waiter

    def abandon(self) -> int:
        """Give up on what waits, loudly; returns how many records that were."""
        if self._pending_send is not None:
            self._pending_send.cancel()
            self._pending_send = None
        lost = self._backlog.abandon()
        for record in lost:
            self._dead_letter(record, "the gateway stopped before the sink took it")
        return len(lost)

    def _send(self) -> None:
        self._pending_send = None
        backlog = self._backlog
        self._held_records.set_to(backlog.held_records)
        while self._pending_send is None and (batch := backlog.next_batch()) is not None:
            self.sink.dispatch(batch.records).addCallbacks(
                self._settle, self._broken, callbackArgs=(batch,), errbackArgs=(batch,)
            )

    def _broken(self, failure: Failure, batch: Batch[AwaitsConfirmation]) -> None:
        # a sink that fails its Deferred breaks the port's contract; its records must not be lost for that
        self._log.error("dispatch_failed", dispatcher=self.sink.name, error=failure.getTraceback())
        self._settle([Retryable(f"{self.sink.name} failed: {failure.value}")] * len(batch.records), batch)

    def _settle(self, outcomes: Sequence[Outcome], batch: Batch[AwaitsConfirmation]) -> None:
        backlog = self._backlog
        try:
            settlement = backlog.settle(batch, outcomes)
        except ValueError as error:
            self._log.error("dispatch_failed", dispatcher=self.sink.name, error=str(error))
            settlement = backlog.settle(batch, [Retryable(str(error))] * len(batch.records))
        for origin, records in settlement.due.items():
            origin.confirmed(records)
        for refusal in settlement.refused:
            self._refuse(refusal)
        self._plan_next(settlement)
        self._held_records.set_to(backlog.held_records)
        if not backlog.held_records and self._settling:
            waiters, self._settling = self._settling, []
            for waiter in waiters:
                waiter.callback(None)

    def _plan_next(self, settlement: Settlement[AwaitsConfirmation]) -> None:
        if settlement.retry_reason is not None:
            self._retried_total.add(1)
            pause_s = self._backoff.failed(self._random.random())
            if self._pending_send is not None:
                self._pending_send.cancel()
            self._pending_send = self._clock.callLater(pause_s, self._send)
            self._log.warn("dispatch_retry", dispatcher=self.sink.name, error=str(settlement.retry_reason), pause_s=pause_s)
            return
        self._backoff.succeeded()
        if self._pending_send is None and self._backlog.waiting_records:
            self._pending_send = self._clock.callLater(0, self._send)

    def _refuse(self, refusal: Refusal[AwaitsConfirmation]) -> None:
        self._dead_letter(refusal.record, str(refusal.reason), acked=refusal.origin is None)

    def _dead_letter(self, record: Record, reason: str, *, acked: bool | None = None) -> None:
        self._dead_letter_total.add(1)
        self._log.error(
            "dead_letter",
            dispatcher=self.sink.name,
            error=reason,
            acked=acked,
            metadata=record.metadata(),
            payload_base64=base64.b64encode(record.payload).decode(),
        )
