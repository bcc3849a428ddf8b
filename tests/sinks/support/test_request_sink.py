"""``RequestSink``: publishers are made, replaced and closed; probes; requests and their outcomes."""

import gc
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.adapters.sinks.support.request_errors import Missing, Unauthenticated, Unreachable
from fleetgw.adapters.sinks.support.request_sink import RequestSink
from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits
from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, NotReady, Outcome, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.support.workers import HeldWorker


class HeldPublisher:
    """Answers when told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[str], Callable[[Sequence[Outcome]], None]]] = []
        self.probes: list[str] = []
        self.closed = 0
        self.error: Unreachable | None = None

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        self.sent.append((destination, [record.payload.decode() for record in records], done))

    def fault(self, destination: str) -> Unreachable | None:
        self.probes.append(destination)
        return self.error

    def close(self) -> None:
        self.closed += 1


class ScriptedSink(RequestSink):
    """Over publishers that the test makes."""

    def __init__(
        self, context: SinkContext, make_publisher: Callable[[], HeldPublisher], worker: HeldWorker, credential_file: Path
    ) -> None:
        super().__init__(
            context,
            {"V": "one", "alerts": "two"},
            RequestLimits(
                records=5,
                size_bytes=1000,
                record_overhead_bytes=10,
                requests=2,
                payload_bytes=900,
                retries=2,
            ),
            timeout_s=10,
            metrics=PublishMetrics(context.metrics, "s", "Published.", context.record_types),
            failures=FailureLog(context.log, "s_err", context.reactor),
            make_worker=lambda _: worker,
            credential_files=[credential_file],
        )
        self._make = make_publisher
        self.answers: list[tuple[list[str], Sequence[Outcome]]] = []

    def make_publisher(self) -> HeldPublisher:
        return self._make()

    def answered(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        self.answers.append(([record.payload.decode() for record in records], outcomes))


class RequestSinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadlessReactor()
        self.log = ReadableLog()
        self.error: Unreachable | None = None
        self.made: list[HeldPublisher] = []
        self.worker = HeldWorker()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.key = Path(folder.name, "key")
        self.key.write_text("old")
        context = SinkContext("s", {}, "fleet", ("V", "alerts"), self.clock, ReadableMetrics(), self.log)
        self.sink = ScriptedSink(context, self.make_publisher, self.worker, self.key)

    def make_publisher(self) -> HeldPublisher:
        if self.error is not None:
            raise self.error
        self.made.append(HeldPublisher())
        return self.made[-1]

    def start(self) -> None:
        self.sink.start()
        self.probe()

    def probe(self) -> None:
        """Run the jobs of the thread, and take the results."""
        self.worker.work()
        self.clock.advance(0)

    def dispatch(self, text: str):
        answer = self.sink.dispatch([make_record("a", payload=text.encode())])
        self.clock.advance(0)
        return answer

    def answer(self, *outcomes: Outcome) -> None:
        _, _, done = self.made[0].sent.pop(0)
        done(outcomes)

    def failures_of(self, answer) -> list[Outcome]:
        return [outcome for outcome in self.successResultOf(answer) if outcome is not RECEIPT]

    def test_records_wait_for_the_first_probe(self) -> None:
        self.sink.start()
        answer = self.dispatch("1")
        self.probe()
        self.clock.advance(0)
        (publisher,) = self.made
        self.assertEqual(publisher.probes, ["one", "two"])
        self.assertEqual(self.sink.readiness(), Ready())
        self.assertEqual([sent[:2] for sent in publisher.sent], [("one", ["1"])])
        self.answer(RECEIPT)
        self.assertNoResult(answer)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.assertEqual(self.sink.answers, [(["1"], (RECEIPT,))])

    def test_without_a_publisher_records_are_retryable_with_the_reason(self) -> None:
        self.error = Unreachable("no credentials")
        self.start()
        answer = self.dispatch("1")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(answer), [self.error])
        self.assertEqual(self.sink.answers, [(["1"], [self.error])])
        self.assertEqual(self.sink.readiness(), NotReady("no credentials"))
        self.assertEqual(self.log.fields_of("s_err")[0]["kind"], "Unreachable")

    def test_a_later_probe_makes_a_publisher_and_keeps_it(self) -> None:
        self.error = Unreachable("no credentials")
        self.start()
        self.error = None
        self.clock.advance(0.5)
        self.probe()
        self.assertEqual(self.sink.readiness(), Ready())
        self.dispatch("1")
        self.answer(Missing("gone"))
        self.clock.advance(0)
        self.assertEqual(self.sink.readiness(), NotReady("one: gone"))
        self.clock.advance(0.5)
        self.probe()
        self.assertEqual(self.sink.readiness(), Ready())
        (publisher,) = self.made
        self.assertEqual(publisher.probes, ["one", "two"] * 2)
        events = [(event, fields.get("error")) for _, event, fields in self.log.entries if event.startswith("sink_")]
        self.assertEqual(events, [("sink_ready", None), ("sink_not_ready", "one: gone"), ("sink_ready", None)])

    def test_failures_are_logged(self) -> None:
        self.start()
        self.dispatch("1")
        self.answer(Rejected("no"))
        self.clock.advance(0)
        self.assertEqual(
            self.log.fields_of("s_err"), [{"error": "no", "kind": "Rejected", "more_unwritten": 0, "record_type": "V"}]
        )

    def test_stopping_waits_for_requests_in_flight(self) -> None:
        self.start()
        answer = self.dispatch("1")
        stopped = self.sink.stop()
        self.assertNoResult(stopped)
        self.assertEqual((self.worker.has_quit, self.made[0].closed), (False, 0))
        self.answer(RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.successResultOf(stopped)
        self.assertEqual((self.worker.has_quit, self.made[0].closed), (True, 1))

    def test_giving_up(self) -> None:
        self.start()
        answer = self.dispatch("1")
        stopped = self.sink.stop()
        stopped.cancel()
        (outcome,) = self.successResultOf(answer)
        self.assertEqual((type(outcome), str(outcome)), (Retryable, "the s sink stopped before the record was delivered"))
        self.successResultOf(stopped)
        self.assertEqual((self.worker.has_quit, self.made[0].closed), (True, 1))
        self.answer(RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_publisher_made_after_the_end_is_closed(self) -> None:
        self.sink.start()
        self.successResultOf(self.sink.stop())
        self.probe()
        (publisher,) = self.made
        self.assertEqual(publisher.closed, 1)
        self.assertEqual(self.sink.readiness(), NotReady("stopped"))

    def test_before_the_start_and_after_the_end(self) -> None:
        answers = [self.dispatch("1")]
        self.start()
        self.sink.stop()
        answers.append(self.dispatch("1"))
        for answer in answers:
            (outcome,) = self.successResultOf(answer)
            self.assertEqual((type(outcome), str(outcome)), (NotConnected, "the s sink is not running"))

    def test_another_publisher_reads_changed_files(self) -> None:
        self.start()
        answer = self.dispatch("1")
        self.assertEqual(self.sink.reload(), [])
        self.key.write_text("new one")
        self.assertEqual(self.sink.reload(), [str(self.key)])
        self.probe()
        old, new = self.made
        self.assertEqual(old.closed, 0, "it still owes an answer")
        self.answer(RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.assertEqual((old.closed, new.closed), (1, 0))
        self.dispatch("2")
        self.assertEqual([texts for _, texts, _ in new.sent], [["2"]])
        self.assertEqual(self.sink.reload(), [])

    def test_a_replaced_publisher_that_never_answers_is_closed_at_the_end(self) -> None:
        self.start()
        answer = self.dispatch("1")
        self.key.write_text("new one")
        self.sink.reload()
        self.probe()
        old, new = self.made
        self.clock.advance(10)
        self.assertEqual(len(self.failures_of(answer)), 1)
        self.assertEqual((old.closed, new.closed), (0, 0))
        self.successResultOf(self.sink.stop())
        self.assertEqual((old.closed, new.closed), (1, 1))
        self.answer(RECEIPT)
        self.clock.advance(0)
        self.assertEqual((old.closed, new.closed), (1, 1))

    def test_a_probe_that_ends_after_the_end_closes_nothing_twice(self) -> None:
        self.start()
        self.key.write_text("useless")
        self.error = Unauthenticated("no key in it")
        self.sink.reload()
        answer = self.dispatch("1")
        stopped = self.sink.stop()
        stopped.cancel()
        self.assertEqual(len(self.failures_of(answer)), 1)
        self.probe()
        self.clock.advance(60)
        (publisher,) = self.made
        self.assertEqual((publisher.closed, len(publisher.sent)), (1, 1))

    def test_records_given_up_before_the_first_probe_are_not_sent_after_it(self) -> None:
        self.sink.start()
        answer = self.dispatch("1")
        self.sink.stop().cancel()
        self.assertEqual(len(self.failures_of(answer)), 1)
        self.probe()
        self.clock.advance(60)
        self.assertEqual(self.sink.answers, [])

    def test_files_that_cannot_be_used_leave_the_old_publisher(self) -> None:
        self.start()
        self.key.write_text("useless")
        self.error = Unauthenticated("no key in it")
        self.assertEqual(self.sink.reload(), [str(self.key)])
        self.probe()
        self.assertEqual(self.sink.readiness(), Ready())
        self.assertEqual(self.log.fields_of("s_err")[-1]["error"], "no key in it")
        self.error = None
        self.assertEqual(self.sink.reload(), [str(self.key)], "it is tried again")
        self.probe()
        self.assertEqual(len(self.made), 2)

    def test_refused_credentials_are_read_again(self) -> None:
        """Within a second, without a reload; and no more often than probes are due."""
        self.start()
        for _ in range(5):
            self.dispatch("1")
            self.answer(Unauthenticated("expired"))
            self.clock.advance(0)
        self.assertIsInstance(self.sink.readiness(), NotReady)
        self.key.write_text("new one")
        self.clock.advance(1)
        self.probe()
        self.assertEqual([each.closed for each in self.made], [1, 0])
        self.assertEqual(self.log.fields_of("credentials_reloaded"), [{"dispatcher": "s", "files": [str(self.key)]}])
        self.assertEqual(self.sink.readiness(), Ready())
        self.clock.advance(60)
        self.probe()
        self.assertEqual(len(self.made), 2, "the new ones are accepted")

    def test_refused_credentials_that_have_not_changed(self) -> None:
        """They may not come from a file: another publisher is made every 30 s."""
        self.start()
        self.made[0].error = Unauthenticated("expired")
        self.dispatch("1")
        self.answer(Unauthenticated("expired"))
        for _ in range(290):
            self.clock.advance(0.1)
            self.probe()
        self.assertEqual(len(self.made), 1)
        for _ in range(30):
            self.clock.advance(0.1)
            self.probe()
        self.assertEqual(len(self.made), 2)
        self.assertEqual(self.sink.readiness(), Ready())

    def test_replaced_publishers_leave_no_reference_cycles(self) -> None:
        self.start()
        self.made.clear()
        gone = []
        gc.disable()
        self.addCleanup(gc.enable)
        for number in range(1000):
            self.key.write_text("x" * number)
            self.sink.reload()
            self.probe()
            gone.append(weakref.ref(self.made.pop()))
        self.assertEqual(sum(each() is not None for each in gone), 1)

    def test_a_service_that_comes_and_goes_is_found_again_within_a_second(self) -> None:
        """Away for 25 s, back for 8 s, five times: it is probed every second while records wait."""
        self.start()
        self.made[0].error = Unreachable("away")
        for _ in range(5):
            self.made[0].error = Unreachable("away")
            self.dispatch("1")
            self.answer(Unreachable("away"))
            for _ in range(250):
                self.clock.advance(0.1)
                self.probe()
            self.assertEqual(self.sink.readiness(), NotReady("away"))
            self.made[0].error = None
            for _ in range(11):
                self.clock.advance(0.1)
                self.probe()
            self.assertEqual(self.sink.readiness(), Ready())
            for _ in range(69):
                self.clock.advance(0.1)
                self.probe()
