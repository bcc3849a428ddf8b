"""A lane: one sink's bounded queue. It hands batches to the sink, and retries retryable records."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from fleetgw.app.pipeline.accounts import SinkAccountsByType
from fleetgw.app.pipeline.circuit_breaker import READINESS_CHECK_S, CircuitBreaker
from fleetgw.app.pipeline.confirmations import confirm
from fleetgw.app.pipeline.dead_letters import DeadLetters, Undelivered
from fleetgw.app.pipeline.lane_metrics import LaneMetrics
from fleetgw.app.pipeline.outcome_watch import OutcomeWatch
from fleetgw.app.pipeline.room import Room
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.batch_estimate import BatchEstimate
from fleetgw.domain.delivery.backlog import Backlog
from fleetgw.domain.errors import Retryable, Unheard
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.memory_budget import unbounded_share
from fleetgw.domain.ports import IPromptDispatcher
from fleetgw.domain.records import count_types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.app.pipeline.confirmations import AwaitsConfirmation
    from fleetgw.domain.delivery.batch import Batch, Rejection, Settlement
    from fleetgw.domain.delivery.limits import BacklogLimits
    from fleetgw.domain.errors import NotConnected
    from fleetgw.domain.memory_budget import Share
    from fleetgw.domain.ports import IDeadLetters, IDispatcher, ILog, IMetrics, Outcome
    from fleetgw.domain.records import Record

EARLY_FLUSH_RECORDS = 32
"""Flush before the linger timeout once this many records wait: the cost of a batch is then small for each of them."""

PROMPT_FLUSH_RECORDS = 8
"""The same for an ``IPromptDispatcher``: batches of one record would cost mqtt a third more."""

TURN_S = 0.004
"""The longest time in seconds for which batches are dispatched without a break for the reactor."""


@frozen
class LaneTiming:
    """The times of a lane, in seconds.

    :ivar linger_s: the linger timeout: the longest wait of a batch's first record.
    :ivar retry_initial_s: the first backoff, of the lane or of an ordering key; doubled at each further failure.
    :ivar retry_max_s: the longest backoff.
    :ivar drain_s: the longest time that a stop of the gateway waits for this lane to drain.
    """

    linger_s: float
    retry_initial_s: float
    retry_max_s: float
    drain_s: float


class Lane:
    """Feeds one sink. ``offer`` takes records; the lane dispatches them and settles their outcomes by itself.

    The end of a lane: ``drain``, ``close``, then its sink is stopped, then ``abandon``.

    :ivar share: the queue's part of the memory of all queues.
    :ivar accounts: the ledger's accounts of the sink.
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
        dead_letters: IDeadLetters | None = None,
        watch: OutcomeWatch | None = None,
    ) -> None:
        """Make an empty lane.

        :param share: of the memory of all queues; by default without a bound.
        :param dead_letters: the sink's; by default they go to the log.
        :param watch: the one of all lanes; by default of this lane alone.
        """
        self.sink, self.timing = sink, timing
        self.share = share or unbounded_share()
        self._clock, self._log = clock, log
        self.accounts = SinkAccountsByType(sink.name, metrics)
        self._lines = LineLimit()
        self._watch = watch or OutcomeWatch()
        self._random = Random()  # noqa: S311  jitter needs no secrecy
        self._backlog: Backlog[AwaitsConfirmation] = Backlog(limits, timing.retry_initial_s, timing.retry_max_s, self.share)
        self._circuit = CircuitBreaker(sink, Backoff(timing.retry_initial_s, timing.retry_max_s))
        self._dead_letters = DeadLetters(sink.name, metrics, self.accounts, log, clock.seconds, dead_letters)
        self._is_prompt = IPromptDispatcher.providedBy(sink)
        self._flush_records = PROMPT_FLUSH_RECORDS if self._is_prompt else EARLY_FLUSH_RECORDS
        self._estimate = BatchEstimate()
        self._lingers = False
        self._next_dispatch: IDelayedCall | None = None
        self._next_retry: IDelayedCall | None = None
        self._room = Room(sink.name, self._backlog.has_room, clock, log)
        self._drain_waiters: list[Deferred[None]] = []
        self._is_closed = False
        self._metrics = LaneMetrics(
            sink, limits.queue_records, lambda: self.held_records, lambda: self.share.memory_bytes, metrics
        )

    @property
    def held_records(self) -> int:
        """Number of records waiting, in flight and in the retry queue, and of dead letters that are being stored."""
        return self._backlog.held_records + self._dead_letters.held_records

    def offer(self, records: Sequence[Record], size_bytes: int, origin: AwaitsConfirmation | None) -> int:
        """Take records into the queue, and count those for which there is no room as refused. See ``take``."""
        taken = self.take(records, size_bytes, origin)
        if taken < len(records):
            self.count_refused(records[0].record_type, len(records) - taken)
        return taken

    def take(self, records: Sequence[Record], size_bytes: int, origin: AwaitsConfirmation | None) -> int:
        """Take records into the queue; the caller keeps the others.

        :param records: of one vehicle and record type, in order.
        :param size_bytes: the sum of their ``Record.cost_bytes``.
        :param origin: receives the sink's confirmations; None when nothing waits for them.
        :return: the number of records taken, from the first on; the queue had no room for the others.
        """
        taken = self._backlog.offer(records, size_bytes, origin)
        if taken:
            self.accounts[records[0].record_type].take(taken)
            if self._next_dispatch is None:
                self._dispatch_in(self.timing.linger_s)
                self._lingers = True
            if self._lingers and len(self._backlog.waiting.records) >= self._flush_records and self._meets_estimate():
                self._dispatch_in(0)
        return taken

    def when_room(self, record_type: str, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the lane may have room for records of a type again, after ``take`` took too few.

        Called once, in a turn of the reactor of its own, first come first served, or by ``close``. There may
        still be no room for the records that the caller has: it then waits anew. A record that the lane
        ``can_hold`` gets room some time.
        """
        self._room.wait(record_type, callback)

    def has_room(self, record_type: str, one_in: int) -> bool:
        """Whether one in so many parts of the queue is free for records of a type; False once the lane is closed."""
        return self._backlog.has_room(record_type, one_in)

    def forget_waiter(self, record_type: str, callback: Callable[[], None]) -> None:
        """Do not call ``callback``, given to ``when_room`` before, any more; harmless when it does not wait."""
        self._room.forget(record_type, callback)

    def can_hold(self, record: Record) -> bool:
        """Whether an empty queue has room for a record; False once the lane is closed."""
        return self._backlog.can_hold(record)

    def count_refused(self, record_type: str, count: int) -> None:
        """Count records for which the lane has no room, and which nobody keeps for it."""
        self._metrics.refused_total.add(count)
        self.accounts[record_type].refused.add(count)
        if not self._backlog.short_of_memory:
            return
        self._metrics.refused_for_memory_total.add(count)
        if self._lines.admit("memory", "", self._clock.seconds(), 1) is not None:
            self._log.warn(
                "memory_ceiling_reached",
                dispatcher=self.sink.name,
                memory_bytes=self.share.memory_bytes,
                ceiling_bytes=self.share.budget.ceiling_bytes,
            )

    def _meets_estimate(self) -> bool:
        """Whether as many records wait as are in flight, and as the vehicles are expected to send next."""
        backlog = self._backlog
        return self._is_prompt or len(backlog.waiting.records) >= max(backlog.in_flight_records, self._estimate.records)

    def share_among_vehicles(self, *, is_shared: bool) -> None:
        """Set whether several vehicles are connected: then none of them gets all of the lane (``Backlog``)."""
        self._backlog.share_among_vehicles(is_shared=is_shared)
        if not self._is_closed:
            self._dispatch_soon()

    def _dispatch_soon(self) -> None:
        """Dispatch in the reactor's next turn, unless a dispatch is scheduled or nothing is to be handed out."""
        if self._next_dispatch is None and self._backlog.has_more:
            self._dispatch_in(0)

    def _dispatch_in(self, delay_s: float) -> None:
        if self._next_dispatch is not None:
            self._next_dispatch.cancel()
        self._next_dispatch = self._clock.callLater(delay_s, self._dispatch)
        self._lingers = False

    def _dispatch(self) -> None:
        self._next_dispatch = None
        if self._circuit.is_open and (check_in_s := self._circuit.check_in_s(self._clock.seconds())):
            self._dispatch_in(check_in_s)
            return
        self._circuit.begin_attempt()
        self._lingers = False
        self._estimate.reset()

        now_s = self._clock.seconds()
        until_s = now_s + TURN_S
        while self._next_dispatch is None and (batch := self._backlog.next_batch()) is not None:
            self._metrics.batch_records.observe(len(batch.records))
            try:
                answer = self.sink.dispatch(batch.records)
                answer.addCallbacks(self._answered, self._contract_broken, (batch, now_s), {}, (batch,))
            except Exception:  # of a sink that breaks its contract
                self._contract_broken(Failure(), batch)
            now_s = self._clock.seconds()
            if now_s >= until_s:
                self._dispatch_soon()
        self._room.changed()

    def _contract_broken(self, failure: Failure, batch: Batch[AwaitsConfirmation]) -> None:
        """Retry the records of a sink that raises, or fails its Deferred: the port forbids both."""
        self._log.error("dispatch_failed", dispatcher=self.sink.name, error=failure.getTraceback())
        reason = Retryable(f"{self.sink.name} failed: {failure.getErrorMessage()}")
        self._settle([reason] * len(batch.records), batch)

    def _answered(self, outcomes: Sequence[Outcome], batch: Batch[AwaitsConfirmation], dispatched_s: float) -> None:
        self._metrics.latency.observe(self._clock.seconds() - dispatched_s)
        self._settle(outcomes, batch)

    def _settle(self, outcomes: Sequence[Outcome], batch: Batch[AwaitsConfirmation]) -> None:
        try:
            settlement = self._backlog.settle(batch, [*outcomes], self._clock.seconds(), self._random.random())
        except (TypeError, ValueError):  # no sequence, or not one outcome for each record
            self._contract_broken(Failure(), batch)
            return
        accounts = self.accounts
        for record_type, count in count_types(settlement.delivered).items():
            accounts[record_type].deliver(count)
        if self._watch.observer is not None:
            self._watch.observer(self.sink.name, settlement)
        confirmed = settlement.confirmed
        self._estimate.confirmed(sum(map(len, confirmed.values())), len(self._backlog.waiting.records))
        for origin, records in confirmed.items():
            confirm(origin, records, self.sink.name, self._log)
        if settlement.rejected:
            self._settle_rejected(settlement.rejected)
        self._schedule_next(settlement, len(batch.records))
        self._room.changed()
        self._held_changed()

    def give_up(self, record: Record, origin: AwaitsConfirmation, reason: str) -> None:
        """Make a record a dead letter for which the lane never has room."""
        self.accounts[record.record_type].take(1)
        self._dead_letters.add([Undelivered(record, reason, origin)], self._held_changed)

    def _settle_rejected(self, rejected: Sequence[Rejection[AwaitsConfirmation]]) -> None:
        letters = []
        for each in rejected:
            if not isinstance(each.reason, Unheard):
                letters.append(Undelivered(each.record, str(each.reason), each.origin))
                continue
            if each.origin is not None:
                each.origin.refused(each.record)
            self.accounts[each.record.record_type].unheard()  # without a subscriber nothing is wrong with the record
        self._dead_letters.add(letters, self._held_changed)

    def _schedule_next(self, settlement: Settlement[AwaitsConfirmation], count: int) -> None:
        """Schedule the next dispatch and the next retry, after a batch of ``count`` records."""
        if len(settlement.retried) < count:
            self._circuit.succeeded()
        if settlement.retried:
            self._metrics.retried_total.add(1)
            for record_type, retried in count_types(settlement.retried).items():
                self.accounts[record_type].retried.add(retried)
        if self._is_closed:
            return
        if settlement.pause_s is not None:
            self._schedule_retry()
            self._log_retries(settlement)
        if settlement.not_connected is not None and not self._circuit.is_open:
            # batches that fail together are one failure: the first one opens the circuit
            self._open_circuit(settlement.not_connected)
        else:
            self._dispatch_soon()

    def _open_circuit(self, reason: NotConnected) -> None:
        now_s = self._clock.seconds()
        backoff_s, reached = self._circuit.open(now_s, self._random.random())
        self._dispatch_in(min(backoff_s, READINESS_CHECK_S))
        unwritten = self._lines.admit("not connected", "", now_s, 1)
        if reached or unwritten is not None:
            self._log.warn("dispatch_retry", dispatcher=self.sink.name, error=str(reason), pause_s=backoff_s)

    def _log_retries(self, settlement: Settlement[AwaitsConfirmation]) -> None:
        if self._lines.admit("retry queue", "", self._clock.seconds(), 1) is not None:
            self._log.warn(
                "dispatch_retry",
                dispatcher=self.sink.name,
                error=str(settlement.retry_reason),
                pause_s=settlement.pause_s,
                retry_queue_records=self._backlog.retry_queue_records,
            )

    def _schedule_retry(self) -> None:
        """Schedule the next end of a pause; pauses that end within one linger timeout end together."""
        due_s = self._backlog.next_due_s
        if due_s is None:
            return
        delay_s = max(self.timing.linger_s, due_s - self._clock.seconds())
        if self._next_retry is None:
            self._next_retry = self._clock.callLater(delay_s, self._end_pauses)
        elif self._next_retry.getTime() > self._clock.seconds() + delay_s:
            self._next_retry.reset(delay_s)

    def _end_pauses(self) -> None:
        self._next_retry = None
        self._backlog.end_pauses(self._clock.seconds())
        self._dispatch_soon()
        self._schedule_retry()

    def drain(self) -> Deferred[None]:
        """Retry at once every record that waits for a retry; fires once no record is held. Cancelling it changes nothing."""
        self._backlog.retry_now()
        if self._circuit.is_open:
            self._circuit.reset()
            self._dispatch_in(0)
        else:
            self._dispatch_soon()
        if not self.held_records:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._drain_waiters.append(waiter)
        return waiter

    def close(self) -> None:
        """Take no more records and dispatch none; those in flight may still settle. Nobody waits for room any more."""
        self._is_closed = True
        self._backlog.close()
        self._room.close()
        for call in (self._next_dispatch, self._next_retry):
            if call is not None:
                call.cancel()
        self._next_dispatch = self._next_retry = None

    def abandon(self) -> int:
        """Give up on every record held, once the sink has stopped.

        A vehicle resends a record that is never acknowledged. The others become dead letters, as nothing else may hold a
        copy. The queue's limits bound their number. ``letters_stored`` waits for them.

        :return: the number of records given up on.
        """
        abandoned = self._backlog.abandon()
        reason, last_copies = "the gateway stopped before the sink confirmed it", []
        for record, origin in abandoned:
            if origin is None or not origin.refused(record):
                last_copies.append(Undelivered(record, reason, None, is_left=True))
            else:
                self.accounts[record.record_type].give_up(is_lost=False)
        self._dead_letters.add(last_copies, self._held_changed)
        self._held_changed()
        return len(abandoned)

    def letters_stored(self) -> Deferred[None]:
        """Fires once no dead letter is being stored. Cancelling it logs those that are not stored yet."""
        return self._dead_letters.stored()

    def _held_changed(self) -> None:
        """Tell the callers of ``drain`` once no record is held."""
        if not (self._drain_waiters or self._is_closed) or self.held_records:
            return
        if self._is_closed:
            self._metrics.close()
        if self._drain_waiters:
            waiters, self._drain_waiters = self._drain_waiters, []
            for waiter in waiters:
                waiter.callback(None)
