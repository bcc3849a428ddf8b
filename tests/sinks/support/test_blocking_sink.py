"""``LifecycleSink`` and ``BlockingSink``: the contract over a sink of a few lines, and cases outside the contract."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from fleetgw.adapters.sinks.support.blocking_sink import BlockingSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.domain.errors import ConfigurationError, NotConnected, Problem, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, NotReady, Outcome, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record


class Shelf(BlockingSink):
    """Puts records in a list."""

    def __init__(self, context: SinkContext) -> None:
        timeout_s: Any = context.settings.get("timeout_s", 30.0)
        metrics = PublishMetrics(context.metrics, "shelf", "Records on the shelf.", context.record_types)
        super().__init__(context, timeout_s=timeout_s, metrics=metrics)
        self.writes: list[list[Record]] = []
        self.error: Exception | None = None

    def write(self, records: Sequence[Record]) -> Sequence[Outcome] | None:
        if self.error is not None:
            raise self.error
        self.writes.append([record for record in records if record.payload != b"bad"])
        if len(self.writes[-1]) == len(records):
            return None
        return [Rejected("bad") if record.payload == b"bad" else RECEIPT for record in records]


class SlowThreads(ThreadlessReactor):
    """Runs the calls for a thread at once, or when ``release`` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.holds = False
        self.held: list[Callable[[], object]] = []

    def callInThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:  # noqa: A002
        if self.holds:
            self.held.append(lambda: callable(*args, **kwargs))
        else:
            callable(*args, **kwargs)

    def release(self) -> None:
        self.holds = False
        held, self.held = self.held, []
        for call in held:
            call()


class ShelfHarness(InMemoryHarness):
    confirmed_metric = "shelf_publish_total"
    refused_metric = "shelf_err"
    refused_labels = ("V",)
    refused_payload = b"bad"

    def __init__(self) -> None:
        self._reactor = self.threads = SlowThreads()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {"timeout_s": timeout_s}

    def make_sink(self, context: SinkContext) -> Shelf:
        self.sink = Shelf(context)
        self.sink.error = self.error
        return self.sink

    error: Exception | None = None

    async def received(self, at_least: int) -> Sequence[Received]:
        return [Received(record.vin, record.payload) for records in self.sink.writes for record in records]

    async def hold(self) -> None:
        self.threads.holds = True

    async def release(self) -> None:
        self.threads.release()

    async def go_away(self) -> None:
        self.error = OSError(5, "gone away")
        if hasattr(self, "sink"):
            self.sink.error = self.error

    async def come_back(self) -> None:
        self.sink.error = None


class BlockingSinkContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> ShelfHarness:
        return ShelfHarness()


class BlockingSinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor, self.log, self.metrics = SlowThreads(), ReadableLog(), ReadableMetrics()
        self.sink = Shelf(SinkContext("shelf", {}, "ns", ("V",), self.reactor, self.metrics, self.log))
        self.successResultOf(self.sink.start())

    def test_records_that_come_during_a_write_are_written_together(self) -> None:
        self.reactor.holds = True
        answers = [self.sink.dispatch([make_record(txid=str(number))]) for number in range(3)]
        self.reactor.release()
        self.reactor.pump([0, 0, 0])
        self.assertEqual([self.successResultOf(answer) for answer in answers], [[RECEIPT]] * 3)
        self.assertEqual([[record.txid for record in records] for records in self.sink.writes], [[b"0"], [b"1", b"2"]])

    def test_an_answer_after_the_timeout_changes_nothing(self) -> None:
        self.reactor.holds = True
        answers = [self.sink.dispatch([make_record(txid=str(number))]) for number in range(2)]
        self.reactor.advance(30)
        self.assertEqual([type(self.successResultOf(answer)[0]) for answer in answers], [NotConnected] * 2)
        self.reactor.release()
        self.reactor.pump([0, 0])
        self.assertEqual([[record.txid for record in records] for records in self.sink.writes], [[b"0"]])
        self.assertEqual((self.metrics.value("shelf_publish_total", "V"), self.metrics.value("shelf_err", "V")), (0, 2))

    def test_unanswered_while_others_were_confirmed(self) -> None:
        self.sink.dispatch([make_record()])
        self.reactor.advance(0)
        self.reactor.advance(10)
        self.reactor.holds = True
        late = self.sink.dispatch([make_record()])
        self.reactor.advance(20)
        self.sink.destination.confirmed()
        self.reactor.advance(10)
        (outcome,) = self.successResultOf(late)
        self.assertEqual((type(outcome), str(outcome)), (Retryable, "no answer within 30 s, while others were confirmed"))

    def test_each_change_of_readiness_is_logged_once(self) -> None:
        ready = {"dispatcher": "shelf"}
        self.assertEqual(self.log.entries, [("info", "sink_ready", ready)])
        self.sink.error = OSError(28, "No space left")
        for _ in range(2):
            self.sink.dispatch([make_record()])
            self.reactor.advance(0)
        reason = "OSError: [Errno 28] No space left"
        self.assertEqual(self.sink.readiness(), NotReady(reason))
        self.assertEqual(self.log.entries[1:], [("warn", "sink_not_ready", ready | {"error": reason})])
        self.sink.error = None
        self.sink.dispatch([make_record()])
        self.reactor.advance(0)
        self.assertEqual(self.sink.readiness(), Ready())
        self.assertEqual(self.log.entries[2:], [("info", "sink_ready", ready)])
        self.successResultOf(self.sink.stop())
        self.assertEqual(len(self.log.entries), 3)

    def test_a_destination_that_comes_and_goes_does_not_flood_the_log(self) -> None:
        for _ in range(100):
            self.sink.destination.not_ready("away")
            self.sink.destination.ready()
        self.assertEqual(len(self.log.entries), 10)
        self.reactor.advance(10)
        self.sink.destination.not_ready("away")
        self.assertEqual(self.log.entries[-1][2]["more_unwritten"], 95)

    def test_a_stopped_sink_stays_not_ready(self) -> None:
        self.successResultOf(self.sink.stop())
        self.sink.destination.ready()
        self.assertEqual(self.sink.readiness(), NotReady("stopped"))

    def test_a_wrong_number_of_outcomes_is_no_confirmation(self) -> None:
        self.sink.write = lambda _records: []  # type: ignore[method-assign]  # a mistake of a subclass
        answer = self.sink.dispatch([make_record()])
        self.reactor.advance(0)
        self.assertIsInstance(self.successResultOf(answer)[0], NotConnected)

    def test_configuration_that_cannot_work_fails_the_start(self) -> None:
        class Misconfigured(Shelf):
            def open(self) -> None:
                raise ConfigurationError([Problem("shelf", "is wrong", "mend it")])

        sink = Misconfigured(SinkContext("shelf", {}, "ns", ("V",), self.reactor, self.metrics, self.log))
        self.failureResultOf(sink.start(), ConfigurationError)
        self.assertIsInstance(self.successResultOf(sink.dispatch([make_record()]))[0], NotConnected)
