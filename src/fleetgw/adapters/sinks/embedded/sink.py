"""The ``embedded`` sink: hands records to the program that the gateway runs inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.python.failure import Failure
from zope.interface import implementer

from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.sinks.embedded.listener_failures import ListenerFailures
from fleetgw.adapters.sinks.embedded.settings import Embedded
from fleetgw.adapters.sinks.embedded.vehicle_turns import Call, VehicleTurns
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import RECEIPT, ITakesFurtherTypes

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

    Receiver = Callable[[Record], Deferred[None] | None]

SLICE_S = 0.01
"""Longest time, in seconds, for which records are handed over in one turn of the reactor."""

_NO_RECEIVER = NotConnected("no program listens")


@implementer(ITakesFurtherTypes)
class EmbeddedSink(LifecycleSink):
    """Gives every record to ``receiver``: one record of a vehicle at a time, in order; vehicles do not wait for each other.

    A record is delivered when the receiver has returned None, or the Deferred that it returned has fired; see
    ``ListenerFailures`` for exceptions. A Deferred that has not fired after ``listener_timeout_s`` is cancelled.
    """

    def __init__(self, context: SinkContext) -> None:
        settings = typed(Embedded, context.settings, context.name)
        taken = "Records that the program's listeners have taken."
        metrics = PublishMetrics(context.metrics, "embedded", taken, context.record_types)
        super().__init__(context, timeout_s=settings.listener_timeout_s, metrics=metrics)
        self._listener_timeout_s = settings.listener_timeout_s
        self._failures = ListenerFailures(context, settings.attempts)
        self._reactor = context.reactor
        self._receiver: Receiver | None = None
        self._turns = VehicleTurns()
        self._in_flight: dict[Call, tuple[Deferred[None], IDelayedCall]] = {}
        self._handing_over = False
        self._slice_end_s = 0.0
        self._next_slice: IDelayedCall | None = None

    @property
    def receiver(self) -> Receiver | None:
        """Called with each record on the reactor's thread; the sink is not ready while it is None."""
        return self._receiver

    @receiver.setter
    def receiver(self, receiver: Receiver | None) -> None:
        self._receiver = receiver
        if self._running:
            self._update_readiness()

    def open(self) -> None:
        """Become ready if there is a receiver."""
        self._update_readiness()

    def deliver(self, dispatch: Dispatch) -> None:
        """Queue records for the receiver."""
        if self._receiver is None:
            self.settle_rest(dispatch, _NO_RECEIVER)
            return
        for index in range(len(dispatch.batch)):
            self._turns.add(Call(dispatch, index))
        self._hand_over()

    def timed_out(self, dispatch: Dispatch) -> None:
        """Give up the records that still wait for their turn; each record in flight has a deadline of its own."""
        outcome = Retryable(f"a record waited for its vehicle's earlier ones for {self._listener_timeout_s:g} s")
        in_flight = {call.index for call in self._in_flight if call.dispatch is dispatch}
        for index in range(len(dispatch.batch)):
            if index not in in_flight:
                self.settle(dispatch, index, outcome)

    def abandon(self) -> None:
        """Cancel the records in flight, and hand over no more."""
        self._turns = VehicleTurns()
        in_flight, self._in_flight = self._in_flight, {}
        for answer, deadline in in_flight.values():
            deadline.cancel()
            answer.cancel()

    def close(self) -> None:
        """Cancel the next turn."""
        if self._next_slice is not None:
            self._next_slice.cancel()
            self._next_slice = None

    def _update_readiness(self) -> None:
        if self._receiver is None:
            self.destination.not_ready(str(_NO_RECEIVER))
        else:
            self.destination.ready()

    def _hand_over(self) -> None:
        """Hand over the next record of each vehicle in turn, until none is due or this turn of the reactor is over."""
        if self._handing_over or not self._turns:
            return
        seconds = self._reactor.seconds
        if self._next_slice is None:
            self._slice_end_s = seconds() + SLICE_S
            self._next_slice = self._reactor.callLater(0, self._begin_slice)
        self._handing_over = True
        while self._turns and seconds() <= self._slice_end_s:
            call = self._turns.take()
            if call.dispatch.is_settled(call.index):  # it has timed out
                self._turns.end(call)
            else:
                self._call_receiver(call)
        self._handing_over = False

    def _begin_slice(self) -> None:
        self._next_slice = None
        self._hand_over()

    def _call_receiver(self, call: Call) -> None:
        answer: Deferred[None] | None = None
        outcome: Outcome = _NO_RECEIVER
        if self._receiver is not None:
            try:
                answer = self._receiver(call.record)
                outcome = RECEIPT
            except Exception as error:  # the program's own
                outcome = self._failures.outcome(call.record, Failure(error))
        if answer is None:
            self._turns.end(call)
            self.settle(call.dispatch, call.index, outcome)
            return
        self._in_flight[call] = answer, self._reactor.callLater(self._listener_timeout_s, self._call_timed_out, call)
        answer.addCallbacks(self._succeeded, self._failed, (call,), {}, (call,))

    def _succeeded(self, _: None, call: Call) -> None:
        if call in self._in_flight:
            self._conclude(call, RECEIPT)

    def _failed(self, failure: Failure, call: Call) -> None:
        if call in self._in_flight:
            self._conclude(call, self._failures.outcome(call.record, failure))

    def _call_timed_out(self, call: Call) -> None:
        answer, _ = self._in_flight[call]
        self._conclude(call, Retryable(f"the listener was not done with a record within {self._listener_timeout_s:g} s"))
        answer.cancel()

    def _conclude(self, call: Call, outcome: Outcome) -> None:
        _, deadline = self._in_flight.pop(call)
        if deadline.active():
            deadline.cancel()
        self._turns.end(call)
        self.settle(call.dispatch, call.index, outcome)
        self._hand_over()
