"""The MQTT sink against a real mosquitto, which these tests start, pause, stop and restart."""

import atexit
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.mqtt.sink import MqttSink
from fleetgw.adapters.sinks.mqtt.type import MQTT
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import RECEIPT, IDispatcher, NotReady, Ready
from fleetgw.domain.records import Record
from fleetgw.simulator.certificates import make_authority, make_server, make_vehicle
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import Received
from fleetgw.testing.real_reactor import RealReactorHarness, pause, the_reactor, until
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.deadline import DEADLINE_S
from tests.support.delivery import Delivery
from tests.support.free_ports import free_port
from tests.support.mqtt.consumer import Consumer
from tests.support.mqtt.harness import REFUSED_PAYLOAD, make_mqtt_record, received_records
from tests.support.mqtt.mosquitto import Mosquitto, missing
from tests.support.needed import needed
from tests.support.record_vectors import record_of

ROOT = Path(__file__).parents[3]


def need_mosquitto() -> None:
    needed(missing())


@cache
def the_broker() -> Mosquitto:
    need_mosquitto()
    broker = Mosquitto()
    atexit.register(broker.stop)
    return broker


class MosquittoHarness(RealReactorHarness):
    confirmed_metric = "mqtt_publish_total"
    refused_metric = "mqtt_err"
    refused_labels = ("V",)
    refused_payload = REFUSED_PAYLOAD

    def __init__(self, qos: int, version: str) -> None:
        self.qos = qos
        self.version = version
        self.topic_base = f"contract-{uuid4().hex[:12]}"

    async def set_up(self) -> None:
        self.consumer = Consumer(the_broker().port, f"{self.topic_base}/#")

    async def tear_down(self) -> None:
        the_broker().start()
        self.consumer.close()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {
            "broker": the_broker().address,
            "topic_base": self.topic_base,
            "qos": self.qos,
            "protocol_version": self.version,
            "publish_timeout_ms": round(timeout_s * 1000),
            "disconnect_timeout_ms": 5_000,
            "connect_retry_interval_ms": 200,
        }

    def make_record(self, vin: str, txid: str = "tx-1", *, record_type: str = "V", payload: bytes = b"payload") -> Record:
        return make_mqtt_record(vin, txid, record_type=record_type, payload=payload)

    def make_sink(self, context: SinkContext) -> IDispatcher:
        return MqttSink(context)

    async def received(self, at_least: int) -> Sequence[Received]:
        await until(lambda: len(received_records(self.consumer.received)) >= at_least)
        return received_records(self.consumer.received)

    async def hold(self) -> None:
        the_broker().pause()

    async def release(self) -> None:
        the_broker().resume()

    async def go_away(self) -> None:
        the_broker().end()

    async def come_back(self) -> None:
        the_broker().start()


class MosquittoQos1ContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> MosquittoHarness:
        return MosquittoHarness(1, "3.1.1")


class MosquittoQos2ContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> MosquittoHarness:
        return MosquittoHarness(2, "5")


class MosquittoCase(TestCase):
    timeout = DEADLINE_S

    def setUp(self) -> None:
        self.metrics, self.log = ReadableMetrics(), ReadableLog()

    def make(self, port: int, **settings: object) -> IDispatcher:
        settings = {"broker": f"127.0.0.1:{port}", "topic_base": "t", "qos": 1, "connect_retry_interval_ms": 200} | settings
        types = ("V", "alerts", "errors", "connectivity")
        return MQTT.make(SinkContext("mqtt", settings, "ns", types, the_reactor(), self.metrics, self.log))

    async def started(self, port: int, **settings: object) -> IDispatcher:
        sink = self.make(port, **settings)
        await sink.start()
        self.addCleanup(sink.stop)
        return sink

    def consumer(self, port: int, topics: str) -> Consumer:
        consumer = Consumer(port, topics)
        self.addCleanup(consumer.close)
        return consumer


