"""Certificates, keys and passwords that are replaced while the gateway runs, and clients that are destroyed."""

import gc
import tempfile
import threading
import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaError as ConfluentError
from confluent_kafka import Producer
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.secrets.secret import SecretFile, UnusableSecretFile
from fleetgw.adapters.sinks.kafka import kafka_library
from fleetgw.adapters.sinks.kafka.confluent import ConfluentKafkaSink
from fleetgw.adapters.sinks.kafka.kafka_library import IllegalStateError, KafkaError, KafkaTimeoutError
from fleetgw.adapters.sinks.kafka.kafka_python import KafkaPythonSink
from fleetgw.adapters.sinks.kafka.producers import destroy, make_producer
from fleetgw.adapters.sinks.kafka.properties import confluent_properties
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import RECEIPT, IReloadable, NotReady, Ready
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.sinks.kafka.test_contract_scripted import Broker, ScriptedConfluentProducer
from tests.support.deadline import DEADLINE_S


class CredentialCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.password = Path(folder.name, "password")
        self.certificate = Path(folder.name, "client.pem")
        self.password.write_text("first")
        self.certificate.write_text("first")
        self.clock = ThreadlessReactor()
        self.log = ReadableLog()
        settings = {
            "bootstrap.servers": "127.0.0.1:1",
            "message.timeout.ms": 10_000,
            "sasl.password": SecretFile.read(self.password),
            "ssl.certificate.location": str(self.certificate),
        }
        self.context = SinkContext("kafka", settings, "ns", ("V",), self.clock, ReadableMetrics(), self.log)


