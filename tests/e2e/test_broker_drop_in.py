"""One gateway process with a configuration in the Go server's form and every destination at once, seen from outside.

Each test holds one fact that a drop-in replacement has to keep, as vehicles, consumers or operators see it.
"""

import json
import re
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar
from unittest import TestCase
from uuid import UUID

from websockets.sync.client import ClientConnection, connect

from fleetgw.adapters.codec import envelope
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import CONNECTED, DISCONNECTED, VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, LocationValue, Payload, Value
from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.metrics.test_metrics import VECTORS
from tests.support.deadline import DEADLINE_S
from tests.support.every_sink import PROJECT, Brokers, missing
from tests.support.free_ports import free_ports
from tests.support.gateway_process import GatewayProcess
from tests.support.kafka.consumer import Consumed, consume
from tests.support.kinesis import moto
from tests.support.mqtt import consumer as mqtt
from tests.support.needed import needed
from tests.support.pubsub import subscriber as pubsub
from tests.support.redis import subscriber as redis
from tests.support.zmq_subscriber import Subscriber as ZmqSubscriber

JARS = Path(__file__).parents[2] / ".brokers" / "kafka"
NAMESPACE = "drop_in"
V_TOPIC, CONNECTIVITY_TOPIC = f"{NAMESPACE}_V", f"{NAMESPACE}_connectivity"
V_STREAM, CONNECTIVITY_STREAM = "stream_of_V", "stream_of_connectivity"
CLIENT_VERSION = "1.2.3"
NAME = "Vehicle under test"
SPOOFED_VIN = "5YJ3E1EA7KF999999"
REDIS_CHANNEL = "app-of-the-owner"
SINKS = ("kafka", "kinesis", "pubsub", "mqtt", "redis", "zmq", "logger")
SHOWN_ONCE_COUNTED = {
    "rate_limit_exceeded_total",
    "unknown_message_type_error_total",
    *(f"{sink}_reliable_ack_total" for sink in SINKS if sink not in ("kafka", "logger")),
}
"""Metrics whose labels are known only when there is something to count, or when the sink is a reliable-ack source."""

PROFILER_PAGES = ("/gc_stats", "/live_profiler?mode=off", "/debug/pprof/")

Found = TypeVar("Found")


def payload_from(vin: str) -> bytes:
    location = Datum(key=Field.Location, value=Value(string_value="(37.412374 S, 122.145867 E)"))
    name = Datum(key=Field.VehicleName, value=Value(string_value=NAME))
    return Payload(vin=vin, data=[name, location]).SerializeToString()


