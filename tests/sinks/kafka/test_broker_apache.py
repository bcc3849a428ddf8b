"""Both Kafka sinks against a real Apache Kafka, which these tests start, pause, kill and restart."""

import atexit
import gc
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from fleetgw.adapters.secrets.secret import SecretFile
from fleetgw.adapters.sinks.kafka.settings import Client
from fleetgw.adapters.sinks.kafka.type import kafka_sink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.ports import RECEIPT, NotReady, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import Received
from fleetgw.testing.real_reactor import pause, the_reactor, until
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, make_record
from tests.support.deadline import DEADLINE_S
from tests.support.delivery import Delivery
from tests.support.kafka.broker import SASL_PASSWORD, SASL_USER, KafkaBroker, missing
from tests.support.kafka.consumer import consume
from tests.support.kafka.harness import KafkaHarness
from tests.support.kafka.wire_contract import KafkaWireContract
from tests.support.needed import needed

ROOT = Path(__file__).parents[3]
JARS = ROOT / ".brokers" / "kafka"
VECTORS = ROOT / "tests" / "vectors" / "dispatch.json"
EXAMPLE = ROOT / "examples" / "consumers" / "kafka_consumer.py"

MAX_MESSAGE_BYTES = 100_000

STREAM_BATCHES = 80
BATCH = 25


@cache
def the_broker() -> KafkaBroker:
    """One broker for all tests: starting takes seconds."""
    needed(missing(JARS))
    broker = KafkaBroker(JARS, MAX_MESSAGE_BYTES)
    atexit.register(broker.stop)
    return broker


class ApacheKafkaHarness(KafkaHarness):
    refused_payload = bytes(MAX_MESSAGE_BYTES * 2)  # the client accepts it, the broker does not

    @property
    def servers(self) -> str:
        return the_broker().servers

    async def set_up(self) -> None:
        the_broker()

    async def tear_down(self) -> None:
        the_broker().start()
        if self.client == "kafka-python":
            gc.collect()  # here, where its warnings are expected

    async def hold(self) -> None:
        the_broker().pause()

    async def release(self) -> None:
        the_broker().resume()

    async def go_away(self) -> None:
        the_broker().kill()

    async def come_back(self) -> None:
        the_broker().start()


def records_of(batch: int) -> list[Record]:
    """A batch of records, of four vehicles."""
    numbers = range(batch * BATCH, (batch + 1) * BATCH)
    return [make_record(f"VIN{number % 4}", f"tx-{number}", payload=b"payload of %d" % number) for number in numbers]


async def stream(delivery: Delivery, batches: Iterable[int]) -> None:
    """Dispatch one batch every 20 ms; ends when every record has its receipt."""
    for batch in batches:
        delivery.begin(records_of(batch))
        await pause(0.02)
    await delivery.done()