class ConfluentTests(CredentialCase):
    def setUp(self) -> None:
        super().setUp()
        self.broker = Broker()
        self.made: list[ScriptedConfluentProducer] = []
        self.sink = ConfluentKafkaSink(self.context, self.make)
        self.successResultOf(self.sink.start())
        self.clock.advance(1)

    def make(self, conf: Mapping[str, object], logger: object) -> ScriptedConfluentProducer:
        self.made.append(ScriptedConfluentProducer(self.broker, self.clock, conf, logger))
        return self.made[-1]

    def dispatch(self, txid: str = "1"):
        return self.sink.dispatch([make_record(txid=txid)])

    def test_another_client_uses_changed_credentials(self) -> None:
        self.assertTrue(IReloadable.providedBy(self.sink))
        self.assertEqual(self.sink.reload(), [])
        self.password.write_text("second\n")
        self.assertEqual(self.sink.reload(), [str(self.password)])
        self.clock.advance(0)
        self.assertEqual([producer.conf["sasl.password"] for producer in self.made], ["first", "second"])
        answer = self.dispatch()
        self.assertEqual([len(producer) for producer in self.made], [0, 1])
        self.clock.advance(0.01)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.certificate.write_text("second")
        self.assertEqual(self.sink.reload(), [str(self.certificate)])

    def test_the_old_client_finishes_the_records_in_flight(self) -> None:
        self.broker.held = True
        answer = self.dispatch("1")
        self.password.write_text("second")
        self.sink.reload()
        later = self.dispatch("2")
        self.clock.advance(0.01)
        self.assertEqual([len(producer) for producer in self.made], [2, 0], "in order, by one client")
        self.broker.held = False
        self.clock.advance(0.01)
        self.assertEqual((self.successResultOf(answer), self.successResultOf(later)), ([RECEIPT], [RECEIPT]))
        self.dispatch("3")
        self.assertEqual([len(producer) for producer in self.made], [0, 1])

    def test_without_a_broker_files_are_checked_every_second(self) -> None:
        """Records in flight with the old client become retryable."""
        self.broker.down = True
        answer = self.dispatch()
        self.clock.pump([0.1] * 10)
        self.assertIsInstance(self.sink.readiness(), NotReady)
        self.password.write_text("second")
        self.clock.pump([0.01] * 110)
        self.assertEqual(
            self.log.fields_of("credentials_reloaded"), [{"dispatcher": "kafka", "files": [str(self.password)]}]
        )
        (outcome,) = self.successResultOf(answer)
        self.assertIsInstance(outcome, Retryable)
        self.assertEqual(len(self.made), 2)
        self.broker.down = False
        self.clock.pump([0.1] * 5)
        self.assertEqual(self.sink.readiness(), Ready())

    def test_a_timeout_of_the_old_client_does_not_count_for_the_next(self) -> None:
        """The next client is connected before its first statistics, which therefore always have a broker."""
        self.broker.down = True

        def replace(_: object) -> None:
            self.password.write_text("second")
            self.broker.down = False
            self.sink.reload()

        self.dispatch().addCallback(replace)
        self.clock.pump([0.1] * 100)
        self.assertIsInstance(self.sink.readiness(), NotReady)
        self.clock.pump([0.1] * 10)
        self.assertEqual(len(self.made), 2)
        self.assertEqual(self.sink.readiness(), Ready())

    def test_after_a_long_outage_the_bootstrap_servers_are_asked_again(self) -> None:
        """All brokers may have new addresses. At most once a minute, and never while a broker is connected."""
        self.clock.pump([1.0] * 200)
        self.assertEqual(len(self.made), 1)
        self.broker.down = True
        self.clock.pump([0.25] * 4 * 59)
        self.assertEqual(len(self.made), 1)
        self.clock.pump([0.25] * 4 * 3)
        self.assertEqual(len(self.made), 2)
        self.clock.pump([0.25] * 4 * 57)
        self.assertEqual(len(self.made), 2)
        self.clock.pump([0.25] * 4 * 4)
        self.assertEqual(len(self.made), 3)
        self.assertEqual(self.made[0].conf["sasl.password"], self.made[2].conf["sasl.password"])

    def test_a_file_that_cannot_be_used_leaves_the_old_client_in_use(self) -> None:
        self.password.write_text("")
        for _ in range(2):
            with self.assertRaisesRegex(UnusableSecretFile, f"{self.password} is empty"):
                self.sink.reload()
        self.dispatch()
        self.assertEqual([len(producer) for producer in self.made], [1])
        self.password.write_text("second")
        self.assertEqual(self.sink.reload(), [str(self.password)])

    def test_a_timeout_while_others_are_confirmed_is_retryable(self) -> None:
        """``NotConnected`` would make all records wait, not only those with its ordering key."""
        for others, expected in ((True, Retryable), (False, NotConnected)):
            self.broker.held = True
            stuck = self.dispatch("stuck")
            producer = self.made[0]
            waiting, producer.queue = producer.queue, []
            self.broker.held = False
            self.clock.pump([0.5] * 18)
            if others:
                self.dispatch("other")
                self.clock.pump([0.01] * 3)
                self.assertEqual(producer.queue, [])
            (_, _, report) = waiting[0]
            report(ConfluentError(ConfluentError._MSG_TIMED_OUT), None)
            self.clock.pump([0.01] * 3)
            (outcome,) = self.successResultOf(stuck)
            self.assertEqual((type(outcome), isinstance(self.sink.readiness(), Ready)), (expected, others))

    def test_a_sink_with_a_successor_can_be_stopped(self) -> None:
        self.broker.held = True
        self.dispatch()
        self.password.write_text("second")
        self.sink.reload()
        stopped = self.sink.stop()
        stopped.cancel()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_replaced_clients_leave_nothing_in_memory(self) -> None:
        """Even without the garbage collector, which rarely runs."""
        gone = []
        gc.disable()
        self.addCleanup(gc.enable)
        for number in range(1000):
            self.password.write_text("x" * (number + 1))
            self.sink.reload()
            self.clock.advance(0)
            gone.append(weakref.ref(self.made.pop()))
            self.made.clear()
        for thread in threading.enumerate():
            if thread.name == "fleetgw-kafka-end":
                thread.join()
        self.assertEqual(sum(each() is not None for each in gone), 1)


