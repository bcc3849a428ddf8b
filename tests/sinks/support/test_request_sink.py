"""A sink's life with its service: the publisher is made, kept and closed; a watcher looks; requests fare as they may."""

import gc
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.destination_watch import Missing, Unauthenticated, Unreachable
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.numbers import PublishNumbers
from fleetgw.adapters.sinks.support.request_sink import ServiceDelivery
from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import RECEIPT, NotReady, Outcome, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record


class HeldWorker:
    """Does its jobs when told to."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.has_quit = False

    def do(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def quit(self) -> None:
        self.has_quit = True


class HeldPublisher:
    """Answers when told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[str], Callable[[Sequence[Outcome]], None]]] = []
        self.looks: list[str] = []
        self.closed = 0
        self.trouble: Unreachable | None = None

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        self.sent.append((destination, [record.payload.decode() for record in records], done))

    def fault(self, destination: str) -> Unreachable | None:
        self.looks.append(destination)
        return self.trouble

    def close(self) -> None:
        self.closed += 1


class ServiceDeliveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadlessReactor()
        self.log = ReadableLog()
        metrics = ReadableMetrics()
        self.trouble: Unreachable | None = None
        self.made: list[HeldPublisher] = []
        self.answers: list[tuple[list[str], Sequence[Outcome]]] = []
        self.worker = HeldWorker()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.key = Path(folder.name, "key")
        self.key.write_text("old")
        self.delivery = ServiceDelivery(
            SinkContext("s", {}, "fleet", ("V", "alerts"), self.clock, metrics, self.log),
            "Service",
            self.make_publisher,
            {"V": "one", "alerts": "two"},
            RequestLimits(
                records=5,
                size_bytes=1000,
                record_overhead_bytes=10,
                requests=2,
                payload_bytes=900,
                retries=2,
                timeout_s=10,
            ),
            numbers=PublishNumbers(metrics, "s", "Published.", ("V", "alerts")),
            failures=FailureLog(self.log, "s_err", self.clock),
            credential_files=[self.key],
            answered=lambda records, outcomes: self.answers.append(([each.payload.decode() for each in records], outcomes)),
        )

    def make_publisher(self) -> HeldPublisher:
        if self.trouble is not None:
            raise self.trouble
        self.made.append(HeldPublisher())
        return self.made[-1]

    def start(self) -> None:
        self.delivery.start(self.worker)
        self.look()

    def look(self) -> None:
        """Do what the watcher has to do, and take what it has found."""
        jobs, self.worker.jobs = self.worker.jobs, []
        for job in jobs:
            job()
        self.clock.advance(0)

    def dispatch(self, text: str):
        answer = self.delivery.dispatch([make_record("a", payload=text.encode())])
        self.clock.advance(0)
        return answer

    def answer(self, *outcomes: Outcome) -> None:
        _, _, done = self.made[0].sent.pop(0)
        done(outcomes)

    def test_records_wait_for_the_first_look(self) -> None:
        self.delivery.start(self.worker)
        answer = self.dispatch("1")
        self.look()
        self.clock.advance(0)
        (publisher,) = self.made
        self.assertEqual(publisher.looks, ["one", "two"])
        self.assertEqual(self.delivery.readiness(), Ready())
        self.assertEqual([sent[:2] for sent in publisher.sent], [("one", ["1"])])
        self.answer(RECEIPT)
        self.assertNoResult(answer)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.assertEqual(self.answers, [(["1"], (RECEIPT,))])

    def test_without_a_publisher_records_come_back_with_the_reason(self) -> None:
        self.trouble = Unreachable("no credentials")
        self.start()
        answer = self.dispatch("1")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(answer), [self.trouble])
        self.assertEqual(self.answers, [(["1"], [self.trouble])])
        self.assertEqual(self.delivery.readiness(), NotReady("no credentials"))

    def test_a_publisher_is_made_by_a_later_look_and_kept(self) -> None:
        self.trouble = Unreachable("no credentials")
        self.start()
        self.trouble = None
        self.clock.advance(0.5)
        self.look()
        self.assertEqual(self.delivery.readiness(), Ready())
        self.dispatch("1")
        self.answer(Missing("gone"))
        self.clock.advance(0)
        self.assertEqual(self.delivery.readiness(), NotReady("one: gone"))
        self.clock.advance(0.5)
        self.look()
        self.assertEqual(self.delivery.readiness(), Ready())
        (publisher,) = self.made
        self.assertEqual(publisher.looks, ["one", "two"] * 2)

    def test_stopping_waits_for_what_is_under_way(self) -> None:
        self.start()
        answer = self.dispatch("1")
        stopped = self.delivery.stop()
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
        stopped = self.delivery.stop()
        stopped.cancel()
        (outcome,) = self.successResultOf(answer)
        self.assertEqual((type(outcome), str(outcome)), (Retryable, "the sink stopped before Service answered"))
        self.successResultOf(stopped)
        self.assertEqual((self.worker.has_quit, self.made[0].closed), (True, 1))
        self.answer(RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_publisher_that_comes_after_the_end_is_closed(self) -> None:
        self.delivery.start(self.worker)
        self.successResultOf(self.delivery.stop())
        self.look()
        (publisher,) = self.made
        self.assertEqual(publisher.closed, 1)
        self.assertEqual(self.delivery.readiness(), NotReady("stopped"))

    def test_before_the_start_and_after_the_end(self) -> None:
        answers = [self.dispatch("1")]
        self.start()
        self.delivery.stop()
        answers.append(self.dispatch("1"))
        for answer in answers:
            (outcome,) = self.successResultOf(answer)
            self.assertEqual((type(outcome), str(outcome)), (NotConnected, "the Service sink is not running"))

    def test_files_that_change_are_read_by_another_publisher(self) -> None:
        self.start()
        answer = self.dispatch("1")
        self.assertEqual(self.delivery.reload(), [])
        self.key.write_text("new one")
        self.assertEqual(self.delivery.reload(), [str(self.key)])
        self.look()
        old, new = self.made
        self.assertEqual(old.closed, 0, "it still owes an answer")
        self.answer(RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.assertEqual((old.closed, new.closed), (1, 0))
        self.dispatch("2")
        self.assertEqual([texts for _, texts, _ in new.sent], [["2"]])
        self.assertEqual(self.delivery.reload(), [])

    def test_files_that_cannot_be_used_leave_the_old_publisher(self) -> None:
        self.start()
        self.key.write_text("useless")
        self.trouble = Unauthenticated("no key in it")
        self.assertEqual(self.delivery.reload(), [str(self.key)])
        self.look()
        self.assertEqual(self.delivery.readiness(), Ready())
        self.assertEqual(self.log.fields_of("s_err")[-1]["error"], "no key in it")
        self.trouble = None
        self.assertEqual(self.delivery.reload(), [str(self.key)], "it is tried again")
        self.look()
        self.assertEqual(len(self.made), 2)

    def test_credentials_that_are_refused_are_read_again(self) -> None:
        """By themselves within a second, not once in a minute; and no more often than looks are due."""
        self.start()
        for _ in range(5):
            self.dispatch("1")
            self.answer(Unauthenticated("expired"))
            self.clock.advance(0)
        self.assertIsInstance(self.delivery.readiness(), NotReady)
        self.key.write_text("new one")
        self.clock.advance(1)
        self.look()
        self.assertEqual([each.closed for each in self.made], [1, 0])
        self.assertEqual(self.log.fields_of("credentials_reloaded"), [{"dispatcher": "s", "files": [str(self.key)]}])
        self.assertEqual(self.delivery.readiness(), Ready())
        self.clock.advance(60)
        self.look()
        self.assertEqual(len(self.made), 2, "these are in order")

    def test_credentials_that_are_refused_and_have_not_changed(self) -> None:
        """They may not be of a file: another publisher is made, but seldom."""
        self.start()
        self.made[0].trouble = Unauthenticated("expired")
        self.dispatch("1")
        self.answer(Unauthenticated("expired"))
        for _ in range(290):
            self.clock.advance(0.1)
            self.look()
        self.assertEqual(len(self.made), 1)
        for _ in range(30):
            self.clock.advance(0.1)
            self.look()
        self.assertEqual(len(self.made), 2)
        self.assertEqual(self.delivery.readiness(), Ready())

    def test_publishers_made_anew_leave_nothing(self) -> None:
        """Without the collector, which hardly runs."""
        self.start()
        self.made.clear()
        gone = []
        gc.disable()
        self.addCleanup(gc.enable)
        for number in range(1000):
            self.key.write_text("x" * number)
            self.delivery.reload()
            self.look()
            gone.append(weakref.ref(self.made.pop()))
        self.assertEqual(sum(each() is not None for each in gone), 1)

    def test_a_service_that_comes_and_goes_is_found_again_within_a_second(self) -> None:
        """Away 25 s, there 8 s, five times: it is looked for every second while records wait."""
        self.start()
        self.made[0].trouble = Unreachable("away")
        for _ in range(5):
            self.made[0].trouble = Unreachable("away")
            self.dispatch("1")
            self.answer(Unreachable("away"))
            for _ in range(250):
                self.clock.advance(0.1)
                self.look()
            self.assertEqual(self.delivery.readiness(), NotReady("away"))
            self.made[0].trouble = None
            for _ in range(11):
                self.clock.advance(0.1)
                self.look()
            self.assertEqual(self.delivery.readiness(), Ready())
            for _ in range(69):
                self.clock.advance(0.1)
                self.look()