class ApacheKafkaTests(DispatcherContract, KafkaWireContract):
    """The tests of both clients."""

    client: str
    vectors = VECTORS
    timeout = DEADLINE_S

    # kafka-python leaves the socket of a connection that was refused to the garbage collector
    suppress = (((), {"action": "ignore", "category": ResourceWarning, "message": "unclosed <socket"}),)

    def make_harness(self) -> ApacheKafkaHarness:
        return ApacheKafkaHarness(self.client)

    def test_a_replaced_password_file_is_used(self) -> Deferred[None]:
        """The sink reads it again by itself when the broker refuses the old password."""
        return Deferred.fromCoroutine(self._replace_password())

    async def _replace_password(self) -> None:
        harness = self.make_harness()
        await harness.set_up()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "password")
            file.write_text("old")
            settings = {
                "bootstrap.servers": the_broker().sasl_servers,
                "security.protocol": "sasl_plaintext",
                "sasl.mechanism": "PLAIN",
                "sasl.username": SASL_USER,
                "sasl.password": SecretFile.read(file),
                "message.timeout.ms": 2000,
            }
            log = ReadableLog()
            types, metrics = harness.record_types, ReadableMetrics()
            sink = harness.make_sink(SinkContext("kafka", settings, harness.namespace, types, harness.reactor, metrics, log))
            await sink.start()
            try:
                self.assertNotEqual(await sink.dispatch(records_of(0)[:1]), [RECEIPT])
                file.write_text(SASL_PASSWORD)
                self.assertTrue(await until(lambda: sink.readiness() == Ready()), sink.readiness())
                await Delivery(sink).deliver(records_of(0)[:1])
                self.assertEqual(log.fields_of("credentials_reloaded")[0]["files"], [str(file)])
            finally:
                await sink.stop()
                await harness.tear_down()

    def test_broker_killed_mid_stream(self) -> Deferred[None]:
        """SIGKILL twice while records stream: every record with a receipt is in the log, no others are, new records pass."""
        return Deferred.fromCoroutine(self._kill_mid_stream())

    async def _kill_mid_stream(self) -> None:
        harness = self.make_harness()
        await harness.set_up()
        settings = {**harness.settings(timeout_s=3, bounded=False), "acks": "all"}
        context = SinkContext(
            "kafka", settings, harness.namespace, ("V",), harness.reactor, ReadableMetrics(), ReadableLog()
        )
        sink = harness.make_sink(context)
        await sink.start()
        try:
            delivery = Delivery(sink, pause_s=0.5, timeout_s=self.timeout)
            for first in (0, STREAM_BATCHES):
                running = Deferred.fromCoroutine(stream(delivery, range(first, first + STREAM_BATCHES)))
                await pause(0.7)
                the_broker().kill()
                await pause(0.3)
                the_broker().start()
                await running
            await delivery.deliver(records_of(2 * STREAM_BATCHES))
        finally:
            await sink.stop()
            await harness.tear_down()
        issued = {
            Received(f"VIN{number % 4}", b"payload of %d" % number) for number in range((2 * STREAM_BATCHES + 1) * BATCH)
        }
        consumed = consume(harness.servers, [f"{harness.namespace}_V"], len(issued))
        in_log = [Received(record.key.decode(), record.value) for record in consumed]
        with_receipt = {Received(record.vin, record.payload) for record in delivery.confirmed}
        self.assertEqual(len(delivery.confirmed), len(issued), "one receipt a record")
        self.assertEqual(with_receipt - set(in_log), set(), "records with a receipt that are not in the log")
        self.assertEqual(set(in_log) - issued, set(), "records in the log that were never dispatched")
        self.assertEqual(with_receipt, issued)
        duplicates = len(in_log) - len(issued)
        self.assertLessEqual(duplicates, delivery.retried + 2 * 1000, "more duplicates than records in flight at two kills")


@cache
def the_strict_broker() -> KafkaBroker:
    """A broker that creates no topics by itself."""
    needed(missing(JARS))
    broker = KafkaBroker(JARS, MAX_MESSAGE_BYTES, creates_topics=False)
    atexit.register(broker.stop)
    return broker


class Acks:
    """Collects the confirmed records."""

    def __init__(self) -> None:
        self.txids: list[bytes] = []

    def confirmed(self, records: Sequence[Record]) -> None:
        self.txids += [record.txid for record in records]


class MissingTopicTests(TestCase):
    """A lane to a sink of which one of two topics is missing."""

    timeout = DEADLINE_S
    client: Client = "confluent-kafka"
    quick: Mapping[str, object] = {"topic.metadata.propagation.max.ms": 500}

    def test_records_of_the_other_topic_pass_meanwhile(self) -> Deferred[None]:
        """Records of the missing topic pass once it exists; until then the sink is not ready, with the reason."""
        return Deferred.fromCoroutine(self._missing_topic())

    async def _missing_topic(self) -> None:
        broker = the_strict_broker()
        namespace = f"missing_{uuid4().hex[:12]}"
        broker.create_topic(f"{namespace}_V")
        settings = {"bootstrap.servers": broker.servers, "statistics.interval.ms": 100, **self.quick}
        metrics, log = ReadableMetrics(), ReadableLog()
        context = SinkContext("kafka", settings, namespace, ("V", "alerts"), the_reactor(), metrics, log)
        sink = kafka_sink(context, self.client)
        await sink.start()
        lane = Lane(sink, BacklogLimits(50, 100_000, 50, 10), LaneTiming(0.005, 0.1, 0.5, 5.0), the_reactor(), metrics, log)
        acks = Acks()

        async def acked(txid: str) -> bool:
            self.assertEqual(lane.offer([make_record("VIN1", txid)], 7, acks), 1)
            return await until(lambda: txid.encode() in acks.txids)

        try:
            self.assertTrue(await acked("first"))
            alerts = [make_record("VIN1", f"alert-{number}", record_type="alerts") for number in range(50)]
            self.assertEqual(lane.offer(alerts, 7 * len(alerts), acks), len(alerts))
            await until(lambda: "alerts" in str(sink.readiness()))
            for number in range(60):
                self.assertTrue(await acked(f"v-{number}"), f"{number} records had passed: {sink.readiness()}")
                readiness = sink.readiness()
                assert isinstance(readiness, NotReady)
                self.assertIn(f"topic {namespace}_alerts: ", readiness.reason)
            self.assertEqual(len(acks.txids), 61)
            broker.create_topic(f"{namespace}_alerts")
            self.assertTrue(await until(lambda: not lane.held_records, 60), sink.readiness())
            self.assertEqual(acks.txids[61:], [record.txid for record in alerts])
            self.assertEqual(sink.readiness(), Ready())
        finally:
            lane.close()
            await sink.stop()


