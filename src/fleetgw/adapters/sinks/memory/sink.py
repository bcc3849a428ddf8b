"""The ``memory`` sink: keeps records in memory, and simulates faults on request. For tests and trials."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.sinks.memory.settings import Memory
from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import RECEIPT, ITakesFurtherTypes

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

PUBLISH_TOTAL = Metric("memory_publish_total", Kind.COUNTER, "Records that the memory sink has kept.", ("record_type",))
ERR = Metric("memory_err", Kind.COUNTER, "Records that the memory sink did not keep.")

_FULL = Retryable("the memory sink holds as many records as it may")
_TIMED_OUT = Retryable("the memory sink was not released in time")


@implementer(ITakesFurtherTypes)
class MemorySink(LifecycleSink):
    """Keeps records and confirms them at once, unless a test holds or rejects them, or makes the destination go away.

    It keeps the latest ``capacity`` records. ``hold`` leaves at most as many unconfirmed, each for ``timeout_s`` at most.

    :ivar received: delivered records, oldest first.
    :ivar verdict: called with every record; an error that it returns becomes the record's outcome.
    """

    def __init__(self, context: SinkContext) -> None:
        settings = typed(Memory, context.settings, context.name)
        super().__init__(context, timeout_s=settings.timeout_s)
        self._capacity = settings.capacity
        self.received: deque[Record] = deque(maxlen=self._capacity)
        self.verdict: Callable[[Record], DeliveryError | None] = _takes_all
        self._published = ByRecordType(
            lambda record_type: context.metrics.counter(PUBLISH_TOTAL, record_type=record_type), context.record_types
        )
        self._errors = context.metrics.counter(ERR)
        self._away: NotConnected | None = None
        self._holds = False

    def open(self) -> None:
        """Be ready, unless ``go_away`` was called before."""
        if self._away is None:
            self.destination.ready()

    def deliver(self, dispatch: Dispatch) -> None:
        """Keep, hold or refuse records."""
        if not self._holds:
            self._conclude(dispatch)
        elif sum(len(each.batch) for each in self._under_way) > self._capacity:
            self._fail(dispatch, _FULL)

    def timed_out(self, dispatch: Dispatch) -> None:
        """Fail records that were held for too long."""
        self._fail(dispatch, _TIMED_OUT)

    # For a test to call

    def hold(self) -> None:
        """Leave records unconfirmed until ``release``."""
        self._holds = True

    def release(self) -> None:
        """Confirm the held records, in order, and hold no more."""
        self._holds = False
        for dispatch in [*self._under_way]:
            self._conclude(dispatch)

    def go_away(self, reason: str = "gone away") -> None:
        """Behave as a sink whose destination cannot be reached; held records fail."""
        self._away = NotConnected(reason)
        self.destination.not_ready(reason)
        for dispatch in [*self._under_way]:
            self._fail(dispatch, self._away)

    def come_back(self) -> None:
        """Be reachable again."""
        self._away = None
        if self._running:
            self.destination.ready()

    def _conclude(self, dispatch: Dispatch) -> None:
        self.settle_all(dispatch, [self._outcome(record) for record in dispatch.batch])

    def _outcome(self, record: Record) -> Outcome:
        error = self._away or self.verdict(record)
        if error is not None:
            self._errors.add(1)
            return error
        self.received.append(record)
        self._published[record.record_type].add(1)
        return RECEIPT

    def _fail(self, dispatch: Dispatch, error: DeliveryError) -> None:
        self._errors.add(len(dispatch.batch))
        self.settle_rest(dispatch, error)


def _takes_all(_record: Record) -> DeliveryError | None:
    return None
