"""The sink and the destination of a test of ``DispatcherContract``."""

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
    """One record at the destination."""

    vin: str
    payload: bytes


class DispatcherHarness:
    """One sink and its destination, for one test.

    Subclass it. Leave out what the destination cannot do: clauses that need it are skipped.

    :cvar record_types: types that the destination has a place for; at least one.
    :cvar namespace: namespace of the sink's context.
    :cvar unsendable_type: a record type that is not routed to the sink; None for a sink that takes any type.
    :cvar confirmed_metric: counter of confirmed records, by record type; None for a sink without one.
    :cvar refused_metric: counter of records that were not taken; None for a sink without one.
    :cvar refused_labels: values of that counter's labels for a record of the first type.
    :cvar refused_payload: a payload that the destination rejects; None for one that takes any.
    :cvar bound: most unconfirmed records that a sink with ``bounded`` settings takes; None without such a bound.
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
        """The sink's reactor: the real one, or one that ``until`` advances."""
        raise NotImplementedError

    async def set_up(self) -> None:
        """Make the destination ready, without records of another test."""

    async def tear_down(self) -> None:
        """Release everything; the sink has stopped."""

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        """The sink's settings.

        :param timeout_s: longest wait of a record for its confirmation, in seconds.
        :param bounded: leave room for ``bound`` unconfirmed records only.
        """
        raise NotImplementedError

    def make_record(self, vin: str, txid: str = "tx-1", *, record_type: str = "V", payload: bytes = b"payload") -> Record:
        """A record for the destination; ``received`` has its ``payload``."""
        return make_record(vin, txid, record_type=record_type, payload=payload)

    def make_sink(self, context: SinkContext) -> IDispatcher:
        """Make the sink."""
        raise NotImplementedError

    async def until(self, answer: Deferred[T]) -> T:
        """Wait for a Deferred of the sink; a test with a reactor of its own advances it."""
        return await answer

    async def a_while(self) -> None:
        """Let enough time pass for a sink that confirms too early to do so."""
        raise NotImplementedError

    async def received(self, at_least: int) -> Sequence[Received]:
        """The records at the destination, in order of arrival, or at least in order within each vehicle.

        :param at_least: number of records to wait for, for a bounded time; the caller compares.
        """
        raise NotImplementedError

    async def hold(self) -> None:
        """Make the destination confirm nothing, without refusing anything."""
        raise SkipTest("the destination cannot be held")

    async def release(self) -> None:
        """End ``hold``: waiting records are confirmed."""

    async def go_away(self) -> None:
        """Make the destination unreachable."""
        raise SkipTest("the destination cannot go away")

    async def come_back(self) -> None:
        """End ``go_away``."""


class InMemoryHarness(DispatcherHarness):
    """A harness whose sink runs on a ``ThreadlessReactor``: the clock is advanced, and no time passes."""

    def __init__(self) -> None:
        self._reactor = ThreadlessReactor()

    @property
    def reactor(self) -> ISinkReactor:
        """The clock."""
        return self._reactor

    async def until(self, answer: Deferred[T]) -> T:
        """Advance the clock until the Deferred has fired, by two minutes at most."""
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
