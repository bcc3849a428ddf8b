"""The codec beyond the golden vectors: its port, connectivity records, bounds on hostile input."""

import json
from unittest import TestCase

from zope.interface.verify import verifyObject

from fleetgw.adapters.codec import RecordCodec
from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent, VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from fleetgw.adapters.codec.payload import MAX_ELEMENTS
from fleetgw.domain.errors import MalformedEnvelope, MalformedPayload
from fleetgw.domain.ports import ConnectivityStatus, IRecordCodec
from fleetgw.domain.records import Envelope, PeerIdentity, Vehicle

VIN = "5YJ3E1EA7KF000001"
VEHICLE = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "c2dc3bf2-9793-4dca-95ac-dbdcd8c3c2fc", "1.0", "wifi")
CREATED_AT_NS = 1_764_000_000_123_456_789


def with_text(key: int, text: str) -> bytes:
    """A ``V`` payload of one datum."""
    return Payload(data=[Datum(key=key, value=Value(string_value=text))]).SerializeToString()  # type: ignore[arg-type]  # any number


class RecordCodecTests(TestCase):
    def setUp(self) -> None:
        self.codec = RecordCodec(transmit_decoded_records=False)

    def read(self, payload: bytes, codec: RecordCodec | None = None) -> Payload:
        envelope = Envelope(4, True, b"tx", b"V", b"", payload)
        content = (codec or self.codec).read_record("V", envelope, VEHICLE, 7).content
        if not isinstance(content, Payload):
            raise AssertionError(content)
        return content

    def test_provides_its_port(self) -> None:
        self.assertTrue(verifyObject(IRecordCodec, self.codec))

    def test_record_of_a_known_type(self) -> None:
        envelope = Envelope(4, True, b"tx", b"V", b"", with_text(Field.VehicleName, "x"))
        record = self.codec.read_record("V", envelope, VEHICLE, 7)
        self.assertEqual(
            (record.record_type, record.txid, record.vehicle, record.received_at_ms, record.signals),
            ("V", b"tx", VEHICLE, 7, 1),
        )
        self.assertEqual(Payload.FromString(record.payload), record.content)
        self.assertEqual(Payload.FromString(record.payload).vin, VIN)

    def test_record_of_a_custom_type(self) -> None:
        record = self.codec.read_record("custom", Envelope(4, True, b"", b"custom", b"", b"\xff"), VEHICLE, 7)
        self.assertEqual((record.payload, record.content, record.signals), (b"\xff", None, 0))

    def test_the_error_of_a_malformed_payload_names_the_fault(self) -> None:
        with self.assertRaisesRegex(MalformedPayload, "payload of type V does not parse"):
            self.read(b"\xff")

    def test_the_error_of_a_malformed_envelope_names_the_fault(self) -> None:
        with self.assertRaisesRegex(MalformedEnvelope, "outside the message"):
            self.codec.read_envelope(b"\xff\xff\xff\xff")

    def test_the_error_of_a_timestamp_without_json_form_names_the_fault(self) -> None:
        payload = Payload()
        payload.created_at.seconds = 253_402_300_800
        with self.assertRaisesRegex(MalformedPayload, "years 1 to 9999"):
            self.read(payload.SerializeToString(), RecordCodec(transmit_decoded_records=True))

    def test_connectivity(self) -> None:
        for status, event in (
            (ConnectivityStatus.CONNECTED, ConnectivityEvent.CONNECTED),
            (ConnectivityStatus.DISCONNECTED, ConnectivityEvent.DISCONNECTED),
        ):
            with self.subTest(status):
                record = self.codec.connectivity(VEHICLE, status, CREATED_AT_NS)
                self.assertEqual(
                    (record.record_type, record.txid, record.vehicle, record.received_at_ms, record.signals),
                    ("connectivity", VEHICLE.connection_id.encode(), VEHICLE, 1_764_000_000_123, 0),
                )
                content = VehicleConnectivity.FromString(record.payload)
                self.assertEqual(content, record.content)
                self.assertEqual(
                    (content.vin, content.connection_id, content.status, content.network_interface),
                    (VIN, VEHICLE.connection_id, event, "wifi"),
                )
                self.assertEqual(content.created_at.ToNanoseconds(), CREATED_AT_NS)

    def test_connectivity_as_json(self) -> None:
        codec = RecordCodec(transmit_decoded_records=True)
        record = codec.connectivity(VEHICLE, ConnectivityStatus.CONNECTED, CREATED_AT_NS)
        self.assertEqual(
            json.loads(record.payload),
            {
                "vin": VIN,
                "connectionId": VEHICLE.connection_id,
                "status": "CONNECTED",
                "createdAt": "2025-11-24T16:00:00.123456789Z",
                "networkInterface": "wifi",
            },
        )

    def test_record_type_that_is_not_utf8_is_acked_as_it_came(self) -> None:
        ack = self.codec.read_envelope(envelope_form.ack(b"\xff\x80".decode("utf-8", "surrogateescape"), b"tx"))
        self.assertEqual((ack.topic, ack.txid), (b"\xff\x80", b"tx"))


class HostileInputTests(TestCase):
    """The cost of a message grows only with its size: otherwise each of these would take minutes or all memory."""

    def setUp(self) -> None:
        self.codec = RecordCodec(transmit_decoded_records=False)

    def read(self, payload: bytes) -> bytes:
        return self.codec.read_record("V", Envelope(4, True, b"", b"", b"", payload), VEHICLE, 0).payload

    def test_long_texts(self) -> None:
        digits, spaces = "1" * 400_000, " " * 400_000
        for name, text in {
            "digits in a location": f"({digits}.{digits} N, ",
            "spaces in a location": f"({spaces}1{spaces}",
            "digits in a number": f"{digits}.{digits}e",
            "points": ".1" * 400_000,
        }.items():
            with self.subTest(name):
                wanted = Payload.FromString(with_text(Field.Location, text))
                wanted.vin = VIN
                self.assertEqual(Payload.FromString(self.read(with_text(Field.Location, text))), wanted)

    def test_number_half_way_between_two_floats(self) -> None:
        payload = Payload.FromString(self.read(with_text(Field.Soc, "16777217." + "0" * 900_000 + "1e0")))
        self.assertEqual(payload.data[0].value.string_value, "16777218.00000")

    def test_deep_groups(self) -> None:
        with self.assertRaises(MalformedPayload):
            self.read(b"\x4b" * 400_000 + b"\x4c" * 400_000)

    def test_elements_of_a_record_are_bounded(self) -> None:
        element = b"\x0a\x00"
        for record_type in ("V", "alerts", "errors"):
            with self.subTest(record_type):
                most = Envelope(4, True, b"", b"", b"", element * MAX_ELEMENTS)
                self.codec.read_record(record_type, most, VEHICLE, 0)
                with self.assertRaisesRegex(MalformedPayload, f"at most {MAX_ELEMENTS}"):
                    self.codec.read_record(record_type, most._replace(payload=element * (MAX_ELEMENTS + 1)), VEHICLE, 0)
