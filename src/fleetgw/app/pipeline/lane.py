"""A lane: one sink's bounded queue. It gathers batches, hands them to the sink, and retries retryable records."""

from __future__ import annotations

import base64
from random import Random
from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from fleetgw.app.pipeline.pause import LOOK_EVERY_S, Pause
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.delivery.backlog import Backlog
from fleetgw.domain.errors import Retryable, Unheard
from fleetgw.domain.expectation import Expectation
from fleetgw.domain.line_limit import LineLimit, cut
from fleetgw.domain.memory_budget import unbounded_share
from fleetgw.domain.metrics import (
    DEAD_LETTER_TOTAL,
    LANE_HELD_RECORDS,
    LANE_MEMORY_BYTES,
    LANE_REFUSED_FOR_MEMORY_TOTAL,
    LANE_REFUSED_TOTAL,
    LANE_RETRIED_TOTAL,
)
from fleetgw.domain.ports import IPromptDispatcher
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.domain.delivery.batch import Batch, Settlement
    from fleetgw.domain.delivery.limits import BacklogLimits
    from fleetgw.domain.errors import NotConnected
    from fleetgw.domain.memory_budget import Share
    from fleetgw.domain.ports import IDispatcher, ILog, IMetrics, Outcome
    from fleetgw.domain.records import Record


EARLY_FLUSH_RECORDS = 32
"""Flush before the linger timeout once this many records wait: the cost of a batch is then small for each of them."""

PROMPT_FLUSH_RECORDS = 8
"""The same for an ``IPromptDispatcher``: batches of one record would cost mqtt a third more."""

TURN_S = 0.004
"""The longest time for which batches are handed over without a break for the reactor."""


class AwaitsConfirmation(Protocol):
    """Receives what becomes of records that a vehicle waits for."""

    def __hash__(self) -> int: ...

    def confirmed(self, records: Sequence[Record]) -> None:
        """The sink has confirmed these records, in order."""

    def refused(self, record: Record, /) -> bool:
        """The sink never confirms this record. Returns whether the vehicle resends it, as it is never acknowledged."""


@frozen
class LaneTiming:
    """When a lane acts, in seconds.

    :ivar gather_s: the linger timeout: the longest wait of a batch's first record.
    :ivar retry_initial_s: the pause after a first failure, of the lane or of an ordering key; doubled at each further one.
    :ivar retry_max_s: the longest pause.
    :ivar drain_s: the longest time that a stop of the gateway waits for this lane to drain.
    """

    gather_s: float
    retry_initial_s: float
    retry_max_s: float
    drain_s: float


