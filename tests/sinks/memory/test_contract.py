"""The ``memory`` sink keeps the contract, and simulates faults on request."""

from collections.abc import Mapping, Sequence
from unittest import TestCase as StdlibTestCase

from twisted.trial.unittest import SynchronousTestCase, TestCase

from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import ConfigurationError, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, IDispatcher
from fleetgw.domain.records import Record
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record


class MemorySinkHarness(InMemoryHarness):
    confirmed_metric = "memory_publish_total"
    refused_metric = "memory_err"
    refused_payload = b"no good"
    bound = 8

    sink: MemorySink | None = None
    away = False

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {"timeout_s": round(timeout_s), "capacity": self.bound if bounded else 1000}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        self.sink = MemorySink(context)
        self.sink.verdict = self.verdict
        if self.away:
            self.sink.go_away()
        return self.sink

    def verdict(self, record: Record) -> Rejected | None:
        return Rejected("told so") if record.payload == self.refused_payload else None

    async def received(self, at_least: int) -> Sequence[Received]:
        return [Received(record.vin, record.payload) for record in self.sink.received]

    async def hold(self) -> None:
        self.sink.hold()

    async def release(self) -> None:
        self.sink.release()

    async def go_away(self) -> None:
        self.away = True
        if self.sink is not None:
            self.sink.go_away()

    async def come_back(self) -> None:
        self.sink.come_back()


class MemorySinkContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> MemorySinkHarness:
        return MemorySinkHarness()


def context(**settings: object) -> SinkContext:
    return SinkContext("memory", settings, "ns", ("V",), ThreadlessReactor(), ReadableMetrics(), ReadableLog())


class MemorySinkTests(SynchronousTestCase):
    def test_keeps_the_latest_records_only(self) -> None:
        sink = MemorySink(context(capacity=2))
        self.successResultOf(sink.start())
        records = [make_record(txid=f"tx-{number}") for number in range(3)]
        self.assertEqual(self.successResultOf(sink.dispatch(records)), [RECEIPT] * 3)
        self.assertEqual(list(sink.received), records[1:])

    def test_holds_records_no_longer_than_its_timeout(self) -> None:
        made = context(timeout_s=5)
        sink = MemorySink(made)
        self.successResultOf(sink.start())
        sink.hold()
        answer = sink.dispatch([make_record()])
        made.reactor.advance(4.9)
        self.assertNoResult(answer)
        made.reactor.advance(0.1)
        (outcome,) = self.successResultOf(answer)
        self.assertIsInstance(outcome, Retryable)
        sink.release()
        self.assertEqual(list(sink.received), [])

    def test_held_records_fail_when_it_goes_away(self) -> None:
        sink = MemorySink(context())
        self.successResultOf(sink.start())
        sink.hold()
        answer = sink.dispatch([make_record()])
        sink.go_away("the cable was cut")
        (outcome,) = self.successResultOf(answer)
        self.assertEqual(str(outcome), "the cable was cut")


class MemorySinkSettingsTests(StdlibTestCase):
    def test_settings_that_are_not_counts_are_refused(self) -> None:
        for key in ("capacity", "timeout_s"):
            MemorySink(context(**{key: None}))  # which the configuration takes for left out
            for value in (0, -1, "many", True):
                with self.subTest(key=key, value=value), self.assertRaisesRegex(ConfigurationError, f"memory.{key}"):
                    MemorySink(context(**{key: value}))
