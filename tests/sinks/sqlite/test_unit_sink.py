"""The ``sqlite`` sink: group commit, timeouts, probes, retention."""

import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.sqlite.sink import COMMIT_BYTES, LINGER_S, SqliteSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import ConfigurationError, NotConnected, Retryable
from fleetgw.domain.ports import RECEIPT, NotReady, Ready
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor
from tests.support.sqlite_crash import numbered_record, recorded


class ImpatientConnection(apsw.Connection):
    """Does not wait for locks."""

    def set_busy_timeout(self, milliseconds: int) -> None:
        """Ignore it."""


class ManualWorker:
    """A ``Worker`` that runs its jobs when a test says so."""

    def __init__(self) -> None:
        self.jobs: deque[Callable[[], None]] = deque()

    def do(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def quit(self) -> None:
        pass


class SinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "r.sqlite3"
        self.reactor, self.metrics, self.log = ThreadlessReactor(), ReadableMetrics(), ReadableLog()
        self.worker = ManualWorker()
        self.sink = self.make_sink(path=str(self.path))
        self.sink.start()

    def make_sink(self, **settings: object) -> SqliteSink:
        context = SinkContext("sqlite", settings, "n", ("V",), self.reactor, self.metrics, self.log)
        return SqliteSink(context, lambda _name: self.worker)

    def work(self) -> None:
        """Run every job, and the jobs that follow from it."""
        while self.worker.jobs:
            self.worker.jobs.popleft()()
            self.reactor.pump([0, LINGER_S])

    def dispatch(self, *numbers: int) -> object:
        return self.sink.dispatch([numbered_record(number) for number in numbers])

    def test_batches_that_wait_share_a_commit(self) -> None:
        self.work()
        first, *others = [self.dispatch(2 * number, 2 * number + 1) for number in range(10)]
        self.assertEqual(len(self.worker.jobs), 1)
        self.worker.jobs.popleft()()
        self.reactor.advance(0)
        self.assertEqual(self.successResultOf(first), [RECEIPT] * 2)
        for other in others:
            self.assertNoResult(other)
        self.assertFalse(self.worker.jobs, "the sink lingers for the next records of the vehicles")
        others.append(self.dispatch(20))
        self.reactor.advance(LINGER_S)
        self.worker.jobs.popleft()()
        self.reactor.advance(0)
        for other in others:
            self.assertEqual({*self.successResultOf(other)}, {RECEIPT})
        self.assertEqual(list(recorded(self.path)), list(range(21)))
        self.assertEqual(self.metrics.value("sqlite_publish_total", "V"), 21)

    def test_the_size_of_a_commit_is_bounded(self) -> None:
        self.work()
        answers = []
        for number in range(5):
            record = numbered_record(number)
            record.cost_bytes = COMMIT_BYTES // 2
            answers.append(self.sink.dispatch([record]))
        committed = []
        while self.worker.jobs:
            self.worker.jobs.popleft()()
            self.reactor.pump([0, LINGER_S])
            committed.append(sum(answer.called for answer in answers))
        self.assertEqual(committed, [1, 3, 5])
        self.assertEqual(list(recorded(self.path)), list(range(5)))

    def test_a_file_that_works_again_is_found_within_a_second(self) -> None:
        """Away 25 s, back for 8 s, five times: records are committed each time it is back."""
        self.sink._store.connect = ImpatientConnection
        self.work()
        for number in range(5):
            with closing(apsw.Connection(str(self.path))) as other:
                self.sink._store.given_up = lambda: True  # does not wait for the lock
                other.execute("BEGIN IMMEDIATE")
                answer = self.dispatch(number)
                for _ in range(250):
                    self.work()
                    self.reactor.advance(0.1)
                self.assertIsInstance(self.successResultOf(answer)[0], Retryable)
                self.assertIsInstance(self.sink.readiness(), NotReady)
            for _ in range(11):
                self.work()
                self.reactor.advance(0.1)
            self.assertEqual(self.sink.readiness(), Ready())
            answer = self.dispatch(number)
            for _ in range(69):
                self.work()
                self.reactor.advance(0.1)
            self.assertEqual(self.successResultOf(answer), [RECEIPT])

    def test_a_thread_that_hangs(self) -> None:
        """Every dispatch is answered in time; a write under way may still succeed."""
        self.work()
        taken, waiting = self.dispatch(0), self.dispatch(1)
        self.reactor.advance(29)
        self.assertNoResult(taken)
        self.reactor.advance(1)
        for answer in (taken, waiting):
            (outcome,) = self.successResultOf(answer)
            self.assertIs(type(outcome), Retryable)
            self.assertIn("nothing was committed within 30 s", str(outcome))
        self.assertIsInstance(self.sink.readiness(), NotReady)
        self.work()
        self.assertEqual(recorded(self.path).keys(), {0})
        again = self.dispatch(0, 1)
        self.work()
        self.assertEqual(self.successResultOf(again), [RECEIPT] * 2)
        self.assertEqual(self.sink.readiness(), Ready())
        self.assertEqual(recorded(self.path).keys(), {0, 1}, "once each")

    def test_probes_find_a_file_that_is_back(self) -> None:
        self.work()
        self.folder.rename(self.folder.with_name("away of " + self.folder.name))
        answer = self.dispatch(0)
        self.work()
        self.assertIs(type(self.successResultOf(answer)[0]), NotConnected)
        self.assertIn(str(self.path), self.sink.readiness().reason)
        self.folder.with_name("away of " + self.folder.name).rename(self.folder)
        self.reactor.advance(20)
        self.work()
        self.assertEqual(self.sink.readiness(), Ready())

    def test_an_error_is_logged_once_in_ten_seconds(self) -> None:
        self.path.write_bytes(b"no database" * 100)
        for number in range(5):
            self.dispatch(number)
            self.work()
        (entry,) = self.log.fields_of("sqlite_err")
        self.assertEqual(entry["kind"], "SQLITE_NOTADB")
        self.assertEqual(self.metrics.value("sqlite_err", "V"), 5)

    def test_latest_is_updated_when_no_more_records_come(self) -> None:
        for number in range(3):
            self.dispatch(number)
            self.work()
        self.reactor.advance(1)
        self.work()
        connection = apsw.Connection(str(self.path))
        self.addCleanup(connection.close)
        latest = connection.execute("SELECT max(value) FROM latest WHERE field = 'Odometer'").fetchone()
        self.assertEqual(latest, (2,))

    def test_retention_takes_turns_with_commits(self) -> None:
        self.worker.jobs.clear()
        self.sink = self.make_sink(path=str(self.path), retention_days=1)  # the records are years old
        self.sink.start()
        self.work()
        for number in range(3000):
            self.dispatch(number)
        self.work()
        self.assertEqual(len(recorded(self.path)), 3000)
        self.reactor.advance(60)
        answer = self.dispatch(3000)
        self.work()
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.assertEqual(recorded(self.path).keys(), {3000}, "the newest stays")

    def test_wrong_settings(self) -> None:
        for key, value in (
            ("path", 1),
            ("retention_days", -1),
            ("max_size_mb", "10"),
            ("synchronous", "off"),
            ("write_timeout_s", True),
        ):
            with self.subTest(key=key, value=value), self.assertRaisesRegex(ConfigurationError, f"sqlite.{key}"):
                self.make_sink(**{key: value})

    def test_works_without_a_section(self) -> None:
        for settings in ({}, {"path": ""}):  # an empty path counts as left out
            self.make_sink(**settings).start()
            self.assertEqual(self.log.fields_of("sqlite_registered")[-1]["path"], "fleetgw.sqlite3")
