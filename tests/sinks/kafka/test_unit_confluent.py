"""The sink on librdkafka alone: refused properties, fatal errors, requests that are too large as a whole."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from confluent_kafka import KafkaError, KafkaException, Producer
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from fleetgw.adapters.sinks.kafka import confluent
from fleetgw.adapters.sinks.kafka.confluent import ConfluentKafkaSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import ConfigurationError, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, NotReady
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.support.deadline import DEADLINE_S
from tests.support.kafka.consumer import consume
from tests.support.kafka.mock_cluster import INIT_PRODUCER_ID, PRODUCE, MockCluster

CONFIG_VECTORS = Path(__file__).parents[2] / "vectors" / "config.json"

MESSAGE_TOO_LARGE = 10
NOT_LEADER = 6
CLUSTER_AUTHORIZATION_FAILED = 31


LINGER = ("linger.ms", "queue.buffering.max.ms")
LINGER_20 = {"queue.buffering.max.ms": "20"}


def recording(made: list[dict]) -> Callable[..., Producer]:
    def make(properties: dict, **arguments: object) -> Producer:
        made.append(properties)
        return Producer(properties, **arguments)

    return make


def context(settings: dict, sink_reactor: object = None, log: ReadableLog | None = None) -> SinkContext:
    return SinkContext(
        "kafka", settings, "ns", ("V",), sink_reactor or ThreadlessReactor(), ReadableMetrics(), log or ReadableLog()
    )


class EndTests(SynchronousTestCase):
    def test_librdkafka_is_destroyed_on_another_thread(self) -> None:
        """Its end waits for its threads, and one may wait for a name server. The test hangs if the sink waits as well."""
        answered = threading.Event()
        ended_on: list[threading.Thread] = []

        class Client(Producer):
            def __del__(self) -> None:
                ended_on.append(threading.current_thread())
                answered.wait()

        sink = ConfluentKafkaSink(context({"bootstrap.servers": "127.0.0.1:1"}), Client)
        self.successResultOf(sink.start())
        self.successResultOf(sink.stop())
        answered.set()
        for thread in [thread for thread in threading.enumerate() if thread.name == "fleetgw-kafka-end"]:
            thread.join(DEADLINE_S)
        self.assertNotIn(threading.current_thread(), ended_on)
        self.assertEqual(len(ended_on), 1)


class PropertiesTests(SynchronousTestCase):
    def start_and_stop(self, settings: dict) -> ReadableLog:
        log = ReadableLog()
        sink = ConfluentKafkaSink(context(settings, log=log))
        started = sink.start()
        if started.called and not hasattr(started.result, "getTraceback"):
            self.successResultOf(sink.stop())
        self.successResultOf(started)
        return log

    def test_every_refused_property_is_named_at_once(self) -> None:
        sink = ConfluentKafkaSink(
            context({"no.such": 1, "linger.ms": -5, "nor.such": "x", "bootstrap.servers": "127.0.0.1:1"})
        )
        error = self.failureResultOf(sink.start(), ConfigurationError).value
        self.assertEqual(
            {problem.path for problem in error.problems}, {"kafka.no.such", "kafka.linger.ms", "kafka.nor.such"}
        )
        self.assertIn('No such configuration property: "no.such"', str(error))

    def test_the_client_lingers_less_by_default_because_records_come_in_batches(self) -> None:
        for settings, lingers in (({}, {"linger.ms": "1"}), ({"linger.ms": 7}, {"linger.ms": "7"}), (LINGER_20, LINGER_20)):
            made: list[dict] = []
            sink = ConfluentKafkaSink(context({"bootstrap.servers": "127.0.0.1:1"} | settings), recording(made))
            self.successResultOf(sink.start())
            self.addCleanup(sink.stop)
            self.assertEqual({key: made[0][key] for key in LINGER if key in made[0]}, lingers)

    def test_properties_that_contradict_each_other_are_refused(self) -> None:
        sink = ConfluentKafkaSink(context({"enable.idempotence": True, "acks": 1}))
        error = self.failureResultOf(sink.start(), ConfigurationError).value
        self.assertEqual([problem.path for problem in error.problems], ["kafka"])
        self.assertIn("`acks` must be set to `all`", str(error))

    def test_values_of_the_wrong_kind_are_named_at_once(self) -> None:
        with self.assertRaises(ConfigurationError) as caught:
            ConfluentKafkaSink(context({"acks": None, "x": {"a": 1}, "bootstrap.servers": ["a:1"], "transactional.id": "t"}))
        paths = {problem.path for problem in caught.exception.problems}
        self.assertEqual(paths, {"kafka.acks", "kafka.x", "kafka.bootstrap.servers", "kafka.transactional.id"})

    def test_properties_of_the_go_client_or_against_receipts_are_ignored_with_a_warning(self) -> None:
        ignored = {
            "go.delivery.reports": False,
            "go.batch.producer": True,
            "delivery.report.only.error": True,
            "message.timeout.ms": 0,
        }
        log = self.start_and_stop({"bootstrap.servers": "127.0.0.1:1", **ignored})
        named = {fields["property"] for fields in log.fields_of("kafka_property_ignored")}
        self.assertEqual(named, {f"kafka.{name}" for name in ignored})

    def test_go_servers_configurations_start_or_are_refused_alike(self) -> None:
        """A broker that is down at start is no reason to refuse."""
        cases = [
            case
            for case in json.loads(CONFIG_VECTORS.read_text())["cases"]
            if case["name"].startswith("kafka: ") and isinstance(case["config"].get("kafka"), dict)
        ]
        self.assertGreater(len(cases), 10)
        for case in cases:
            settings = {
                name: value.replace("@/", "/nonexistent/") if isinstance(value, str) else value
                for name, value in case["config"]["kafka"].items()
            }
            try:
                log = self.start_and_stop(settings)
            except (ConfigurationError, self.failureException):
                verdict = "refused"
            else:
                verdict = "accepted"
                self.assertEqual(len(log.fields_of("kafka_registered")), 1, case["name"])
            self.assertEqual(verdict, case["go"], case["name"])


class ReadinessTests(SynchronousTestCase):
    """Readiness by the errors and statistics that librdkafka reports."""

    def setUp(self) -> None:
        made: list[dict] = []
        self.sink = ConfluentKafkaSink(context({"bootstrap.servers": "broker:1"}), lambda conf, **_: made.append(conf))
        self.successResultOf(self.sink.start())
        (self.properties,) = made

    def reason(self, *errors: tuple[int, str]) -> str:
        for code, text in errors:
            self.properties["error_cb"](KafkaError(code, text))
        readiness = self.sink.readiness()
        return readiness.reason if isinstance(readiness, NotReady) else ""

    def test_the_reason_is_the_last_error_of_a_broker(self) -> None:
        for code, text in (
            (KafkaError._AUTHENTICATION, "Invalid username or password"),
            (KafkaError._SSL, "SSL handshake failed"),
            (KafkaError._RESOLVE, "Name or service not known"),
            (KafkaError._TRANSPORT, "Connection refused"),
        ):
            with self.subTest(text):
                self.assertIn(text, self.reason((code, text), (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")))
                self.assertIn(text, self.reason((KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")))

    def test_the_reason_changes_with_each_error(self) -> None:
        """librdkafka reports only once that all brokers are down."""
        self.reason((KafkaError._TRANSPORT, "Connection refused"), (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
        self.assertIn("Invalid password", self.reason((KafkaError._AUTHENTICATION, "Invalid password")))
        self.properties["stats_cb"]('{"brokers":{"a":{"state":"UP"}}}')
        self.assertEqual(self.reason(), "")
        self.assertEqual(self.reason((KafkaError._TRANSPORT, "Disconnected")), "", "there may be other brokers")

    def test_a_connection_clears_the_reason(self) -> None:
        self.reason((KafkaError._AUTHENTICATION, "Invalid password"))
        self.properties["stats_cb"]('{"brokers":{"a":{"state":"UP"}}}')
        self.assertIn("1/1 brokers", self.reason((KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")))


class IdempotenceLog(ReadableLog):
    """``idempotence_off`` fires once the sink uses a client without idempotence."""

    def __init__(self) -> None:
        super().__init__()
        self.idempotence_off: Deferred[None] = Deferred()

    def warn(self, event: str, **fields: object) -> None:
        super().warn(event, **fields)
        if event == "kafka_idempotence_off":
            reactor.callLater(0, self.idempotence_off.callback, None)


class DyingProducer:
    """The first one fails fatally, and reports purged records as too large together; the next one works."""

    made: ClassVar[int] = 0

    def __init__(self, _properties: dict, **_: object) -> None:
        self.dies = not DyingProducer.made
        DyingProducer.made += 1
        self.reports: list[Callable] = []
        self.purged = False

    def __len__(self) -> int:
        return len(self.reports)

    def produce(self, *arguments: Any) -> None:  # Any: librdkafka's many
        self.reports.append(arguments[4])

    def purge(self) -> None:
        self.purged = True

    def poll(self, _timeout: float) -> None:
        if self.dies and not self.purged:
            raise KafkaException(KafkaError(KafkaError._FATAL, "fatal", True))
        reports, self.reports = self.reports, []
        for report in reports:
            if self.dies:
                report(KafkaError(MESSAGE_TOO_LARGE), None)
            else:
                report(None, self)

    flush = poll

    def offset(self) -> int:
        return 0


class ReplacedProducerTests(SynchronousTestCase):
    def test_a_record_that_is_to_be_sent_alone_is_sent_by_the_next_producer(self) -> None:
        self.patch(DyingProducer, "made", 0)
        clock = ThreadlessReactor()
        sink = ConfluentKafkaSink(context({}, clock), DyingProducer)
        self.successResultOf(sink.start())
        answer = sink.dispatch([make_record()])
        clock.advance(confluent.REMAKE_INTERVAL_S)
        clock.pump([1.0] * 3)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.successResultOf(sink.stop())


class SlowProducer:
    """Reports on a record some time after it was produced."""

    def __init__(self, clock: ThreadlessReactor, takes_s: float) -> None:
        self.clock = clock
        self.takes_s = takes_s
        self.reports: list[tuple[float, Callable]] = []
        self.polls = 0

    def __len__(self) -> int:
        return len(self.reports)

    def produce(self, *arguments: Any) -> None:  # Any: librdkafka's many
        self.reports.append((self.clock.seconds() + self.takes_s, arguments[4]))

    def poll(self, _timeout: float) -> None:
        self.polls += 1
        while self.reports and self.reports[0][0] <= self.clock.seconds():
            self.reports.pop(0)[1](None, self)

    flush = poll

    def offset(self) -> int:
        return 0


class PollTests(SynchronousTestCase):
    def test_polls_find_reports_soon_though_timers_are_late(self) -> None:
        for takes_s, polls in ((0.0043, 2.5), (0.0087, 3.5)):
            with self.subTest(takes_s=takes_s):
                self.deliver(takes_s, polls)

    def deliver(self, takes_s: float, polls: float) -> None:
        clock = ThreadlessReactor()
        producer = SlowProducer(clock, takes_s)
        sink = ConfluentKafkaSink(context({}, clock), lambda *_, **__: producer)
        self.successResultOf(sink.start())
        waits_s = []
        for _ in range(200):
            before_s = clock.seconds()
            answer = sink.dispatch([make_record()])
            while not answer.called:
                due_s = min(call.getTime() for call in clock.getDelayedCalls())
                clock.advance(due_s - clock.seconds() + 0.0007)
            waits_s.append(clock.seconds() - before_s)
        self.assertLess(sum(waits_s[100:]) / 100, takes_s + 0.0015)
        self.assertLess(producer.polls / 200, polls)
        self.successResultOf(sink.stop())


class BrokerErrorTests(TestCase):
    timeout = DEADLINE_S

    def setUp(self) -> None:
        self.cluster = MockCluster()
        self.addCleanup(self.cluster.close)
        self.log = IdempotenceLog()

    async def started(self, **settings: object) -> ConfluentKafkaSink:
        quick = {"bootstrap.servers": self.cluster.servers, "statistics.interval.ms": 100, **settings}
        sink = ConfluentKafkaSink(context(quick, reactor, self.log))
        await sink.start()
        return sink

    def test_the_records_of_a_request_that_is_too_large_are_sent_one_by_one(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._too_large())

    async def _too_large(self) -> None:
        sink = await self.started(**{"linger.ms": 1000})  # all four are in one request, on a busy machine, too
        records = [make_record("VIN", f"tx-{number}", payload=b"%d" % number) for number in range(4)]
        await sink.dispatch(records)
        # The whole request is refused, then the second of the four records in a request of its own.
        self.cluster.fail_requests(PRODUCE, MESSAGE_TOO_LARGE, 0, MESSAGE_TOO_LARGE, 0, 0)
        outcomes = await sink.dispatch(records)
        await sink.stop()
        self.assertEqual([outcomes[0], outcomes[2], outcomes[3]], [RECEIPT] * 3)
        self.assertIsInstance(outcomes[1], Rejected)
        self.assertIn("MSG_SIZE_TOO_LARGE", str(outcomes[1]))
        values = [record.value for record in consume(self.cluster.servers, ["ns_V"], 7)]
        self.assertEqual(values, [b"0", b"1", b"2", b"3", b"0", b"2", b"3"])

    def test_a_record_without_an_offset_is_not_confirmed(self) -> Deferred[None]:
        """librdkafka reports it as delivered when a later one is, although the broker has refused it.

        A new partition accepts any first sequence number.
        """
        return Deferred.fromCoroutine(self._without_offset())

    async def _without_offset(self) -> None:
        sink = await self.started(**{"batch.num.messages": 1, "linger.ms": 0})
        await sink.dispatch([make_record("VIN", payload=b"warm")])
        self.cluster.answer_after(1000)  # all three are in flight when the first is refused
        self.cluster.fail_requests(PRODUCE, NOT_LEADER)
        records = [make_record("VIN", f"tx-{number}", payload=b"%d" % number) for number in range(3)]
        outcomes = await sink.dispatch(records)
        await sink.stop()
        there = {record.value for record in consume(self.cluster.servers, ["ns_V"], 3)}
        confirmed = {record.payload for record, outcome in zip(records, outcomes, strict=True) if outcome == RECEIPT}
        self.assertEqual(confirmed - there, set())
        self.assertEqual(outcomes[1:], [RECEIPT] * 2)
        self.assertIsInstance(outcomes[0], Retryable)

    def test_a_broker_that_permits_no_idempotence_is_used_without(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._no_idempotence())

    async def _no_idempotence(self) -> None:
        self.patch(confluent, "REMAKE_INTERVAL_S", 0.1)
        self.cluster.fail_requests(INIT_PRODUCER_ID, *[CLUSTER_AUTHORIZATION_FAILED] * 20)
        sink = await self.started()
        await self.log.idempotence_off
        outcomes = await sink.dispatch([make_record()])
        await sink.stop()
        self.assertEqual(outcomes, [RECEIPT])
        self.assertEqual(len(self.log.fields_of("kafka_idempotence_off")), 1)
