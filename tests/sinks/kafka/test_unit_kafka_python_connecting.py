"""The kafka-python sink, and brokers that refuse its client."""

import logging
import threading
from collections.abc import Callable
from unittest import TestCase

from fleetgw.adapters.sinks.kafka.connection_failures import ConnectionFailures
from fleetgw.adapters.sinks.kafka.kafka_library import (
    KafkaConnectionError,
    KafkaTimeoutError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
)
from fleetgw.adapters.sinks.kafka.kafka_python import PROBE_INTERVAL_S, KafkaPythonSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import NotReady
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.sinks.kafka.test_unit_credentials import FakeProducer

LIBRARY = logging.getLogger("kafka.net.manager")
REFUSED = SaslAuthenticationFailedError("Invalid username or password")


def log_failures(*errors: Exception) -> None:
    """As the library logs them."""
    for error in errors:
        LIBRARY.warning("Bootstrap connection to %s failed: %s (backoff %.2f secs)", "bootstrap-0", error, 0.1)


class FailuresTests(TestCase):
    def setUp(self) -> None:
        quiet = logging.NullHandler()
        logging.getLogger("kafka").addHandler(quiet)
        self.addCleanup(logging.getLogger("kafka").removeHandler, quiet)
        self.refusals: list[str] = []
        self.failures = ConnectionFailures(self.refusals.append)
        self.addCleanup(self.failures.unfollow)

    def test_the_most_informative_failure_is_kept(self) -> None:
        with self.failures:
            log_failures(KafkaConnectionError("socket disconnected"), REFUSED, KafkaConnectionError("socket disconnected"))
            log_failures(RequestTimedOutError("after 180 ms"), KafkaTimeoutError("Unable to bootstrap"))
        self.assertIn("Invalid username or password", self.failures.reason)

    def test_a_lost_connection_is_kept_when_nothing_better_is_logged(self) -> None:
        with self.failures:
            log_failures(KafkaConnectionError("socket disconnected"), KafkaTimeoutError("Unable to bootstrap"))
        self.assertIn("socket disconnected", self.failures.reason)

    def test_lines_of_other_threads_and_clients_are_ignored(self) -> None:
        log_failures(REFUSED)
        with self.failures:
            LIBRARY.warning("no arguments")
            other = threading.Thread(target=log_failures, args=(REFUSED,))
            other.start()
            other.join()
        log_failures(REFUSED)
        self.assertEqual((self.failures.reason, self.refusals), ("", []))

    def test_a_finished_client_is_followed_until_it_is_closed(self) -> None:
        """It logs the refusal when it connects again; a broker that has gone is no refusal."""
        with self.failures:
            pass
        self.failures.follow(threading.get_ident())
        log_failures(KafkaConnectionError("socket disconnected"), REFUSED)
        log_failures(KafkaConnectionError("Handshake failed: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))
        log_failures(KafkaConnectionError("Handshake failed: [Errno 104] Connection reset by peer"))
        self.failures.unfollow()
        log_failures(REFUSED)
        self.assertEqual(len(self.refusals), 2)
        self.assertIn("Invalid username or password", self.refusals[0])
        self.assertIn("certificate verify failed", self.refusals[1])


class LazyWorker:
    """Runs its jobs when the test says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: list[Callable[[], None]] = []

    def do(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def quit(self) -> None:
        """Does nothing: the test has the jobs."""

    def work(self) -> int:
        """Run the waiting jobs, and return their number."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()
        return len(jobs)


class ReadinessTests(TestCase):
    def setUp(self) -> None:
        logging.getLogger("kafka").propagate = False
        self.addCleanup(setattr, logging.getLogger("kafka"), "propagate", True)
        self.reactor = ThreadlessReactor()
        self.workers: list[LazyWorker] = []
        context = SinkContext(
            "kafka", {"bootstrap.servers": "broker:1"}, "ns", ("V",), self.reactor, ReadableMetrics(), ReadableLog()
        )
        self.makes: list[None] = []
        self.accepts = False
        self.sink = KafkaPythonSink(context, self.make_producer, self.make_worker)
        self.sink.start()
        (self.worker,) = self.workers

    def make_producer(self, **_: object) -> FakeProducer:
        self.makes.append(None)
        if self.accepts:
            return FakeProducer({})
        log_failures(REFUSED, KafkaConnectionError("socket disconnected"))
        raise KafkaTimeoutError("Unable to bootstrap")

    def make_worker(self, name: str) -> LazyWorker:
        self.workers.append(LazyWorker(name))
        return self.workers[-1]

    def reason(self) -> str:
        readiness = self.sink.readiness()
        return readiness.reason if isinstance(readiness, NotReady) else "ready"

    def test_readiness_keeps_the_reason_after_records_were_dispatched(self) -> None:
        self.worker.work()
        self.reactor.advance(0)
        self.assertIn("Invalid username or password", self.reason())
        self.sink.dispatch([make_record()])
        self.worker.work()
        self.reactor.advance(0)
        self.assertIn("Invalid username or password", self.reason())

    def test_a_client_that_is_refused_later_is_not_ready_before_records_time_out(self) -> None:
        """A broker that accepts connections does not make it ready; the next accepted client does."""
        self.accepts = True
        self.worker.work()
        self.reactor.advance(0)
        self.assertEqual(self.reason(), "ready")
        self.sink.was_refused(str(REFUSED))
        self.sink.saw_listener()
        self.assertIn("Invalid username or password", self.reason())
        self.sink.made_client()
        self.assertEqual(self.reason(), "ready")

    def test_probes_do_not_pile_up(self) -> None:
        """One may take longer than the interval between two."""
        for _ in range(5):
            self.reactor.advance(PROBE_INTERVAL_S)
        self.assertEqual(self.worker.work(), 1)
        self.reactor.advance(PROBE_INTERVAL_S)
        self.assertEqual(self.worker.work(), 1)

    def test_no_client_is_made_after_stop(self) -> None:
        self.sink.stop()
        self.worker.work()
        self.assertEqual(self.makes, [])