class WireTests(MosquittoCase):
    def test_a_subscriber_gets_the_messages_that_the_go_server_sends(self) -> Deferred[None]:
        """Every case of the vectors that can be published, with its topic base, QoS and retained flag."""
        return ensureDeferred(self._vectors())

    async def _vectors(self) -> None:
        port = the_broker().port
        groups: dict[tuple[str, int, bool], list[dict[str, Any]]] = {}
        for case in publishable_cases():
            groups.setdefault((case["topic_base"], case["qos"], case["retained"]), []).append(case)
        self.assertEqual(sum(map(len, groups.values())), 451)
        wrong = []
        for (topic_base, qos, retained), cases in groups.items():
            consumer = Consumer(port, f"{topic_base}/#")
            sink = self.make(port, topic_base=topic_base, qos=qos, retained=retained)
            await sink.start()
            await until(lambda sink=sink: sink.readiness() == Ready())
            for case in cases:
                before = len(consumer.received)
                expected = case["publishes"]
                self.assertEqual(list(await sink.dispatch([record_of(case)])), [RECEIPT])
                enough = before + len(expected)
                await until(lambda consumer=consumer, enough=enough: len(consumer.received) >= enough)
                received = [[each.topic, each.body.decode()] for each in consumer.received[before:]]
                if sorted(received) != sorted(expected) or any(each.qos != qos for each in consumer.received[before:]):
                    wrong.append((case["name"], received, expected))
            await sink.stop()
            consumer.close()
            if retained:
                late = Consumer(port, f"{topic_base}/#")
                await until(lambda late=late: late.received)
                self.assertTrue(late.received[0].retained)
                late.close()
        self.assertEqual(wrong, [])


