"""What kafka-python's sink makes of a broker that does not let it in."""

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


def say(*errors: Exception) -> None:
    """As the library does."""
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

    def test_the_one_that_says_most_is_kept(self) -> None:
        with self.failures:
            say(KafkaConnectionError("socket disconnected"), REFUSED, KafkaConnectionError("socket disconnected"))
            say(RequestTimedOutError("after 180 ms"), KafkaTimeoutError("Unable to bootstrap"))
        self.assertIn("Invalid username or password", self.failures.reason)

    def test_that_it_hung_up_is_better_than_nothing(self) -> None:
        with self.failures:
            say(KafkaConnectionError("socket disconnected"), KafkaTimeoutError("Unable to bootstrap"))
        self.assertIn("socket disconnected", self.failures.reason)

    def test_what_others_say_is_not_heard(self) -> None:
        say(REFUSED)
        with self.failures:
            LIBRARY.warning("no arguments")
            other = threading.Thread(target=say, args=(REFUSED,))
            other.start()
            other.join()
        say(REFUSED)
        self.assertEqual((self.failures.reason, self.refusals), ("", []))

    def test_a_client_that_was_made_is_heard_until_it_goes(self) -> None:
        """It says why it is refused when it connects again; that a broker has gone is no refusal."""
        with self.failures:
            pass
        self.failures.follow(threading.get_ident())
        say(KafkaConnectionError("socket disconnected"), REFUSED)
        say(KafkaConnectionError("Handshake failed: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))
        say(KafkaConnectionError("Handshake failed: [Errno 104] Connection reset by peer"))
        self.failures.unfollow()
        say(REFUSED)
        self.assertEqual(len(self.refusals), 2)
        self.assertIn("Invalid username or password", self.refusals[0])
        self.assertIn("certificate verify failed", self.refusals[1])


class LazyWorker:
    """Does its jobs when told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: list[Callable[[], None]] = []

    def do(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def quit(self) -> None:
        """Nothing: the test has the jobs."""

    def work(self) -> int:
        """Do what is there; how many jobs that was."""
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
        say(REFUSED, KafkaConnectionError("socket disconnected"))
        raise KafkaTimeoutError("Unable to bootstrap")

    def make_worker(self, name: str) -> LazyWorker:
        self.workers.append(LazyWorker(name))
        return self.workers[-1]

    def reason(self) -> str:
        readiness = self.sink.readiness()
        return readiness.reason if isinstance(readiness, NotReady) else "ready"

    def test_says_why_also_after_records_were_offered(self) -> None:
        self.worker.work()
        self.reactor.advance(0)
        self.assertIn("Invalid username or password", self.reason())
        self.sink.dispatch([make_record()])
        self.worker.work()
        self.reactor.advance(0)
        self.assertIn("Invalid username or password", self.reason())

    def test_a_client_that_is_refused_later_says_why_before_records_time_out(self) -> None:
        """And a broker that takes connections is no better news; the next client's acceptance is."""
        self.accepts = True
        self.worker.work()
        self.reactor.advance(0)
        self.assertEqual(self.reason(), "ready")
        self.sink.was_refused(str(REFUSED))
        self.sink.saw_listener()
        self.assertIn("Invalid username or password", self.reason())
        self.sink.made_client()
        self.assertEqual(self.reason(), "ready")

    def test_looks_do_not_heap_up(self) -> None:
        """One may take longer than the time between two."""
        for _ in range(5):
            self.reactor.advance(PROBE_INTERVAL_S)
        self.assertEqual(self.worker.work(), 1)
        self.reactor.advance(PROBE_INTERVAL_S)
        self.assertEqual(self.worker.work(), 1)

    def test_no_client_is_made_once_it_stops(self) -> None:
        self.sink.stop()
        self.worker.work()
        self.assertEqual(self.makes, [])