class DestroyTests(SynchronousTestCase):
    def test_the_reactor_does_not_wait_for_the_threads_of_a_client(self) -> None:
        """One of them may wait for a name server."""
        thread_of_end: list[int] = []
        ended = threading.Event()

        class Client:
            def __del__(self) -> None:
                thread_of_end.append(threading.get_ident())
                ended.set()

        destroy([Client()])  # type: ignore[list-item]  # any object that is destroyed
        self.assertTrue(ended.wait(DEADLINE_S))
        self.assertNotEqual(thread_of_end, [threading.get_ident()])


class DefaultTests(SynchronousTestCase):
    def test_the_reconnect_pause_is_short_by_default(self) -> None:
        read = partial(confluent_properties, "kafka", log=ReadableLog())
        self.assertEqual(read(settings={})["reconnect.backoff.max.ms"], "500")
        self.assertEqual(read(settings={"reconnect.backoff.max.ms": 9000})["reconnect.backoff.max.ms"], "9000")
        self.assertNotIn("reconnect.backoff.max.ms", read(settings={"reconnect.backoff.ms": 2000}))

    def test_the_known_brokers_are_kept_by_default_while_all_are_down(self) -> None:
        """librdkafka's ``rebootstrap`` would connect, and ask for leaders, on a timer of one second."""
        read = partial(confluent_properties, "kafka", log=ReadableLog())
        self.assertEqual(read(settings={})["metadata.recovery.strategy"], "none")
        told = {"metadata.recovery.strategy": "rebootstrap"}
        self.assertEqual(read(settings=told)["metadata.recovery.strategy"], "rebootstrap")

    def test_librdkafka_accepts_the_defaults(self) -> None:
        make_producer(Producer, "kafka", confluent_properties("kafka", {}, ReadableLog()), {}, ReadableLog())


class Future:
    def add_callback(self, call) -> None:
        self.succeed = call

    def add_errback(self, call) -> None:
        self.fail = call


