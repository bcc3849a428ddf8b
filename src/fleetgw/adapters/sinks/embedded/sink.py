"""The ``embedded`` sink: hands records to the program that the gateway runs inside."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.sinks.embedded.settings import Embedded
from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.numbers import PublishNumbers
from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, IDispatcher, NotReady, Outcome, Readiness, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.records import Record

    Receiver = Callable[[Record], Deferred[None] | None]

SLICE_S = 0.01
"""How long, in one turn of the reactor, records are handed over."""

_NOT_RUNNING = NotConnected("the embedded sink is not running")
_NOBODY = NotConnected("no program listens")
_GIVEN_UP = Retryable("the gateway stopped before the listener was done")


class _Batch(Dispatch):
    """One ``dispatch``. ``handed`` has the records that are with the receiver, by index."""

    __slots__ = ("deadline", "handed")

    def __init__(self, batch: Sequence[Record]) -> None:
        super().__init__(batch)
        self.handed: set[int] = set()
        self.deadline: IDelayedCall | None = None


class _Call:
    """One record on its way to the receiver."""

    __slots__ = ("answer", "batch", "deadline", "index", "over", "record")

    answer: Deferred[None]
    deadline: IDelayedCall

    def __init__(self, batch: _Batch, index: int, record: Record) -> None:
        self.batch = batch
        self.index = index
        self.record = record
        self.over = False


@implementer(IDispatcher)
class EmbeddedSink:
    """Gives every record to ``receiver``: those of one vehicle one after the other, in order, those of others meanwhile.

    A record is delivered when the receiver has returned None, or the Deferred that it returned has fired. A
    ``DeliveryError`` of the receiver is the record's outcome. Any other exception is logged, and the record is tried again,
    after ``attempts`` of them no more.

    Settings: ``listener_timeout_s``, how long the receiver may take with one record, and a record may wait for its vehicle's
    earlier ones; ``attempts``, 0 for no limit.

    :ivar receiver: called with each record on the reactor's thread; None while there is none: the sink is not ready then.
        What it returns is cancelled when it takes too long.
    """

    def __init__(self, context: SinkContext) -> None:
        self.name = context.name
        self._context = context
        self.receiver: Receiver | None = None
        settings = typed(Embedded, context.settings, context.name)
        self._timeout_s, self._attempts = settings.listener_timeout_s, settings.attempts
        self._reactor = context.reactor
        self._numbers = PublishNumbers(
            context.metrics, "embedded", "Records that the program's listeners have taken.", context.record_types
        )
        self._failure_log = FailureLog(context.log, "embedded_listener_error", context.reactor)
        self._running = False
        self._batches: set[_Batch] = set()
        self._queues: dict[str, deque[_Call]] = {}  # of the vehicles with records under way
        self._ready: deque[str] = deque()  # the vehicles of these whose next record may be handed over
        self._with_receiver: set[_Call] = set()
        self._failures: WeakKeyDictionary[Record, int] = WeakKeyDictionary()
        self._at_work = False
        self._slice_end_s = 0.0
        self._next_slice: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        """Begin to take records."""
        self._running = True
        return succeed(None)

    def readiness(self) -> Readiness:
        """Ready while it runs and has a receiver."""
        if not self._running:
            return NotReady(str(_NOT_RUNNING))
        return Ready() if self.receiver is not None else NotReady(str(_NOBODY))

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Hand records over, as ``IDispatcher`` asks."""
        if not self._running or self.receiver is None:
            for record in batch:
                self._numbers.failed(record.record_type)
            return succeed([_NOBODY if self._running else _NOT_RUNNING] * len(batch))
        under_way = _Batch(batch)
        self._batches.add(under_way)
        queues = self._queues
        for index, record in enumerate(batch):
            if record.record_type not in self._context.record_types:
                self._settle(under_way, index, self._context.not_routed(record.record_type))
                continue
            vin = record.vehicle.vin
            queue = queues.get(vin)
            if queue is None:
                queues[vin] = queue = deque()
                self._ready.append(vin)
            queue.append(_Call(under_way, index, record))
        self._work()
        if under_way.unsettled:
            under_way.deadline = self._reactor.callLater(self._timeout_s, self._time_out, under_way)
        return under_way.answer

    def stop(self) -> Deferred[None]:
        """Take no more, and wait for the receiver."""
        self._running = False
        self._stopped = Deferred(lambda _: self._give_up())
        self._end_when_settled()
        return self._stopped

    def _work(self) -> None:
        """Hand over one record of each vehicle in turn, until all wait for the receiver or this turn's slice is over."""
        if self._at_work or not self._ready:
            return
        seconds = self._reactor.seconds
        if self._next_slice is None:
            self._slice_end_s = seconds() + SLICE_S
            self._next_slice = self._reactor.callLater(0, self._begin_slice)
        self._at_work = True
        while self._ready and seconds() <= self._slice_end_s:
            vin = self._ready.popleft()
            call = self._queues[vin].popleft()
            if call.batch.is_settled(call.index):  # it has waited for too long
                self._go_on(vin)
            else:
                self._hand_over(call)
        self._at_work = False

    def _begin_slice(self) -> None:
        self._next_slice = None
        self._work()

    def _go_on(self, vin: str) -> None:
        """A vehicle's record is done with: its next one may follow."""
        if self._queues.get(vin):
            self._ready.append(vin)
        else:
            self._queues.pop(vin, None)

    def _hand_over(self, call: _Call) -> None:
        outcome: Outcome = _NOBODY
        answer = None
        try:
            if self.receiver is not None:
                answer = self.receiver(call.record)
                outcome = RECEIPT
        except Exception as error:  # the program's own
            outcome = self._outcome_of(call, Failure(error))
        if answer is None:
            self._go_on(call.record.vin)
            self._settle(call.batch, call.index, outcome)
            return
        call.answer = answer
        call.deadline = self._reactor.callLater(self._timeout_s, self._overdue, call)
        call.batch.handed.add(call.index)
        self._with_receiver.add(call)
        answer.addCallbacks(self._done, self._failed, (call,), {}, (call,))

    def _done(self, _: None, call: _Call) -> None:
        if not call.over:
            self._end(call, RECEIPT)

    def _failed(self, failure: Failure, call: _Call) -> None:
        if not call.over:
            self._end(call, self._outcome_of(call, failure))

    def _end(self, call: _Call, outcome: Outcome) -> None:
        call.over = True
        if call.deadline.active():
            call.deadline.cancel()
        self._with_receiver.discard(call)
        self._go_on(call.record.vin)
        self._settle(call.batch, call.index, outcome)
        self._work()

    def _overdue(self, call: _Call) -> None:
        self._end(call, Retryable(f"the listener was not done with a record within {self._timeout_s:g} s"))
        call.answer.cancel()

    def _time_out(self, batch: _Batch) -> None:
        reason = Retryable(f"a record waited for its vehicle's earlier ones for {self._timeout_s:g} s")
        for index in range(len(batch.batch)):
            if index not in batch.handed and not batch.is_settled(index):
                self._settle(batch, index, reason)

    def _outcome_of(self, call: _Call, failure: Failure) -> DeliveryError:
        error = failure.value
        if isinstance(error, DeliveryError):
            return error
        record = call.record
        reason = f"{type(error).__name__}: {error}"
        self._failures[record] = failures = self._failures.get(record, 0) + 1
        self._failure_log.add(
            type(error).__name__,
            reason,
            vin=record.vin,
            record_type=record.record_type,
            txid=record.txid.decode("utf-8", "replace"),
            attempt=failures,
            traceback=failure.getTraceback(),
        )
        if failures == self._attempts:
            return Rejected(f"the listener failed {failures} times, lastly with {reason}")
        return Retryable(f"the listener failed: {reason}")

    def _settle(self, batch: _Batch, index: int, outcome: Outcome) -> None:
        record = batch.batch[index]
        if outcome is RECEIPT:
            self._numbers.published(record.record_type, 1, len(record.payload))
        else:
            self._numbers.failed(record.record_type)
        if batch.settle(index, outcome):
            self._batches.discard(batch)
            if batch.deadline is not None and batch.deadline.active():
                batch.deadline.cancel()
            batch.answer_now()
            self._end_when_settled()

    def _give_up(self) -> None:
        calls, self._with_receiver = self._with_receiver, set()
        self._queues.clear()
        self._ready.clear()
        for call in calls:
            call.over = True
            call.deadline.cancel()
            call.answer.cancel()
        for batch in tuple(self._batches):
            for index in range(len(batch.batch)):
                if not batch.is_settled(index):
                    self._settle(batch, index, _GIVEN_UP)
        self._end_when_settled()

    def _end_when_settled(self) -> None:
        if self._stopped is not None and not self._stopped.called and not self._batches:
            if self._next_slice is not None:
                self._next_slice.cancel()
                self._next_slice = None
            self._stopped.callback(None)