class FaultTests(MosquittoCase):
    def test_the_broker_restarts_while_records_stream(self) -> Deferred[None]:
        """Twice: the subscriber has every record with a receipt, and no other message."""
        return ensureDeferred(self._mid_stream())

    async def _mid_stream(self) -> None:
        need_mosquitto()
        broker = Mosquitto()
        self.addCleanup(broker.stop)
        consumer = self.consumer(broker.port, "t/#")
        sink = await self.started(broker.port, publish_timeout_ms=1_000)
        delivery = Delivery(sink)
        for batch in range(120):
            numbers = range(batch * 25, batch * 25 + 25)
            delivery.begin([make_mqtt_record(f"VIN{number % 4}", payload=b"%d" % number) for number in numbers])
            if batch in (40, 80):
                broker.end()
                await pause(0.3)
                broker.start()
            await pause(0.01)
        await delivery.done()
        confirmed = {record.payload for record in delivery.confirmed}
        self.assertEqual(delivery.refused, [])
        self.assertEqual(len(confirmed), 3_000)
        self.assertGreater(delivery.retried, 0)
        await until(lambda: len({r.payload for r in received_records(consumer.received)}) >= 3_000)
        self.assertEqual({r.payload for r in received_records(consumer.received)}, confirmed)

    def test_the_broker_is_killed_and_restarts(self) -> Deferred[None]:
        return ensureDeferred(self._killed())

    async def _killed(self) -> None:
        need_mosquitto()
        broker = Mosquitto()
        self.addCleanup(broker.stop)
        sink = await self.started(broker.port)
        self.assertEqual(list(await sink.dispatch([make_mqtt_record("VIN")])), [RECEIPT])
        broker.kill()
        await until(lambda: sink.readiness() != Ready())
        self.assertIsInstance(sink.readiness(), NotReady)
        broker.start()
        await until(lambda: sink.readiness() == Ready())
        self.assertEqual(list(await sink.dispatch([make_mqtt_record("VIN")])), [RECEIPT])

    def test_wrong_password_then_the_right_one(self) -> Deferred[None]:
        return ensureDeferred(self._passwords())

    async def _passwords(self) -> None:
        need_mosquitto()
        passwords = subprocess.run(
            ["sh", "-c", "f=$(mktemp) && mosquitto_passwd -b $f gateway right && cat $f && rm $f"],
            check=True,
            capture_output=True,
        ).stdout
        broker = Mosquitto("password_file {folder}/passwords", {"passwords": passwords})
        self.addCleanup(broker.stop)
        sink = await self.started(broker.port, username="gateway", password="wrong")
        await until(lambda: "Not authorized" in str(sink.readiness()))
        self.assertIn("the broker refuses us: Not authorized", str(sink.readiness()))
        (outcome,) = await sink.dispatch([make_mqtt_record("VIN")])
        self.assertIn("Not authorized", str(outcome))
        sink = await self.started(broker.port, username="gateway", password="right")
        self.assertEqual(list(await sink.dispatch([make_mqtt_record("VIN")])), [RECEIPT])

    def test_a_user_who_may_not_publish(self) -> Deferred[None]:
        """With MQTT 5 the record is retryable, until an operator corrects the broker's rules."""
        return ensureDeferred(self._not_allowed())

    async def _not_allowed(self) -> None:
        need_mosquitto()
        rules = b"topic write t/VIN/v/#\n"
        broker = Mosquitto("allow_anonymous true\nacl_file {folder}/rules", {"rules": rules})
        self.addCleanup(broker.stop)
        sink = await self.started(broker.port, protocol_version="5")
        allowed, refused = await sink.dispatch([make_mqtt_record("VIN"), make_mqtt_record("VIN2")])
        self.assertEqual(allowed, RECEIPT)
        self.assertIn("not authorized", str(refused))

    def test_alert_names_that_no_topic_may_hold(self) -> Deferred[None]:
        """No name of an alert ends the session; mosquitto would end it over control characters."""
        return ensureDeferred(self._odd_names())

    async def _odd_names(self) -> None:
        odd = "+#\0\t\n\x1f\x7f\x85\x9f\ufdd0\ufffe\uffff\U0001fffe\U0010ffff"
        names = [*odd, odd, "", "a/b", "$SYS", "é\ue000\ufffd\U00010000"]
        for version in ("3.1.1", "5"):
            sink = await self.started(the_broker().port, protocol_version=version)
            records = [make_mqtt_record("VIN", record_type="alerts", payload=name.encode()) for name in names]
            self.assertEqual(list(await sink.dispatch(records)), [RECEIPT] * len(names))
            self.assertEqual(self.log.fields_of("mqtt_connection_error"), [])

    def test_poison_records_are_rejected_and_all_others_pass(self) -> Deferred[None]:
        """A message too large for the broker, and a topic with too many levels."""
        return ensureDeferred(self._poison())

    async def _poison(self) -> None:
        need_mosquitto()
        broker = Mosquitto("allow_anonymous true\nmax_packet_size 3000")
        self.addCleanup(broker.stop)
        large = make_mqtt_record("VIN", payload=b"x" * 5_000)
        deep = make_mqtt_record("VIN", record_type="alerts", payload=b"a/" * 300)
        for version, poison in (("3.1.1", [large, deep]), ("5", [deep])):
            sink = await self.started(broker.port, protocol_version=version)
            await self.others_pass(sink, poison)

    async def others_pass(self, sink: IDispatcher, poison: list[Record]) -> None:
        """Dispatch the poison records first, then others with them."""
        delivery = Delivery(sink)
        delivery.begin(poison)
        others = []
        while len(delivery.refused) < len(poison):
            others += [make_mqtt_record(f"VIN{number}", payload=b"%d" % len(others)) for number in range(10)]
            delivery.begin(others[-10:])
            await pause(0.1)
        await delivery.done()
        self.assertEqual(set(delivery.confirmed), set(others))
        self.assertEqual(set(delivery.refused), set(poison))

    def test_a_refusal_that_ends_the_session(self) -> Deferred[None]:
        """With MQTT 5 mosquitto 2.0.11 answers "not authorized" and then ends the session; others do not end it."""
        return ensureDeferred(self._shown_out())

    async def _shown_out(self) -> None:
        need_mosquitto()
        broker = Mosquitto("allow_anonymous true\nacl_file {folder}/rules", {"rules": b"topic write t/+/v/#\n"})
        self.addCleanup(broker.stop)
        sink = await self.started(broker.port, protocol_version="5")
        denied = make_mqtt_record("VIN", record_type="alerts")
        (outcome,) = await sink.dispatch([denied])
        self.assertIn("not authorized", str(outcome))
        await pause(0.2)
        if self.log.fields_of("mqtt_connection_error"):
            await self.others_pass(sink, [denied])
        else:
            self.assertEqual(list(await sink.dispatch([make_mqtt_record("VIN")])), [RECEIPT])

    def test_unreachable_names_and_ports(self) -> Deferred[None]:
        return ensureDeferred(self._nowhere())

    async def _nowhere(self) -> None:
        for broker, words in (
            (f"127.0.0.1:{free_port()}", "refused"),
            ("no-such-host.invalid:1883", "no-such-host.invalid"),
        ):
            sink = await self.started(0, broker=broker)
            await until(lambda sink=sink: "no connection" in str(sink.readiness()))
            self.assertIn(words, str(sink.readiness()))


