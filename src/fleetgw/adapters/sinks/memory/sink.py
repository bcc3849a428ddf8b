"""The ``memory`` sink: keeps records, and does as it is told. For tests and for trying things out."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.sinks.memory.settings import Memory
from fleetgw.adapters.sinks.support.context import Answer
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import RECEIPT, IDispatcher, NotReady, Outcome, Readiness, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.records import Record

PUBLISH_TOTAL = Metric("memory_publish_total", Kind.COUNTER, "Records that the memory sink has kept.", ("record_type",))
ERR = Metric("memory_err", Kind.COUNTER, "Records that the memory sink did not keep.")

_NOT_RUNNING = NotConnected("the memory sink is not running")
_FULL = Retryable("the memory sink holds as many records as it may")
_TIMED_OUT = Retryable("the memory sink was not released in time")
_GIVEN_UP = Retryable("the memory sink stopped before it was released")


class _Held:
    """A batch that waits for ``release``."""

    def __init__(self, batch: Sequence[Record]) -> None:
        self.batch = batch
        self.answer = Answer()
        self.deadline: IDelayedCall | None = None


@implementer(IDispatcher)
class MemorySink:
    """Confirms at once whatever it keeps, until a test says otherwise.

    Settings: ``capacity``, how many delivered records it keeps (the oldest go first) and how many it may hold;
    ``timeout_s``, how long it may hold one.

    :ivar received: delivered records, oldest first.
    :ivar verdict: asked about every record; an error that it returns becomes the record's outcome.
    """

    def __init__(self, context: SinkContext) -> None:
        self.name = context.name
        self._context = context
        settings = typed(Memory, context.settings, context.name)
        self._capacity, self._timeout_s = settings.capacity, settings.timeout_s
        self.received: deque[Record] = deque(maxlen=self._capacity)
        self.verdict: Callable[[Record], DeliveryError | None] = _takes_all
        self._clock = context.reactor
        self._published = {
            record_type: context.metrics.counter(PUBLISH_TOTAL, record_type=record_type)
            for record_type in context.record_types
        }
        self._errors = context.metrics.counter(ERR)
        self._running = False
        self._away: NotConnected | None = None
        self._holds = False
        self._held: list[_Held] = []
        self._stopped: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        """Begin to take records."""
        self._running = True
        return succeed(None)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Keep records, or hold them, or refuse them: as told."""
        if not self._running:
            return succeed([_NOT_RUNNING] * len(batch))
        if not self._holds:
            return succeed(self._settled(batch))
        held = _Held(batch)
        if sum(len(other.batch) for other in self._held) + len(batch) > self._capacity:
            return succeed(self._failed(batch, _FULL))
        held.deadline = self._clock.callLater(self._timeout_s, self._time_out, held)
        self._held.append(held)
        return held.answer

    def stop(self) -> Deferred[None]:
        """Take no more; wait for what is held."""
        self._running = False
        self._stopped = Deferred(lambda _: self._fail_held(_GIVEN_UP))
        self._end_when_settled()
        return self._stopped

    def readiness(self) -> Readiness:
        """Ready while it runs and is not away."""
        if not self._running:
            return NotReady(str(_NOT_RUNNING))
        return Ready() if self._away is None else NotReady(str(self._away))

    # What a test tells it

    def hold(self) -> None:
        """Leave records unconfirmed from now on."""
        self._holds = True

    def release(self) -> None:
        """Confirm what is held, in order, and hold no more."""
        self._holds = False
        while self._held:
            held = self._held.pop(0)
            self._answer(held, self._settled(held.batch))
        self._end_when_settled()

    def go_away(self, reason: str = "gone away") -> None:
        """Behave as a sink whose destination cannot be reached; what is held fails."""
        self._away = NotConnected(reason)
        self._fail_held(self._away)

    def come_back(self) -> None:
        """Be reachable again."""
        self._away = None

    def _settled(self, batch: Sequence[Record]) -> list[Outcome]:
        return [self._outcome(record) for record in batch]

    def _outcome(self, record: Record) -> Outcome:
        error = self._away or self.verdict(record)
        if error is None and record.record_type not in self._published:
            error = self._context.not_routed(record.record_type)
        if error is not None:
            self._errors.add(1)
            return error
        self.received.append(record)
        self._published[record.record_type].add(1)
        return RECEIPT

    def _failed(self, batch: Sequence[Record], error: DeliveryError) -> list[Outcome]:
        self._errors.add(len(batch))
        return [error] * len(batch)

    def _fail_held(self, error: DeliveryError) -> None:
        while self._held:
            held = self._held.pop(0)
            self._answer(held, self._failed(held.batch, error))
        self._end_when_settled()

    def _time_out(self, held: _Held) -> None:
        self._held.remove(held)
        held.deadline = None
        self._answer(held, self._failed(held.batch, _TIMED_OUT))
        self._end_when_settled()

    def _answer(self, held: _Held, outcomes: list[Outcome]) -> None:
        if held.deadline is not None:
            held.deadline.cancel()
        held.answer.callback(outcomes)

    def _end_when_settled(self) -> None:
        if self._stopped is not None and not self._stopped.called and not self._held:
            self._stopped.callback(None)


def _takes_all(_record: Record) -> DeliveryError | None:
    return None