class HeldWorker:
    def __init__(self, name: str) -> None:
        self.jobs: list = []

    def do(self, job) -> None:
        self.jobs.append(job)

    def work(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()

    def quit(self) -> None:
        pass


class FakeProducer:
    def __init__(self, arguments: Mapping[str, object]) -> None:
        self.arguments = arguments
        self.closed = False
        self.stuck = False
        self.sent: list[Future] = []

    def send(self, topic: str, **_: object) -> Future:
        self.sent.append(Future())
        return self.sent[-1]

    def flush(self, timeout: float) -> None:
        if self.stuck:
            raise KafkaTimeoutError(f"still under way after {timeout} s")

    def close(self, timeout: float) -> None:
        self.flush(timeout)
        self.closed = True
        for future in self.sent:
            future.fail(IllegalStateError("closed"))


class LibraryClient:
    """``KafkaNetClient`` without a broker."""

    broker_version_data = None
    closed = 0

    def __init__(self, **_: object) -> None:
        self._manager = self

    def bootstrap(self, _timeout_ms: int) -> None:
        raise KafkaError("no broker")

    def close(self) -> None:
        LibraryClient.closed += 1


class KafkaPythonLibraryTests(SynchronousTestCase):
    def test_a_producer_that_cannot_be_made_leaves_no_sockets_open(self) -> None:
        """One is made every second without a broker, and the garbage collector rarely runs."""
        self.patch(kafka_library, "KafkaNetClient", LibraryClient)
        self.patch(LibraryClient, "closed", 0)
        with self.assertRaises(KafkaError):
            kafka_library.made_producer()
        self.assertEqual(LibraryClient.closed, 1)


class KafkaPythonTests(CredentialCase):
    def setUp(self) -> None:
        super().setUp()
        self.made: list[FakeProducer] = []
        self.workers: list[HeldWorker] = []
        self.sink = KafkaPythonSink(self.context, self.make, self.make_worker)
        self.successResultOf(self.sink.start())
        self.work()

    def make(self, **arguments: object) -> FakeProducer:
        self.made.append(FakeProducer(arguments))
        return self.made[-1]

    def make_worker(self, name: str) -> HeldWorker:
        self.workers.append(HeldWorker(name))
        return self.workers[-1]

    def work(self) -> None:
        self.workers[0].work()
        self.clock.advance(0)

    def test_another_client_uses_changed_credentials(self) -> None:
        self.assertTrue(IReloadable.providedBy(self.sink))
        self.assertEqual(self.sink.reload(), [])
        self.password.write_text("second\n")
        self.assertEqual(self.sink.reload(), [str(self.password)])
        self.work()
        self.assertEqual([made.arguments["sasl_plain_password"] for made in self.made], ["first", "second"])
        self.assertEqual([made.closed for made in self.made], [True, False])
        self.assertEqual(self.sink.readiness(), Ready())

    def test_a_file_that_cannot_be_used_leaves_the_old_client_in_use(self) -> None:
        self.certificate.unlink()
        for _ in range(2):
            with self.assertRaisesRegex(Exception, "cannot read"):
                self.sink.reload()
        self.work()
        self.assertEqual([made.closed for made in self.made], [False])

    def test_files_are_checked_while_nothing_is_confirmed(self) -> None:
        """The library retries for minutes with the old credentials, and does not report it."""
        self.sink.dispatch([make_record(txid="1")])
        self.work()
        self.password.write_text("second")
        self.clock.pump([1, 1])
        self.work()
        self.assertEqual([made.arguments["sasl_plain_password"] for made in self.made], ["first", "second"])
        self.assertEqual(self.log.fields_of("credentials_reloaded")[0]["files"], [str(self.password)])

    def test_records_that_the_old_client_cannot_send_are_retryable(self) -> None:
        """The library's ``close`` leaves the client open when it cannot flush."""
        answer = self.sink.dispatch([make_record(txid="1")])
        self.work()
        self.made[0].stuck = True
        self.password.write_text("second")
        self.sink.reload()
        self.work()
        self.assertEqual([made.closed for made in self.made], [True, False])
        self.assertIsInstance(self.successResultOf(answer)[0], NotConnected)

    def test_files_are_not_checked_while_records_are_confirmed(self) -> None:
        self.password.write_text("second")
        for _ in range(5):
            self.sink.dispatch([make_record(txid="1")])
            self.work()
            self.clock.advance(1)
            self.made[0].sent[-1].succeed(None)
            self.work()
        self.assertEqual(len(self.made), 1)

    def test_a_timeout_while_others_are_confirmed_is_retryable(self) -> None:
        """``NotConnected`` would make all records wait, not only those with its ordering key."""
        for others, expected in ((True, Retryable), (False, NotConnected)):
            stuck = self.sink.dispatch([make_record(txid="stuck")])
            self.work()
            self.clock.advance(9)
            if others:
                other = self.sink.dispatch([make_record(txid="other")])
                self.work()
                self.made[0].sent[-1].succeed(None)
                self.clock.advance(0)
                self.assertEqual(self.successResultOf(other), [RECEIPT])
            self.clock.advance(1)
            self.made[0].sent[0].fail(kafka_library.KafkaTimeoutError("10 s have passed"))
            self.clock.advance(0)
            (outcome,) = self.successResultOf(stuck)
            self.assertEqual((type(outcome), isinstance(self.sink.readiness(), Ready)), (expected, others))
            self.made[0].sent.clear()

    def test_stopping_can_be_cancelled_during_a_probe(self) -> None:
        answer = self.sink.dispatch([make_record(txid="1")])
        self.work()
        self.clock.pump([1, 1])
        self.clock.advance(1)  # nothing is confirmed: a probe begins
        stopped = self.sink.stop()
        self.assertNoResult(stopped)
        stopped.cancel()
        self.successResultOf(stopped)
        self.assertNotEqual(self.successResultOf(answer), [RECEIPT])

    def test_stopping_does_not_wait_for_a_probe(self) -> None:
        """A probe may wait for a name server."""
        self.password.write_text("second")
        self.sink.reload()
        self.successResultOf(self.sink.stop())
        self.work()
        self.assertTrue(all(made.closed for made in self.made))