class TlsTests(MosquittoCase):
    def setUp(self) -> None:
        super().setUp()
        need_mosquitto()
        now = datetime.now(UTC)
        self.authority = make_authority(now, 2)
        server = make_server(self.authority, ["127.0.0.1", "localhost"], now, 2)
        client = make_vehicle(self.authority, "gateway", now, 2)
        self.other = make_authority(now, 2, "another authority")
        files = {
            "ca.crt": self.authority.certificate_pem(),
            "server.crt": server.certificate_pem(),
            "server.key": server.key_pem(),
            "client.crt": client.certificate_pem(),
            "client.key": client.key_pem(),
            "other.crt": self.other.certificate_pem(),
        }
        tls = "cafile {folder}/ca.crt\ncertfile {folder}/server.crt\nkeyfile {folder}/server.key\nrequire_certificate true\n"
        self.broker = Mosquitto(tls + "allow_anonymous true", files)
        self.addCleanup(self.broker.stop)

    def tls(self, ca: str = "ca.crt", *, certificate: bool = True) -> dict[str, object]:
        folder = self.broker.folder
        own = {"server_cert": f"{folder}/client.crt", "server_key": f"{folder}/client.key"} if certificate else {}
        return {"tls": {"ca_file": f"{folder}/{ca}"} | own}

    def test_client_certificate(self) -> Deferred[None]:
        return ensureDeferred(self._client_certificate())

    async def _client_certificate(self) -> None:
        for broker in (f"mqtts://{self.broker.address}", f"localhost:{self.broker.port}"):
            sink = await self.started(0, broker=broker, **self.tls())
            records = [make_mqtt_record("VIN", payload=bytes(10_000).replace(b"\0", b"x"))] * 100
            self.assertEqual(list(await sink.dispatch(records)), [RECEIPT] * 100)

    def test_tls_settings_that_do_not_lead_to_a_session(self) -> Deferred[None]:
        return ensureDeferred(self._no_session())

    async def _no_session(self) -> None:
        port = self.broker.port
        for settings, words in (
            (self.tls("other.crt"), "certificate verify failed"),
            (self.tls(certificate=False), ""),
            ({}, ""),
            ({"broker": f"mqtts://{the_broker().address}"} | self.tls(), ""),
        ):
            sink = await self.started(port, **settings)
            await until(lambda sink=sink: "connecting to" not in str(sink.readiness()))
            self.assertIsInstance(sink.readiness(), NotReady)
            self.assertIn(words, str(sink.readiness()))
            self.assertNotIn("connecting to", str(sink.readiness()))

    def test_over_websocket(self) -> Deferred[None]:
        """In plaintext and over TLS, with large records, and over a restart of the broker."""
        return ensureDeferred(self._websocket())

    async def _websocket(self) -> None:
        plain, secure = free_port(), free_port()
        more = (
            f"allow_anonymous true\nlistener {plain} 127.0.0.1\nprotocol websockets\n"
            f"listener {secure} 127.0.0.1\nprotocol websockets\n"
        )
        tls = "cafile {folder}/ca.crt\ncertfile {folder}/server.crt\nkeyfile {folder}/server.key\n"
        files = {path.name: path.read_bytes() for path in self.broker.folder.glob("*.*") if path.suffix in (".crt", ".key")}
        broker = Mosquitto(more + tls, files)
        self.addCleanup(broker.stop)
        sinks = [
            await self.started(0, broker=f"ws://127.0.0.1:{plain}/mqtt"),
            await self.started(0, broker=f"wss://localhost:{secure}", **self.tls(certificate=False)),
        ]
        for sink in sinks:
            await until(lambda sink=sink: sink.readiness() == Ready())
            records = [make_mqtt_record("VIN", payload=b"x" * 10_000)] * 100
            self.assertEqual(list(await sink.dispatch(records)), [RECEIPT] * 100)
        broker.kill()
        for sink in sinks:
            await until(lambda sink=sink: sink.readiness() != Ready())
        broker.start()
        for sink in sinks:
            await until(lambda sink=sink: sink.readiness() == Ready())
            self.assertEqual(list(await sink.dispatch([make_mqtt_record("VIN")])), [RECEIPT])
        sink = await self.started(0, broker=f"ws://{broker.address}")
        await until(lambda: "no MQTT over WebSocket" in str(sink.readiness()))


class ExampleTests(MosquittoCase):
    def test_the_example_consumer_shows_records(self) -> Deferred[None]:
        return ensureDeferred(self._example())

    async def _example(self) -> None:
        port = the_broker().port
        sink = await self.started(port, topic_base="example", retained=True)
        self.assertEqual(list(await sink.dispatch([make_mqtt_record("VIN", payload=b"My car")])), [RECEIPT])
        shown = subprocess.run(
            [
                sys.executable,
                str(ROOT / "examples" / "consumers" / "mqtt.py"),
                f"127.0.0.1:{port}",
                "example",
                "--count",
                "1",
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        ).stdout
        self.assertEqual(shown, 'VIN VehicleName "My car"\n')


def publishable_cases() -> list[dict[str, Any]]:
    """The cases of the vectors with the published messages."""
    folder = ROOT / "tests" / "vectors"
    cases = json.loads((folder / "mqtt.json").read_text())["cases"]
    differences = json.loads((folder / "mqtt_differences.json").read_text())["cases"]
    ours = {case["name"]: case["publishes"] for case in differences}
    published = [case | {"publishes": ours.get(case["name"], case.get("publishes"))} for case in cases]
    return [case for case in published if case["publishes"] is not None]