class Lane:
    """Feeds one sink. ``offer`` takes records; the lane hands them to the sink and settles their outcomes by itself.

    The end of a lane: ``drain``, ``close``, then its sink is stopped, then ``abandon``.

    :ivar share: the queue's part of the memory of all queues.
    """

    def __init__(
        self,
        sink: IDispatcher,
        limits: BacklogLimits,
        timing: LaneTiming,
        clock: IReactorTime,
        metrics: IMetrics,
        log: ILog,
        share: Share | None = None,
    ) -> None:
        """:param share: of the memory of all queues; by default without a bound."""
        self.sink = sink
        self._is_prompt = IPromptDispatcher.providedBy(sink)
        self._flush_records = PROMPT_FLUSH_RECORDS if self._is_prompt else EARLY_FLUSH_RECORDS
        self.timing = timing
        self._clock = clock
        self._log = log
        self.share = share or unbounded_share()
        self._backlog: Backlog[AwaitsConfirmation] = Backlog(limits, timing.retry_initial_s, timing.retry_max_s, self.share)
        self._pause = Pause(sink, Backoff(timing.retry_initial_s, timing.retry_max_s))
        self._vehicle_log = VehicleLog(log, clock.seconds)
        self._random = Random()  # noqa: S311  jitter needs no secrecy
        self._pending_send: IDelayedCall | None = None
        self._pending_retry: IDelayedCall | None = None
        self._gathering = False
        self._expectation = Expectation()
        self._closed = False
        self._lines = LineLimit()
        self._draining: list[Deferred[None]] = []
        self._refused_total = metrics.counter(LANE_REFUSED_TOTAL, dispatcher=sink.name)
        self._refused_for_memory_total = metrics.counter(LANE_REFUSED_FOR_MEMORY_TOTAL, dispatcher=sink.name)
        self._retried_total = metrics.counter(LANE_RETRIED_TOTAL, dispatcher=sink.name)
        self._dead_letter_total = metrics.counter(DEAD_LETTER_TOTAL, dispatcher=sink.name)
        self._held_records = metrics.gauge(LANE_HELD_RECORDS, dispatcher=sink.name)
        self._memory_bytes = metrics.gauge(LANE_MEMORY_BYTES, dispatcher=sink.name)

    def offer(self, records: Sequence[Record], size_bytes: int, origin: AwaitsConfirmation | None) -> int:
        """Take records into the queue.

        :param size_bytes: the sum of their ``Record.cost_bytes``.
        :param origin: receives the sink's confirmations; None when nothing waits for them.
        :return: the number of records taken, from the first on; the queue had no room for the rest.
        """
        taken = self._backlog.offer(records, size_bytes, origin)
        if taken < len(records):
            self._count_refused(len(records) - taken)
        if taken:
            if self._pending_send is None:
                self._send_in(self.timing.gather_s)
                self._gathering = True
            if self._gathering and len(self._backlog.waiting.records) >= self._flush_records and self._fills_a_batch():
                self._send_in(0)
        return taken

    def _count_refused(self, count: int) -> None:
        self._refused_total.add(count)
        if not self._backlog.short_of_memory:
            return
        self._refused_for_memory_total.add(count)
        if self._lines.admit("memory", "", self._clock.seconds(), 1) is not None:
            self._log.warn(
                "memory_ceiling_reached",
                dispatcher=self.sink.name,
                memory_bytes=self.share.memory_bytes,
                ceiling_bytes=self.share.budget.ceiling_bytes,
            )

    def share_among_vehicles(self, *, is_shared: bool) -> None:
        """Say whether several vehicles are connected: then no one of them gets all of the lane (``Backlog``)."""
        self._backlog.share_among_vehicles(is_shared=is_shared)
        if self._pending_send is None and self._backlog.has_more and not self._closed:
            self._send_in(0)

    def _fills_a_batch(self) -> bool:
        """Whether as many records wait as are in flight, and as the vehicles are expected to send next."""
        backlog = self._backlog
        return self._is_prompt or len(backlog.waiting.records) >= max(backlog.in_flight_records, self._expectation.records)

    @property
    def held_records(self) -> int:
        """Number of records waiting, in flight and in the retry queue."""
        return self._backlog.held_records

    def drain(self) -> Deferred[None]:
        """Retry at once every record that waits for a retry; fires once nothing is held. Cancelling it changes nothing."""
        self._backlog.retry_now()
        if self._pause.is_on:
            self._pause.end()
            self._send_in(0)
        elif self._pending_send is None and self._backlog.has_more:
            self._send_in(0)
        if not self._backlog.held_records:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._draining.append(waiter)
        return waiter

    def close(self) -> None:
        """Take no more records and hand none to the sink; those in flight may still settle."""
        self._closed = True
        self._backlog.close()
        for call in (self._pending_send, self._pending_retry):
            if call is not None:
                call.cancel()
        self._pending_send = self._pending_retry = None

    def abandon(self) -> int:
        """Give up on every record held, once the sink has stopped; returns their number.

        A vehicle sends a record again that it still waits for. The others may be acknowledged: they are logged with their
        payload, as nothing else may hold a copy. The queue's limits bound their size.
        """
        lost = self._backlog.abandon()
        for record, origin in lost:
            if origin is None or not origin.refused(record):
                self._dead_letter(record, "the gateway stopped before the sink confirmed it", resent=False)
        self._note_held()
        return len(lost)

    def _send(self) -> None:
        self._pending_send = None
        if self._pause.is_on and (look_in_s := self._pause.next_look_s(self._clock.seconds())):
            self._send_in(look_in_s)
            return
        self._pause.begins_try()
        self._gathering = False
        self._expectation.left()
        self._held_records.set_to(self._backlog.held_records)
        self._memory_bytes.set_to(self.share.memory_bytes)

        until_s = self._clock.seconds() + TURN_S
        while self._pending_send is None and (batch := self._backlog.next_batch()) is not None:
            try:
                answer = self.sink.dispatch(batch.records)
                answer.addCallbacks(self._settle, self._broken, (batch,), {}, (batch,))
            except Exception:  # a sink's, which the port forbids; see ``_broken``
                self._broken(Failure(), batch)
            if self._pending_send is None and self._clock.seconds() >= until_s and self._backlog.has_more:
                self._send_in(0)

    def _retry(self) -> None:
        self._pending_retry = None
        self._backlog.end_pauses(self._clock.seconds())
        if self._pending_send is None and self._backlog.has_more:
            self._send_in(0)
        self._plan_retry()

    def _plan_retry(self) -> None:
        """Schedule the retry of the records that are due next; those that are due together go together."""
        due_s = self._backlog.next_due_s
        if due_s is None:
            return
        delay_s = max(self.timing.gather_s, due_s - self._clock.seconds())
        if self._pending_retry is None:
            self._pending_retry = self._clock.callLater(delay_s, self._retry)
        elif self._pending_retry.getTime() > self._clock.seconds() + delay_s:
            self._pending_retry.reset(delay_s)

    def _broken(self, failure: Failure, batch: Batch[AwaitsConfirmation]) -> None:
        # a sink that raises, or fails its Deferred, breaks the port's contract; its records must not be lost for that
        self._log.error("dispatch_failed", dispatcher=self.sink.name, error=failure.getTraceback())
        reason = Retryable(f"{self.sink.name} failed: {failure.getErrorMessage()}")
        self._settle([reason] * len(batch.records), batch)

    def _settle(self, outcomes: Sequence[Outcome], batch: Batch[AwaitsConfirmation]) -> None:
        try:
            settlement = self._backlog.settle(batch, [*outcomes], self._clock.seconds(), self._random.random())
        except (TypeError, ValueError):  # no outcomes at all, or not one for each record
            self._broken(Failure(), batch)
            return
        self._expectation.confirmed(sum(map(len, settlement.confirmed.values())), len(self._backlog.waiting.records))
        for origin, records in settlement.confirmed.items():
            try:
                origin.confirmed(records)
            except Exception as error:  # one vehicle's trouble is not the others'
                self._log.error("confirmation_failed", dispatcher=self.sink.name, error=f"{type(error).__name__}: {error}")
        for rejection in settlement.rejected:
            resent = rejection.origin is not None and rejection.origin.refused(rejection.record)
            if not isinstance(rejection.reason, Unheard):  # which nothing is wrong with
                self._dead_letter(rejection.record, str(rejection.reason), resent=resent)
        self._plan_next(settlement, len(batch.records))
        self._note_held()

    def _plan_next(self, settlement: Settlement[AwaitsConfirmation], count: int) -> None:
        if settlement.retried_records < count:
            self._pause.succeeded()
        if settlement.retry_reason is not None:
            self._retried_total.add(1)
        if self._closed:
            return
        if settlement.pause_s is not None:
            self._plan_retry()
            self._log_retries(settlement)
        if settlement.not_connected is not None and not self._pause.is_on:
            # batches that fail together are one failure: the first begins the pause
            self._begin_pause(settlement.not_connected)
        elif self._pending_send is None and self._backlog.has_more:
            self._send_in(0)

    def _begin_pause(self, reason: NotConnected) -> None:
        now_s = self._clock.seconds()
        pause_s, had_a_chance = self._pause.begin(now_s, self._random.random())
        self._send_in(min(pause_s, LOOK_EVERY_S))
        unwritten = self._lines.admit("away", "", now_s, 1)
        if had_a_chance or unwritten is not None:
            self._log.warn("dispatch_retry", dispatcher=self.sink.name, error=str(reason), pause_s=pause_s)

    def _log_retries(self, settlement: Settlement[AwaitsConfirmation]) -> None:
        if self._lines.admit("retry queue", "", self._clock.seconds(), 1) is not None:
            self._log.warn(
                "dispatch_retry",
                dispatcher=self.sink.name,
                error=str(settlement.retry_reason),
                pause_s=settlement.pause_s,
                retry_queue_records=self._backlog.retry_queue_records,
            )

    def _send_in(self, delay_s: float) -> None:
        if self._pending_send is not None:
            self._pending_send.cancel()
        self._pending_send = self._clock.callLater(delay_s, self._send)
        self._gathering = False

    def _note_held(self) -> None:
        held = self._backlog.held_records
        self._held_records.set_to(held)
        self._memory_bytes.set_to(self.share.memory_bytes)
        if not held and self._draining:
            waiters, self._draining = self._draining, []
            for waiter in waiters:
                waiter.callback(None)

    def _dead_letter(self, record: Record, reason: str, *, resent: bool) -> None:
        self._dead_letter_total.add(1)
        fields = {"dispatcher": self.sink.name, "error": reason, "vehicle_resends": resent}
        if not resent:  # acknowledged, now or perhaps later: the line may be the last copy
            payload = base64.b64encode(record.payload).decode()
            self._log.error("dead_letter", **fields, metadata=record.metadata(), payload_base64=payload)
            return
        self._vehicle_log.error(
            "dead_letter",
            record.vin,
            lambda: (
                fields
                | {
                    "metadata": {key: cut(value) for key, value in record.metadata().items()},
                    "payload_bytes": len(record.payload),
                }
            ),
        )
