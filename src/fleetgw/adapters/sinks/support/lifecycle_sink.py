"""The life of a sink from start to stop; a subclass adds the way to its destination."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from fleetgw.adapters.sinks.support.destination import Destination
from fleetgw.adapters.sinks.support.dispatch import Answer, Dispatch
from fleetgw.domain.errors import ConfigurationError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, IDispatcher

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
    from fleetgw.domain.ports import Outcome, Readiness
    from fleetgw.domain.records import Record

_SHOWN_TYPE_CHARACTERS = 64


@implementer(IDispatcher)
class LifecycleSink(ABC):
    """Refuses records while not running, keeps the dispatches under way, and drains or gives them up when it stops.

    A subclass gives ``deliver``, and where it needs them ``open``, ``settled``, ``stopping``, ``abandon`` and ``close``. It
    reports the state of its destination to ``destination``. All methods are called on the reactor's thread.

    :cvar takes_any_type: whether to deliver records of types that are not routed to the sink; otherwise they are rejected.
    :ivar destination: the known state of the destination; not ready until the subclass reports that it is.
    :param timeout_s: longest time from dispatch to answer, in seconds; None for a subclass with timeouts of its own.
    :param metrics: counts every outcome; None counts nothing.
    """

    takes_any_type = False

    def __init__(
        self, context: SinkContext, *, timeout_s: float | None = None, metrics: PublishMetrics | None = None
    ) -> None:
        self.name = context.name
        self.destination = Destination(context)
        self._context = context
        self._timeout_s = timeout_s
        self._publish_metrics = metrics
        self._record_types = frozenset(context.record_types)
        self._not_running = NotConnected(f"the {context.name} sink is not running")
        self._given_up = Retryable(f"the {context.name} sink stopped before the record was delivered")
        self._running = False
        self._under_way: dict[Dispatch, IDelayedCall | None] = {}
        self._stopped: Deferred[None] | None = None
        self._closed = False

    # For a subclass to give

    def open(self) -> None:
        """Begin to work, as ``IDispatcher.start`` asks; by default the destination counts as reached.

        :raises ConfigurationError: for an error that no retry can resolve.
        """
        self.destination.ready()

    @abstractmethod
    def deliver(self, dispatch: Dispatch) -> None:
        """Begin to deliver records, and call ``settle``, ``settle_all`` or ``settle_rest``, now or later. Must not raise.

        :param dispatch: holds records of routed types only, unless ``takes_any_type``.
        """

    def stopping(self) -> None:
        """Stopping has begun: no dispatch comes any more; those under way may still settle."""

    def abandon(self) -> None:
        """Give up all dispatches under way; ``LifecycleSink`` settles them right afterwards."""

    def close(self) -> Deferred[None] | None:
        """Release every resource; called once no dispatch is under way.

        :return: ``stop`` waits for it, unless cancelled; None where there is nothing to wait for.
        """

    def settled(self, dispatch: Dispatch, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of a dispatch, right before its answer; by default ``metrics`` counts them."""
        if self._publish_metrics is not None:
            self._publish_metrics.count(dispatch.batch, outcomes)

    # For a subclass to call

    def settle(self, dispatch: Dispatch, index: int, outcome: Outcome) -> None:
        """Set a record's outcome, unless it has one."""
        if dispatch in self._under_way and dispatch.settle(index, outcome):
            self.finish(dispatch)

    def settle_all(self, dispatch: Dispatch, outcomes: Sequence[Outcome]) -> None:
        """Set the outcomes of all records of a dispatch; does nothing after its answer, as after a timeout."""
        if dispatch in self._under_way:
            dispatch.settle_all(outcomes)
            self.finish(dispatch)

    def settle_rest(self, dispatch: Dispatch, outcome: Outcome) -> None:
        """Set this outcome for every record without one."""
        if dispatch in self._under_way:
            dispatch.settle_rest(outcome)
            self.finish(dispatch)

    def finish(self, dispatch: Dispatch) -> None:
        """Answer a dispatch whose records were all settled by ``Dispatch.settle``.

        It costs less than ``settle`` for each record, and calls nobody before the caller is ready for further dispatches.
        """
        if dispatch not in self._under_way:
            return
        deadline = self._under_way.pop(dispatch)
        if deadline is not None:
            deadline.cancel()
        outcomes = dispatch.outcomes()
        if RECEIPT in outcomes:
            self.destination.confirmed()
        self.settled(dispatch, outcomes)
        dispatch.answer.callback(outcomes)
        self._close_when_settled()

    def timed_out(self, dispatch: Dispatch) -> None:
        """Settle a dispatch after ``timeout_s``; by default with ``Destination.unanswered``."""
        self.settle_rest(dispatch, self.destination.unanswered(self._timeout_s or 0.0))

    # As a dispatcher

    def start(self) -> Deferred[None]:
        """Begin to take records; see ``open``."""
        try:
            self.open()
        except ConfigurationError:
            return fail()
        self._running = True
        return succeed(None)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Deliver records; see ``deliver``."""
        if not self._running:
            return succeed([self._not_running] * len(batch))
        if not self.takes_any_type and not self._record_types.issuperset([record.record_type for record in batch]):
            return self._dispatch_routed(batch)
        dispatch = Dispatch(batch)
        self._under_way[dispatch] = None
        self.deliver(dispatch)
        if self._timeout_s is not None and dispatch in self._under_way:
            self._under_way[dispatch] = self._context.reactor.callLater(self._timeout_s, self._time_out, dispatch)
        return dispatch.answer

    def stop(self) -> Deferred[None]:
        """Take no more records, and wait for dispatches under way; cancelling gives them up."""
        if self._stopped is not None and self._stopped.called:
            return succeed(None)
        self._running = False
        self.destination.stopped()
        self._stopped = Deferred(lambda _: self._give_up())
        self.stopping()
        self._close_when_settled()
        return self._stopped

    def take_further_types(self, record_types: Collection[str]) -> None:
        """See ``ITakesFurtherTypes``; for a subclass that provides it, and makes what it keeps by record type on demand."""
        self._record_types = self._record_types.union(record_types)

    def readiness(self) -> Readiness:
        """The known state of the destination."""
        return self.destination.readiness

    def _dispatch_routed(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Deliver the records whose types are routed here, and reject the others."""
        rejected = {
            index: self._not_routed(record)
            for index, record in enumerate(batch)
            if record.record_type not in self._record_types
        }
        routed = [record for index, record in enumerate(batch) if index not in rejected]
        if not routed:
            return succeed([*rejected.values()])
        answer = Answer()

        def merge(outcomes: Sequence[Outcome]) -> None:
            rest = iter(outcomes)
            answer.callback([rejected[index] if index in rejected else next(rest) for index in range(len(batch))])

        self.dispatch(routed).addCallback(merge)
        return answer

    def _not_routed(self, record: Record) -> Rejected:
        """The outcome of a record whose type is not routed to the sink."""
        return Rejected(f"{record.record_type[:_SHOWN_TYPE_CHARACTERS]!r} is not routed to {self.name}")

    def _time_out(self, dispatch: Dispatch) -> None:
        self._under_way[dispatch] = None
        self.timed_out(dispatch)

    def _close_when_settled(self) -> None:
        if self._stopped is None or self._closed or self._under_way:
            return
        self._closed = True
        closed = self.close()
        if closed is None:
            self._end()
        else:
            closed.addCallback(lambda _: self._end())

    def _end(self) -> None:
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    def _give_up(self) -> None:
        self.abandon()
        for dispatch in [*self._under_way]:
            self.settle_rest(dispatch, self._given_up)
        self._close_when_settled()
        self._end()
