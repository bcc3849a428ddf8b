"""Faults in what a vehicle sends: frames, fragments, compression, envelopes, names, senders; honest vehicles beside it."""

from random import Random

from fleetgw.adapters.codec import envelope
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleError, VehicleErrors
from tests.support.faults.brokers import the_mosquitto
from tests.support.faults.case import FaultCase, bounded
from tests.support.faults.connection import BINARY, PONG, Connection, upgrade_request
from tests.support.faults.process_facts import resident_mib
from tests.support.faults.records import CUSTOM_TYPE, frame, message, payload_of
from tests.support.mqtt.consumer import Consumer

LIMIT = 65_536
MEMORY_MIB = 40

CONTINUATION, PING = b"\x00\x80mask", b"\x89\x80mask"
TO_THE_LOG = {CUSTOM_TYPE: ["sqlite"], "V": ["logger"], "alerts": ["logger"], "errors": ["logger"]}


def announced(length: int) -> bytes:
    """The header of a masked binary frame."""
    return b"\x82\xff" + length.to_bytes(8) + b"mask"


class FrameCase(FaultCase):
    def setUp(self) -> None:
        super().setUp()
        self.vin = self.certificates.vehicle_files()[-1].stem

    def answers(self, connection: Connection, number: int) -> list[envelope.Envelope]:
        """The next messages of the gateway."""
        found: list[envelope.Envelope] = []
        while len(found) < number:
            found += [envelope.read(content) for opcode, content in connection.frames() if opcode == BINARY]
        return found


