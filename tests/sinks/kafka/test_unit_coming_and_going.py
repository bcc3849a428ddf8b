"""A broker that is away for 25 s and there for 8 s, five times, with both clients: records arrive each time."""

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.kafka import producer_thread
from fleetgw.adapters.sinks.kafka.confluent import ConfluentKafkaSink
from fleetgw.adapters.sinks.kafka.kafka_python import KafkaPythonSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import RECEIPT, IDispatcher, NotReady, Ready
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.sinks.kafka import test_contract_scripted as scripted

STEP_S = 0.05
SETTINGS = {"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 2000}


class SlowBroker(scripted.Broker):
    """Confirms the first records only.

    :ivar confirmable: their number.
    """

    confirmable = 0

    @property
    def confirms(self) -> bool:
        return len(self.log) < self.confirmable


class ComingAndGoingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.broker, self.log = ThreadlessReactor(), scripted.Broker(), ReadableLog()
        self.metrics = ReadableMetrics()
        self.context = SinkContext("kafka", SETTINGS, "ns", ("V",), self.clock, self.metrics, self.log)

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([STEP_S] * round(seconds / STEP_S))

    def check(self, sink: IDispatcher) -> None:
        self.successResultOf(sink.start())
        for number in range(5):
            self.broker.down = True
            lost = sink.dispatch([make_record(txid=f"lost-{number}")])
            self.pass_time(25)
            self.assertNotEqual(self.successResultOf(lost), [RECEIPT])
            self.assertIsInstance(sink.readiness(), NotReady)
            self.broker.down = False
            kept = len(self.broker.log)
            self.pass_time(1)
            self.assertIsInstance(sink.readiness(), Ready, "without a record in flight")
            answer = sink.dispatch([make_record(txid=f"there-{number}")])
            self.pass_time(7)
            self.assertEqual(self.successResultOf(answer), [RECEIPT])
            self.assertGreater(len(self.broker.log), kept)
        self.assertLess(len(self.log.fields_of("kafka_err")), 5 * 3 * 4, "kinds of errors, each once in ten seconds")
        sink.stop()
        ready, lost = self.log.fields_of("sink_ready"), self.log.fields_of("sink_not_ready")
        self.assertIn(len(ready), (5, 6), "once for each time that the broker is there, and kafka-python at the start")
        self.assertEqual(len(lost), len(ready) - 1)
        self.assertEqual({fields["dispatcher"] for fields in ready + lost}, {"kafka"})
        self.assertEqual({fields["error"][:13] for fields in lost}, {"127.0.0.1:1: "})

    def confluent(self) -> IDispatcher:
        return ConfluentKafkaSink(self.context, partial(scripted.ScriptedConfluentProducer, self.broker, self.clock))

    def kafka_python(self) -> IDispatcher:
        self.patch(producer_thread, "is_listening", lambda _server: not self.broker.down)
        make = partial(scripted.ScriptedKafkaPythonProducer, self.broker, self.clock)
        return KafkaPythonSink(self.context, make, scripted.InlineWorker)

    def test_confluent(self) -> None:
        self.check(self.confluent())

    def test_kafka_python_is_not_ready_before_its_records_time_out(self) -> None:
        self.patch(producer_thread, "is_listening", lambda _server: not self.broker.down)
        settings = {**SETTINGS, "message.timeout.ms": 300_000}
        context = SinkContext("kafka", settings, "ns", ("V",), self.clock, ReadableMetrics(), self.log)
        make = partial(scripted.ScriptedKafkaPythonProducer, self.broker, self.clock)
        sink = KafkaPythonSink(context, make, scripted.InlineWorker)
        self.successResultOf(sink.start())
        self.broker.down = True
        waiting = sink.dispatch([make_record()])
        self.pass_time(3.5)
        self.assertNoResult(waiting)
        self.assertEqual(sink.readiness(), NotReady("127.0.0.1:1: no broker accepts connections"))
        self.assertEqual(self.log.fields_of("kafka_err")[0]["error"], "no broker accepts connections")
        self.broker.down = False
        self.pass_time(1.1)
        self.assertIsInstance(sink.readiness(), Ready)

    def test_kafka_python(self) -> None:
        self.check(self.kafka_python())

    def test_a_broker_that_is_away_counts_only_while_there_is_something_to_send(self) -> None:
        for make, notices_while_idle in ((self.confluent, True), (self.kafka_python, False)):
            self.setUp()
            sink = make()
            self.successResultOf(sink.start())
            for self.broker.down in (True, False, True):
                self.pass_time(30)
            self.assertEqual(self.metrics.value("kafka_err"), 0, "nothing is to be sent")
            self.assertEqual(bool(self.log.fields_of("kafka_err")), notices_while_idle)
            lost = sink.dispatch([make_record()])
            self.pass_time(5)
            self.assertNotEqual(self.successResultOf(lost), [RECEIPT])
            self.assertGreater(self.metrics.value("kafka_err"), 0)
            sink.stop()

    def test_the_queue_is_shown_in_the_go_servers_parts(self) -> None:
        for make in (self.confluent, self.kafka_python):
            self.setUp()
            self.broker = SlowBroker()
            sink = make()
            self.successResultOf(sink.start())
            self.broker.confirmable = 1
            answer = sink.dispatch([make_record() for _ in range(3)])
            self.pass_time(0.1)
            shown = {kind: self.metrics.value("kafka_produce_queue_size", kind) for kind in ("buffer", "events", "total")}
            self.assertEqual(shown, {"buffer": 2, "events": 1, "total": 3})
            self.broker.confirmable = 3
            self.pass_time(1)
            self.assertEqual(self.successResultOf(answer), [RECEIPT] * 3)
            self.assertEqual(self.metrics.value("kafka_produce_queue_size", "total"), 0)
            sink.stop()

    def test_a_sink_that_was_not_started_can_be_stopped(self) -> None:
        for sink in (self.confluent(), self.kafka_python()):
            self.successResultOf(sink.stop())

    def test_registrations_name_the_namespace(self) -> None:
        for sink in (self.confluent(), self.kafka_python()):
            self.successResultOf(sink.start())
            sink.stop()
        self.assertEqual([fields["namespace"] for fields in self.log.fields_of("kafka_registered")], ["ns", "ns"])
