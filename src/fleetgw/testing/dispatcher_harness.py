"""What ``DispatcherContract`` needs to know of a sink and its destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar
from unittest import SkipTest

from fleetgw.testing.sink_doubles import ThreadlessReactor, make_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.defer import Deferred

    from fleetgw.adapters.sinks.support.context import ISinkReactor, SinkContext
    from fleetgw.domain.ports import IDispatcher
    from fleetgw.domain.records import Record

T = TypeVar("T")

STEP_S = 0.005


class Received(NamedTuple):
    """What the destination has got of one record: the vehicle, and the payload."""

    vin: str
    payload: bytes


class DispatcherHarness:
    """One sink and its destination, for one test.

    Subclass it. What a destination cannot do stays as it is here, and the clauses that need it are skipped.

    :cvar record_types: types that the destination has a place for; at least one.
    :cvar namespace: of the sink's context.
    :cvar unsendable_type: a record type that is not routed to the sink; None when it takes any, as a log does.
    :cvar confirmed_metric: counter, by record type, of confirmed records; None when the sink counts nothing.
    :cvar refused_metric: counter of records that were not taken; None when the sink has none.
    :cvar refused_labels: values of that counter's labels for a record of the first type.
    :cvar refused_payload: a payload that the destination refuses for good; None when it takes anything.
    :cvar bound: how many unconfirmed records the sink takes when its settings are ``bounded``; None without such a bound.
    """

    record_types: tuple[str, ...] = ("V", "alerts")
    namespace = "contract"
    unsendable_type: str | None = "not routed to this sink"
    confirmed_metric: str | None = None
    refused_metric: str | None = None
    refused_labels: tuple[str, ...] = ()
    refused_payload: bytes | None = None
    bound: int | None = None

    @property
    def reactor(self) -> ISinkReactor:
        """The sink's reactor: the real one, or one that ``until`` drives."""
        raise NotImplementedError

    async def set_up(self) -> None:
        """Have the destination ready, empty or at least with no record of another test."""

    async def tear_down(self) -> None:
        """Let go of everything; the sink is stopped by then."""

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        """The sink's section.

        :param timeout_s: how long a record may wait for its confirmation.
        :param bounded: with room for ``bound`` unconfirmed records only.
        """
        raise NotImplementedError

    def make_record(self, vin: str, txid: str = "tx-1", *, record_type: str = "V", payload: bytes = b"payload") -> Record:
        """A record for the destination; ``payload`` tells it from the others when it is read back by ``received``."""
        return make_record(vin, txid, record_type=record_type, payload=payload)

    def make_sink(self, context: SinkContext) -> IDispatcher:
        """Make the sink."""
        raise NotImplementedError

    async def until(self, answer: Deferred[T]) -> T:
        """Wait for a Deferred of the sink: on a reactor of the test's own, advance it."""
        return await answer

    async def a_while(self) -> None:
        """Let so much time pass that a sink that confirms too early would have."""
        raise NotImplementedError

    async def received(self, at_least: int) -> Sequence[Received]:
        """What the destination has got, in its own order, within a vehicle at least.

        :param at_least: records to wait for, for a bounded time; the caller compares.
        """
        raise NotImplementedError

    async def hold(self) -> None:
        """Have the destination confirm nothing, without refusing anything."""
        raise SkipTest("the destination cannot be held")

    async def release(self) -> None:
        """End ``hold``: what waits is confirmed."""

    async def go_away(self) -> None:
        """Have the destination be out of reach."""
        raise SkipTest("the destination cannot go away")

    async def come_back(self) -> None:
        """End ``go_away``."""


class InMemoryHarness(DispatcherHarness):
    """A harness whose sink lives on a ``ThreadlessReactor``: nothing waits, the clock is advanced."""

    def __init__(self) -> None:
        self._reactor = ThreadlessReactor()

    @property
    def reactor(self) -> ISinkReactor:
        """The clock."""
        return self._reactor

    async def until(self, answer: Deferred[T]) -> T:
        """Advance the clock until the answer is there, for two minutes of its time at most."""
        for _ in range(int(120 / STEP_S)):
            if answer.called:
                break
            self._reactor.advance(STEP_S)
        else:
            raise AssertionError("no answer within two minutes of the sink's clock")
        return await answer

    async def a_while(self) -> None:
        """Advance the clock by half a second."""
        self._reactor.pump([STEP_S] * int(0.5 / STEP_S))