class FrameTests(FrameCase):
    def test_giant_lengths(self) -> None:
        with self.load(limits={"max_frame_bytes": LIMIT, "max_message_bytes": LIMIT}) as (gateway, _):
            before_mib = resident_mib(gateway.pid, "VmHWM")
            for length, code in ((LIMIT + 1, 1009), (2**31, 1009), (2**63 - 1, 1009), (2**63, 1002)):
                connection = self.connect()
                connection.send(announced(length))
                self.assertEqual(connection.wait_for_close(), code, length)
            self.assertLess(resident_mib(gateway.pid, "VmHWM") - before_mib, MEMORY_MIB)
            for size in (LIMIT - 1, LIMIT):
                connection = self.connect()
                connection.send(frame(bytes(size)))
                connection.send(frame(message(b"x", self.vin, "unrouted")))
                self.assertEqual(self.answers(connection, 2)[-1].txid, b"x", "the connection stands")

    def test_fragments(self) -> None:
        with self.load() as (gateway, _):
            before_mib = resident_mib(gateway.pid, "VmHWM")
            connection = self.connect()
            whole = message(b"in-two", self.vin, "unrouted")
            connection.send(frame(whole[:50], 0x02) + PING)
            while not any(opcode == PONG for opcode, _ in connection.frames()):
                pass
            connection.send(frame(whole[50:], 0x80))
            self.assertEqual(self.answers(connection, 1)[0].txid, b"in-two")
            connection.send(b"\x02\x80mask")
            sent = 0
            while sent < 1_000_000 and not connection.is_readable(0):
                connection.send(CONTINUATION * 500)
                sent += 500
            self.assertEqual(connection.wait_for_close(), 1008)
            self.assertLess(sent, 1_000_000)
            self.assertLess(resident_mib(gateway.pid, "VmHWM") - before_mib, MEMORY_MIB)

    def test_compression(self) -> None:
        with self.load():
            connection = Connection(("localhost", self.port), self.hostile_tls())
            self.addCleanup(connection.close)
            connection.send(upgrade_request()[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
            answer = connection.receive()
            self.assertTrue(answer.startswith(b"HTTP/1.1 101"), answer)
            self.assertNotIn(b"extensions", answer.lower())
            connection.send(b"\xc2\x80mask")
            self.assertEqual(connection.wait_for_close(), 1002)


class EnvelopeTests(FrameCase):
    def test_damaged_envelopes(self) -> None:
        """Any bytes changed anywhere: every message gets one answer, and honest vehicles wait for nothing."""
        number = bounded(5000, 200_000)
        random = Random(1)
        with self.load(records=TO_THE_LOG) as (gateway, vehicles):
            before_mib = resident_mib(gateway.pid)
            connection = self.connect()
            whole = message(b"txid", self.vin, "V")
            with self.undisturbed(gateway, vehicles):
                for _ in range(number // 100):
                    connection.send(b"".join(self.damaged(whole, random) for _ in range(100)))
                    self.answers(connection, 100)
                vehicles.wait_for_acks(100)
            self.assertLess(resident_mib(gateway.pid) - before_mib, MEMORY_MIB)

    def damaged(self, whole: bytes, random: Random) -> bytes:
        """A frame with some bytes of a message changed, cut off anywhere."""
        content = bytearray(whole)
        for _ in range(random.randint(1, 6)):
            content[random.randrange(len(content))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        return frame(bytes(content[: random.randrange(4, len(content) + 1)]))

    def test_deep_and_huge_payloads(self) -> None:
        groups = b"\x0b" * 100_000 + b"\x0c" * 100_000
        nested = b""
        for _ in range(2000):
            nested = b"\x0a" + bytes((len(nested) & 0x7F | 0x80, len(nested) >> 7)) + nested
        many = b"\x0a\x00" * 400_000
        with self.load(records=TO_THE_LOG) as (gateway, vehicles):
            before_mib = resident_mib(gateway.pid, "VmHWM")
            connection = self.connect()
            with self.undisturbed(gateway, vehicles):
                for number in range(bounded(20, 500)):
                    for record_type in ("V", "alerts", "errors"):
                        for payload in (groups, nested, many):
                            txid = f"{record_type}-{number}".encode()
                            connection.send(frame(message(txid, self.vin, record_type, payload)))
                            self.assertEqual(self.answers(connection, 1)[0].txid, txid)
                vehicles.wait_for_acks(100)
            self.assertLess(resident_mib(gateway.pid, "VmHWM") - before_mib, 2 * MEMORY_MIB)


class NameTests(FrameCase):
    NAMES = (
        "a+b",
        "a#",
        "#",
        "+",
        "a/b",
        "a/../b",
        "$SYS",
        "nul\0inside",
        "line\nbreak",
        "",
        "ü" * 100,
        "x" * 257,
        "/" * 33,
    )

    def test_names_of_alerts_in_topics(self) -> None:
        """A name becomes levels of the vehicle's own topic, escaped where MQTT needs it, or the record is refused."""
        mqtt = {"broker": the_mosquitto().address, "topic_base": self.vin.lower(), "qos": 1}
        records = {CUSTOM_TYPE: ["sqlite"], "alerts": ["mqtt"]}
        consumer = Consumer(the_mosquitto().port, f"{self.vin.lower()}/#")
        self.addCleanup(consumer.close)
        policies = {CUSTOM_TYPE: "sqlite", "alerts": "mqtt"}
        with self.load(records=records, mqtt=mqtt, ack_policies=policies):
            connection = self.connect()
            acked = set()
            for name in self.NAMES:
                alert = VehicleAlerts(alerts=[VehicleAlert(name=name)]).SerializeToString()
                connection.send(frame(message(name[:9].encode(), self.vin, "alerts", alert)))
                if self.answers(connection, 1)[0].message_type == envelope.STREAM_ACK:
                    acked.add(name)
            self.assertLessEqual({"a+b", "a#", "a/b", "$SYS"}, acked)
            self.assertTrue(acked.isdisjoint({"x" * 257, "/" * 33}))
            topics = {one.topic for one in consumer.received}
            self.assertTrue(topics)
            for topic in topics:
                self.assertTrue(topic.startswith(f"{self.vin.lower()}/{self.vin}/alerts/"), topic)
                self.assertTrue(set("+#\0").isdisjoint(topic), topic)

    def test_record_types_in_metrics(self) -> None:
        """Types of any bytes are acknowledged; the metrics' labels come from a closed set."""
        random = Random(2)
        with self.load():
            connection = self.connect()
            for number in range(bounded(200, 5000)):
                topic = random.choice((b"a+b", b"#", b"x/y", b"\0", b"\xff\xfe", random.randbytes(8)))
                content = envelope.write_stream(
                    txid=b"%d" % number,
                    topic=topic,
                    sender_id=b"vehicle_device." + self.vin.encode(),
                    payload=b"",
                    created_at_s=1,
                    device_type=b"vehicle_device",
                    device_id=self.vin.encode(),
                )
                connection.send(frame(content))
                self.assertEqual(self.answers(connection, 1)[0].txid, b"%d" % number)
            labels = [line for line in self.metrics().splitlines() if line.startswith("unrouted_records_total{")]
            self.assertLess(len(labels), 100)


class SenderTests(FrameCase):
    def test_sender_of_another_vehicle(self) -> None:
        """The VIN of the certificate wins for every routed type; a type that is not routed is refused."""
        other = self.certificates.vehicle_files()[0].stem
        payloads = {
            "V": payload_of(b"t", other, "V"),
            "alerts": VehicleAlerts(vin=other, alerts=[VehicleAlert(name="a")]).SerializeToString(),
            "errors": VehicleErrors(vin=other, errors=[VehicleError(name="e")]).SerializeToString(),
        }
        with self.load(records=TO_THE_LOG) as (gateway, _):
            connection = self.connect()
            for record_type, payload in payloads.items():
                connection.send(frame(message(record_type.encode(), other, record_type, payload)))
                self.assertEqual(self.answers(connection, 1)[0].message_type, envelope.STREAM_ACK)
            gateway.wait_for("record_payload", len(payloads))
            for entry in gateway.events("record_payload"):
                self.assertNotIn(other, str(entry))
                self.assertEqual(entry["vin"], self.vin)
            connection.send(frame(message(b"u", other, "unrouted")))
            self.assertNotEqual(self.answers(connection, 1)[0].message_type, envelope.STREAM_ACK)
            self.assertEqual(self.metric("unauthorized_sender_id_total"), 1)