class MissingTopicKafkaPythonTests(MissingTopicTests):
    client = "kafka-python"
    quick: Mapping[str, object] = {"message.timeout.ms": 2000}

    def tearDown(self) -> None:
        gc.collect()


class ConfluentKafkaTests(ApacheKafkaTests, TestCase):
    client = "confluent-kafka"

    def test_readiness_names_wrong_credentials(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._log_in_wrongly())

    async def _log_in_wrongly(self) -> None:
        harness = self.make_harness()
        await harness.set_up()
        login = {"sasl.mechanism": "PLAIN", "sasl.username": SASL_USER, "sasl.password": "guess"}
        quick = {"message.timeout.ms": 2000, "socket.connection.setup.timeout.ms": 2000}
        servers = {"bootstrap.servers": the_broker().sasl_servers, "security.protocol": "sasl_plaintext"}
        settings = {**servers, **login, **quick}
        context = SinkContext("kafka", settings, "ns", ("V",), harness.reactor, ReadableMetrics(), ReadableLog())
        sink = harness.make_sink(context)
        await sink.start()
        try:
            answer = sink.dispatch(records_of(0))
            while "Invalid username or password" not in sink.readiness().reason:
                await pause(0.05)
        finally:
            await sink.stop()
            await answer
            await harness.tear_down()


class KafkaPythonTests(ApacheKafkaTests, TestCase):
    client = "kafka-python"


class ExampleTests(TestCase):
    timeout = DEADLINE_S

    def test_the_example_consumer_shows_records(self) -> Deferred[None]:
        """It starts before the topic exists, and shows a field of a later version by its number."""
        return Deferred.fromCoroutine(self._example())

    async def _example(self) -> None:
        harness = ApacheKafkaHarness("confluent-kafka")
        await harness.set_up()
        consumer = subprocess.Popen(
            [
                *(sys.executable, str(EXAMPLE), harness.servers, f"{harness.namespace}_V", "--from-the-beginning"),
                *("--count", "3", "-X", "topic.metadata.refresh.interval.ms=200"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(consumer.wait)
        self.addCleanup(consumer.kill)
        settings = harness.settings(timeout_s=10, bounded=False)
        context = SinkContext(
            "kafka", settings, harness.namespace, ("V",), harness.reactor, ReadableMetrics(), ReadableLog()
        )
        sink = harness.make_sink(context)
        await sink.start()
        self.addCleanup(sink.stop)
        data = [Datum(key=key, value=Value(string_value="62.5")) for key in (Field.VehicleSpeed, 9999)]
        payload = Payload(data=data).SerializeToString()
        delivery = Delivery(sink, pause_s=0.5, timeout_s=self.timeout)
        await delivery.deliver([make_record(f"VIN{number}", payload=payload) for number in range(3)])
        output, _ = await deferToThread(consumer.communicate, None, 60)
        shown = [f'VIN{number} {field} string_value: "62.5"' for number in range(3) for field in ("9999", "VehicleSpeed")]
        self.assertEqual(sorted(output.splitlines()), shown)
        self.assertEqual(consumer.returncode, 0)
