"""The frame of contract tests: each clause runs over a fresh harness, and over sinks that are made from it."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred

from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import Rejected
from fleetgw.domain.ports import NotReady, Receipt
from fleetgw.testing.dispatcher_harness import Received
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Self
    from unittest import TestCase

    from fleetgw.domain.ports import IDispatcher, Outcome
    from fleetgw.domain.records import Record
    from fleetgw.testing.dispatcher_harness import DispatcherHarness
else:
    TestCase = object  # a mixin: the contract alone is no test

C = TypeVar("C", bound="ContractCase")

LONG_S = 60.0
SHORT_S = 1.5
VINS = ("5YJ3E1EA7KF000001", "7SAYGDEE1PA123456", "LRW3E7EK4NC000003")


def holds(*clauses: str) -> Callable[[Callable[[C], Awaitable[None]]], Callable[[C], Deferred[None]]]:
    """Make a test that Trial and pytest wait for; an ``async def`` test may pass without having run.

    :param clauses: numbers of the clauses of docs/component-specification.md that the test checks.
    """

    def as_test(check: Callable[[C], Awaitable[None]]) -> Callable[[C], Deferred[None]]:
        @wraps(check)
        def test(case: C) -> Deferred[None]:
            return Deferred.fromCoroutine(case.conclude(check))

        test.clauses = clauses  # type: ignore[attr-defined]  # a function's own attribute, as unittest's decorators set
        return test

    return as_test


class ContractCase(TestCase):
    """The needs of clauses. Mix into a ``twisted.trial.unittest.TestCase`` and give ``make_harness``."""

    timeout = 300  # seconds for each test, read by Trial

    harness: DispatcherHarness
    metrics: ReadableMetrics
    log: ReadableLog

    def make_harness(self) -> DispatcherHarness:
        """A fresh harness for one test."""
        raise NotImplementedError

    async def conclude(self, check: Callable[[Self], Awaitable[None]]) -> None:
        """Run one clause between the harness's ``set_up`` and ``tear_down``, and stop a sink that it left running."""
        self.harness = self.make_harness()
        self.metrics, self.log = ReadableMetrics(), ReadableLog()
        self._running: IDispatcher | None = None
        await self.harness.set_up()
        try:
            await check(self)
        finally:
            try:
                await self.harness.release()
                if self._running is not None:
                    await self._stop(self._running)
            finally:
                await self.harness.tear_down()

    def _make(
        self, *, timeout_s: float = LONG_S, bounded: bool = False, record_types: tuple[str, ...] | None = None
    ) -> IDispatcher:
        harness = self.harness
        return harness.make_sink(
            SinkContext(
                name="under_test",
                settings=harness.settings(timeout_s=timeout_s, bounded=bounded),
                namespace=harness.namespace,
                record_types=harness.record_types if record_types is None else record_types,
                reactor=harness.reactor,
                metrics=self.metrics,
                log=self.log,
            )
        )

    async def _started(self, *, timeout_s: float = LONG_S, bounded: bool = False) -> IDispatcher:
        sink = self._make(timeout_s=timeout_s, bounded=bounded)
        await self.harness.until(sink.start())
        self._running = sink
        return sink

    async def _stop(self, sink: IDispatcher) -> None:
        self._running = None
        await self.harness.until(sink.stop())

    def _records(self, count: int, *, start: int = 0, vins: Sequence[str] = VINS) -> list[Record]:
        """Records with distinct payloads, from several vehicles in turn."""
        return [
            self.harness.make_record(
                vins[number % len(vins)],
                f"tx-{number}",
                record_type=self.harness.record_types[0],
                payload=b"payload %d" % number,
            )
            for number in range(start, start + count)
        ]

    async def _outcomes(self, sink: IDispatcher, batch: Sequence[Record]) -> list[type[Outcome]]:
        outcomes = await self.harness.until(sink.dispatch(batch))
        self.assertEqual(len(outcomes), len(batch), "one outcome per record")
        return kinds(outcomes)

    async def _delivered(self, sink: IDispatcher, batch: Sequence[Record]) -> None:
        """Dispatch, and retry where the sink asks for it, until everything is confirmed."""
        left = list(batch)
        for _ in range(1000):
            outcomes = await self.harness.until(sink.dispatch(left))
            self.assertNotIn(Rejected, kinds(outcomes))
            left = [record for record, outcome in zip(left, outcomes, strict=True) if not isinstance(outcome, Receipt)]
            if not left:
                return
            await self.harness.a_while()
        self.fail(f"not delivered: {outcomes}")

    def _assert_not_ready(self, sink: IDispatcher) -> None:
        readiness = sink.readiness()
        self.assertTrue(
            isinstance(readiness, NotReady) and readiness.reason, f"{readiness}: must be not ready, with a reason"
        )

    async def _assert_received(self, records: Sequence[Record]) -> None:
        """The destination has each vehicle's records, in the order dispatched."""
        received = await self.harness.received(len(records))
        self.assertEqual(by_vehicle(received), by_vehicle([Received(record.vin, record.payload) for record in records]))

    def _readiness_events(self) -> list[tuple[str, object]]:
        """The events of readiness that the sink has logged: the name, and the reason or None."""
        return [
            (event, fields.get("error"))
            for _, event, fields in self.log.entries
            if event in ("sink_ready", "sink_not_ready") and fields["dispatcher"] == "under_test"
        ]

    def _refused_payload(self) -> bytes:
        payload = self.harness.refused_payload
        if payload is None:
            self.skipTest("the destination takes anything")
        return payload

    def _bound(self) -> int:
        bound = self.harness.bound
        if bound is None:
            self.skipTest("the sink has no bound of its own")
        return bound


def kinds(outcomes: Sequence[Outcome]) -> list[type[Outcome]]:
    """The class of each outcome."""
    return [type(outcome) for outcome in outcomes]


def by_vehicle(received: Sequence[Received]) -> dict[str, list[bytes]]:
    """Payloads of each vehicle, in order."""
    payloads: dict[str, list[bytes]] = {}
    for record in received:
        payloads.setdefault(record.vin, []).append(record.payload)
    return payloads