def answer_of(url: str, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


class DropInCase(TestCase):
    """Brokers, consumers and the gateway are shared by all tests; every record has a txid of its own."""

    @classmethod
    def setUpClass(cls) -> None:
        needed(missing(JARS))
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        cls.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cls.certs = CertificateFolder(cls.folder / "certs", 30)
        cls.certs.ensure_authority()
        cls.certs.ensure_vehicles(1)
        (vehicle,) = cls.certs.vehicle_files()
        cls.vin = vehicle.stem
        cls.tls = ssl.create_default_context(cafile=cls.certs.authority_file)
        cls.tls.load_cert_chain(vehicle, vehicle.with_suffix(".key"))
        cls.brokers = Brokers(JARS)
        stack.callback(cls.brokers.stop)
        cls.status_port, cls.metrics_port, cls.profiler_port, cls.zmq_port = free_ports(4)
        cls.consume_from(stack)
        environ = {**moto.CREDENTIALS, "PUBSUB_EMULATOR_HOST": cls.brokers.pubsub.address}
        cls.gateway = stack.enter_context(GatewayProcess(cls.folder, environ, **cls.configuration()))
        cls.port = cls.gateway.port
        cls.txids = map("txid-{}".format, count())

    @classmethod
    def consume_from(cls, stack: ExitStack) -> None:
        cls.kinesis = cls.brokers.moto.client()
        stack.callback(cls.kinesis.close)
        for stream in (V_STREAM, CONNECTIVITY_STREAM):
            cls.kinesis.create_stream(StreamName=stream, ShardCount=1)
        topics = [f"projects/{PROJECT}/topics/{topic}" for topic in (V_TOPIC, CONNECTIVITY_TOPIC)]
        cls.pubsub = pubsub.Subscriber(cls.brokers.pubsub.address, topics)
        stack.callback(cls.pubsub.close)
        cls.mqtt = mqtt.Consumer(cls.brokers.mosquitto.port, "telemetry/#")
        stack.callback(cls.mqtt.close)
        cls.zmq = ZmqSubscriber(f"tcp://127.0.0.1:{cls.zmq_port}")
        stack.callback(cls.zmq.close)
        with cls.brokers.redis.client() as client:
            client.zadd(f"subscribers_{V_TOPIC}_{{{cls.vin}}}", {REDIS_CHANNEL: time.time() + 3600})
        cls.redis = redis.Subscriber(cls.brokers.redis.client(), REDIS_CHANNEL)
        stack.callback(cls.redis.close)

    @classmethod
    def configuration(cls) -> dict[str, object]:
        return {
            "status_port": cls.status_port,
            "log_level": "info",
            "namespace": NAMESPACE,
            "reliable_ack": True,
            "reliable_ack_sources": {"V": "kafka"},
            "kafka": {
                "bootstrap.servers": cls.brokers.kafka.servers,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.ms": 50,
                "compression.type": "gzip",
            },
            "pubsub": {"gcp_project_id": PROJECT},
            "kinesis": {
                "override_host": f"http://{cls.brokers.kinesis.address}",
                "max_retries": 3,
                "streams": {"V": V_STREAM, "connectivity": CONNECTIVITY_STREAM},
            },
            "mqtt": {"broker": cls.brokers.mosquitto.address, "client_id": "gateway", "topic_base": "telemetry", "qos": 1},
            "redis": {"addrs": [cls.brokers.redis.address], "subscriber_set_prefix": "subscribers"},
            "zmq": {"addr": f"tcp://127.0.0.1:{cls.zmq_port}"},
            "monitoring": {
                "prometheus_metrics_port": cls.metrics_port,
                "profiler_port": cls.profiler_port,
                "profiling_path": str(cls.folder / "profile"),
            },
            "vins_signal_tracking_enabled": [cls.vin],
            "rate_limit": {"enabled": True, "message_interval_time": 30, "message_limit": 1000},
            "records": {
                "V": list(SINKS),
                "connectivity": ["kafka", "kinesis", "pubsub", "zmq", "logger"],
                "errors": ["pubsub"],
            },
        }

    @contextmanager
    def vehicle(self) -> Iterator[ClientConnection]:
        url = f"wss://localhost:{self.port}/"
        headers = {"Version": CLIENT_VERSION, "X-Network-Interface": "wifi"}
        with connect(url, ssl=self.tls, additional_headers=headers, compression=None, open_timeout=DEADLINE_S) as connection:
            yield connection

    def send(self, connection: ClientConnection, vin: str | None = None) -> str:
        """Send a record and wait for its ack; the record's txid."""
        txid, sender = next(self.txids), vin or self.vin
        message = envelope.write_stream(
            txid=txid.encode(),
            topic=b"V",
            sender_id=f"vehicle_device.{sender}".encode(),
            payload=payload_from(sender),
            created_at_s=1,
            device_type=b"vehicle_device",
            device_id=sender.encode(),
        )
        connection.send(message)
        self.assertEqual(connection.recv(DEADLINE_S), envelope.ack("V", txid.encode()))
        return txid

    def sent(self, vin: str | None = None) -> str:
        """A vehicle connects, sends a record and goes; the record's txid."""
        with self.vehicle() as connection:
            return self.send(connection, vin)

    def eventually(self, find: Callable[[], Found | None]) -> Found:
        """Look until there is something."""
        deadline_s = time.monotonic() + DEADLINE_S
        while (found := find()) is None:
            self.assertLess(time.monotonic(), deadline_s, self.gateway.output()[-4000:])
            time.sleep(0.05)
        return found

    def in_kafka(self, topic: str, txid: str | None = None) -> Consumed:
        def find() -> Consumed | None:
            records = consume(self.brokers.kafka.servers, [topic], 1)
            return next((one for one in records if txid in (None, dict(one.headers)["txid"].decode())), None)

        return self.eventually(find)

    def in_pubsub(self, topic: str, txid: str | None = None) -> pubsub.types.PubsubMessage:
        def find() -> pubsub.types.PubsubMessage | None:
            published = [message for name, message in self.pubsub.pull(1) if name.endswith(f"/{topic}")]
            return next((one for one in published if txid in (None, one.attributes["txid"])), None)

        return self.eventually(find)

    def in_kinesis(self, stream: str) -> moto.Consumed:
        return self.eventually(lambda: next(iter(moto.consume(self.kinesis, stream)), None))

    def on_zmq(self, topic: str) -> bytes:
        """A late subscriber misses earlier messages: vehicles connect until it receives one."""

        def find() -> bytes | None:
            self.sent()
            published = self.zmq.receive(1, 200)
            return next((payload for name, payload in published if name.decode() == topic), None)

        return self.eventually(find)

    def assert_v_metadata(self, metadata: dict[str, str], txid: str) -> None:
        expected = {"txid": txid, "txtype": "V", "vin": self.vin, "device_client_version": CLIENT_VERSION}
        self.assertEqual(metadata | expected, metadata)

    def assert_v(self, body: bytes) -> None:
        payload = Payload.FromString(body)
        self.assertEqual(payload.vin, self.vin)
        self.assertEqual({datum.key for datum in payload.data}, {Field.Location, Field.VehicleName})
        values = {datum.key: datum.value for datum in payload.data}
        self.assertEqual(values[Field.VehicleName].string_value, NAME)
        location = LocationValue(latitude=-37.412374, longitude=122.145867)
        self.assertEqual(values[Field.Location].location_value, location)

    def assert_connectivity_metadata(self, metadata: dict[str, str]) -> None:
        self.assertTrue(UUID(metadata["txid"]))
        expected = {"txtype": "connectivity", "vin": self.vin, "device_client_version": CLIENT_VERSION}
        self.assertEqual(metadata | expected, metadata)

    def assert_connectivity(self, body: bytes) -> None:
        payload = VehicleConnectivity.FromString(body)
        self.assertEqual((payload.vin, payload.network_interface), (self.vin, "wifi"))
        self.assertTrue(UUID(payload.connection_id))
        self.assertLess(abs(payload.created_at.seconds - time.time()), 600)
        self.assertIn(payload.status, (CONNECTED, DISCONNECTED))

    def on_the_vehicles_port(self, path: str) -> tuple[int, bytes]:
        return answer_of(f"https://localhost:{self.port}{path}", self.tls)

    def on_the_profiler_port(self, path: str) -> tuple[int, bytes]:
        return answer_of(f"http://127.0.0.1:{self.profiler_port}{path}")


class DropInTests(DropInCase):
    def test_v_in_kafka(self) -> None:
        txid = self.sent()
        record = self.in_kafka(V_TOPIC, txid)
        self.assertEqual((record.topic, record.key), (V_TOPIC, self.vin.encode()))
        self.assert_v_metadata({name: value.decode() for name, value in record.headers}, txid)
        self.assert_v(record.value)

    def test_a_vehicle_cannot_pass_for_another_one(self) -> None:
        txid = self.sent(SPOOFED_VIN)
        record = self.in_kafka(V_TOPIC, txid)
        self.assertEqual(record.key, self.vin.encode())
        self.assert_v_metadata({name: value.decode() for name, value in record.headers}, txid)
        self.assert_v(record.value)
        self.assertNotIn(SPOOFED_VIN.encode(), record.value)

    def test_v_in_pubsub(self) -> None:
        txid = self.sent()
        message = self.in_pubsub(V_TOPIC, txid)
        self.assert_v_metadata(dict(message.attributes), txid)
        self.assert_v(message.data)

    def test_v_in_kinesis(self) -> None:
        self.sent()
        record = self.in_kinesis(V_STREAM)
        self.assertEqual(record.partition_key, self.vin)
        self.assert_v(record.data)

    def test_v_on_mqtt(self) -> None:
        self.sent()
        topic = f"telemetry/{self.vin}/v/VehicleName"
        body = self.eventually(lambda: next((one.body for one in self.mqtt.received if one.topic == topic), None))
        self.assertEqual(json.loads(body), NAME)

    def test_v_on_redis(self) -> None:
        self.sent()
        channel, body = self.redis.wait_for(1, DEADLINE_S)[0]
        self.assertEqual(channel, REDIS_CHANNEL.encode())
        self.assert_v(body)

    def test_v_on_zmq(self) -> None:
        self.assert_v(self.on_zmq(V_TOPIC))

    def test_connectivity_in_kafka(self) -> None:
        self.sent()
        record = self.in_kafka(CONNECTIVITY_TOPIC)
        self.assertEqual((record.topic, record.key), (CONNECTIVITY_TOPIC, self.vin.encode()))
        self.assert_connectivity_metadata({name: value.decode() for name, value in record.headers})
        self.assert_connectivity(record.value)

    def test_connectivity_in_pubsub(self) -> None:
        self.sent()
        message = self.in_pubsub(CONNECTIVITY_TOPIC)
        self.assert_connectivity_metadata(dict(message.attributes))
        self.assert_connectivity(message.data)

    def test_connectivity_in_kinesis(self) -> None:
        self.sent()
        self.assert_connectivity(self.in_kinesis(CONNECTIVITY_STREAM).data)

    def test_connectivity_on_zmq(self) -> None:
        self.assert_connectivity(self.on_zmq(CONNECTIVITY_TOPIC))

    def test_status_over_mutual_tls(self) -> None:
        self.assertEqual(self.on_the_vehicles_port("/status"), (200, b"mtls ok"))

    def test_status(self) -> None:
        self.assertEqual(answer_of(f"http://127.0.0.1:{self.status_port}/status"), (200, b"ok"))

    def test_metrics_for_prometheus(self) -> None:
        self.sent()
        status, body = answer_of(f"http://127.0.0.1:{self.metrics_port}/metrics")
        self.assertEqual(status, 200)
        shown = set(re.findall(r"^\w+", body.decode(), re.MULTILINE))
        self.assertEqual({case["name"] for case in VECTORS["cases"]} - shown, SHOWN_ONCE_COUNTED)

    def test_the_profilers_pages_are_bad_requests_on_the_vehicles_port(self) -> None:
        for path in PROFILER_PAGES:
            with self.subTest(path):
                self.assertEqual(self.on_the_vehicles_port(path)[0], 400)

    def test_events_of_the_start(self) -> None:
        expected = {
            "custom_ca_file_appened": {"ca_file_path": str(self.certs.authority_file)},
            "kafka_registered": {"namespace": NAMESPACE},
            "profiler_started": {"port": self.profiler_port},
            "pubsub_registered": {"namespace": NAMESPACE},
            "pubsub_topic_created": {"topic_name": f"{NAMESPACE}_errors", "txType": "errors"},
            "redis_registered": {
                "namespace": NAMESPACE,
                "publish_vin_topics": False,
                "subscriber_set_prefix": "subscribers",
            },
            "status_server_configured": {"port": self.status_port},
        }
        for name, fields in expected.items():
            with self.subTest(name):
                event = self.gateway.wait_for(name)
                self.assertEqual(event | fields, event)
                self.assertRegex(str(event["time"]), r"T\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_every_sink_says_that_it_is_ready(self) -> None:
        self.gateway.wait_for("sink_ready", len(SINKS))
        self.assertEqual(sorted(str(event["dispatcher"]) for event in self.gateway.events("sink_ready")), sorted(SINKS))

    def test_gc_stats(self) -> None:
        self.assertEqual(self.on_the_profiler_port("/gc_stats")[0], 200)

    def test_live_profiler_is_off_already(self) -> None:
        self.assertEqual(self.on_the_profiler_port("/live_profiler?mode=off")[0], 304)

    def test_pprof(self) -> None:
        self.assertEqual(self.on_the_profiler_port("/debug/pprof/")[0], 200)
