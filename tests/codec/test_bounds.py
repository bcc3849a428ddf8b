"""Bounds on the content of one record; a record beyond them is refused before it costs anything."""

from unittest import TestCase, mock

from fleetgw.adapters.codec import RecordCodec, codec, payload
from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.adapters.codec.codec import MAX_JSON_BYTES
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleError, VehicleErrors
from fleetgw.adapters.codec.payload import MAX_ELEMENTS, MAX_FIELDS, MAX_NAME_BYTES, MAX_NAME_LEVELS
from fleetgw.adapters.codec.unknown_values import MAX_NAMED
from fleetgw.domain.errors import MalformedEnvelope, MalformedPayload
from fleetgw.domain.records import MAX_ID_BYTES, Envelope, PeerIdentity, Record, Vehicle

VIN = "5YJ3E1EA7KF000001"
VEHICLE = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "c2dc3bf2-9793-4dca-95ac-dbdcd8c3c2fc")
HALF_A_MILLION = 495_000


def field(tag: int, content: bytes) -> bytes:
    size, written = len(content), b""
    while size > 0x7F:
        written += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([tag]) + written + bytes([size]) + content


class BoundsCase(TestCase):
    def read(self, record_type: str, payload: bytes, *, as_json: bool = False) -> Record:
        envelope = Envelope(4, True, b"tx", record_type.encode(), b"", payload)
        return RecordCodec(transmit_decoded_records=as_json).read_record(record_type, envelope, VEHICLE, 7)

    def assert_refused(self, bound: str, record_type: str, payload: bytes, *, as_json: bool = False) -> None:
        with self.assertRaises(MalformedPayload) as caught:
            self.read(record_type, payload, as_json=as_json)
        self.assertEqual(caught.exception.bound, bound, str(caught.exception))


class FieldsTests(BoundsCase):
    def test_refused_before_the_parse(self) -> None:
        doors = field(0x0A, b"\x08\x05" + field(0x12, b"\xaa\x01\x00"))
        with (
            mock.patch.object(payload, "_parse_data", side_effect=AssertionError("parsed")),
            mock.patch.object(payload, "_ErrorsWithListedTags", None),
            mock.patch.object(payload, "VehicleAlerts", None),
            mock.patch.object(payload, "VehicleConnectivity", None),
        ):
            for name, (record_type, hostile) in {
                "empty signals": ("V", b"\x0a\x00" * HALF_A_MILLION),
                "signals with doors": ("V", doors * MAX_FIELDS),
                "kinds of a value in turn": ("V", field(0x0A, field(0x12, b"\x3a\x00\xaa\x01\x00" * MAX_FIELDS))),
                "unknown fields": ("V", b"\xf8\x7f\x01" * 330_000),
                "groups": ("V", b"\x7b\x7c" * HALF_A_MILLION),
                "deep groups": ("V", b"\x7b" * 990_000),
                "the vin again and again": ("V", b"\x1a\x00" * HALF_A_MILLION),
                "audiences": ("alerts", field(0x0A, field(0x12, b"\x01" * 990_000))),
                "audiences one by one": ("alerts", field(0x0A, b"\x10\x01" * HALF_A_MILLION)),
                "audiences in many alerts": ("alerts", field(0x0A, field(0x12, b"\x01" * 100)) * 9_000),
                "times": ("alerts", field(0x0A, b"\x1a\x00\x22\x00" * 200_000)),
                "empty tags": ("errors", field(0x0A, b"\x1a\x00" * HALF_A_MILLION)),
                "tags of many errors": ("errors", field(0x0A, b"\x1a\x00" * 20) * 20_000),
                "a custom kind of field": ("connectivity", b"\x0a\x00" * HALF_A_MILLION),
            }.items():
                with self.subTest(name):
                    self.assert_refused("fields", record_type, hostile)

    def test_one_large_text_is_one_field(self) -> None:
        body = VehicleErrors(errors=[VehicleError(name="e", body="x" * 900_000)]).SerializeToString()
        self.assertEqual(self.read("errors", body).elements, 1)
        self.assertEqual(len(self.read("custom", b"\x0a\x00" * HALF_A_MILLION).payload), 2 * HALF_A_MILLION)

    def test_short_payloads_are_not_scanned(self) -> None:
        with mock.patch.object(payload, "count_fields", side_effect=AssertionError("looked at")):
            self.read("V", Payload(data=[Datum(key=1, value=Value(string_value="x" * 20))] * 250).SerializeToString())


class ElementsTests(BoundsCase):
    def test_nested_ones_count(self) -> None:
        half = MAX_ELEMENTS // 2
        tags = {str(number): "" for number in range(half)}
        for record_type, most, too_many in (
            (
                "alerts",
                VehicleAlerts(alerts=[VehicleAlert(audiences=[1])] * half),  # type: ignore[list-item]  # numbers
                VehicleAlerts(alerts=[VehicleAlert(audiences=[1] * MAX_ELEMENTS)]),  # type: ignore[list-item]
            ),
            (
                "errors",
                VehicleErrors(errors=[VehicleError(tags=tags), *[VehicleError()] * (half - 1)]),
                VehicleErrors(errors=[VehicleError(tags=tags), *[VehicleError()] * half]),
            ),
        ):
            with self.subTest(record_type):
                self.assertEqual(self.read(record_type, most.SerializeToString()).elements, MAX_ELEMENTS)
                self.assert_refused("elements", record_type, too_many.SerializeToString())

    def test_replaced_fields_take_no_memory(self) -> None:
        kinds = field(0x0A, field(0x12, b"\x3a\x00\xaa\x01\x00" * 1000))
        for hostile, parses in ((kinds, 2), (Payload(data=[Datum(key=1)] * 300).SerializeToString(), 1)):
            with mock.patch.object(payload, "_parse_data", side_effect=Payload.FromString) as parse:
                payload._data(hostile, VIN)
            self.assertEqual(parse.call_count, parses)

    def test_few_signals_of_unknown_kind_are_named(self) -> None:
        keys = [bytes([0x80 | number & 0x7F, 0x10 + (number >> 7)]) for number in range(MAX_NAMED + 50)]
        unknown = b"".join(field(0x0A, b"\x08" + key + b"\x12\x03\xf8\x7f\x01") for key in keys)
        self.assertEqual(len(self.read("V", unknown).unknown_values), MAX_NAMED)


class NamesTests(BoundsCase):
    def test_length_and_levels(self) -> None:
        for name, bound in (
            ("n" * MAX_NAME_BYTES, None),
            ("n" * (MAX_NAME_BYTES + 1), "name"),
            ("ä" * (MAX_NAME_BYTES // 2), None),
            ("ä" * (MAX_NAME_BYTES // 2 + 1), "name"),
            ("n" * 900_000, "name"),
            ("/" * MAX_NAME_LEVELS, None),
            ("/" * (MAX_NAME_LEVELS + 1), "name"),
            ("a/b + c#d", None),
            ("", None),
        ):
            for record_type, content in (
                ("alerts", VehicleAlerts(alerts=[VehicleAlert(name="fine"), VehicleAlert(name=name)])),
                ("errors", VehicleErrors(errors=[VehicleError(name=name)])),
                ("errors", VehicleErrors(errors=[VehicleError(tags={name: ""})])),
            ):
                with self.subTest(f"{name[:9]} {len(name)}", record_type=record_type):
                    if bound is None:
                        self.read(record_type, content.SerializeToString())
                    else:
                        self.assert_refused(bound, record_type, content.SerializeToString())


class JsonTests(BoundsCase):
    def test_the_size_is_bounded(self) -> None:
        content = Payload(data=[Datum(key=Field.VehicleName, value=Value(string_value='"' * 900_000))]).SerializeToString()
        self.assertLess(len(self.read("V", content, as_json=True).payload), MAX_JSON_BYTES)
        small = RecordCodec(transmit_decoded_records=True, max_json_bytes=1_500_000)
        with self.assertRaises(MalformedPayload) as caught:
            small.read_record("V", Envelope(4, True, b"", b"V", b"", content), VEHICLE, 7)
        self.assertEqual(caught.exception.bound, "json")

    def test_a_text_of_control_characters_is_refused_before_it_is_written(self) -> None:
        content = VehicleErrors(errors=[VehicleError(body="\x01" * 900_000)]).SerializeToString()
        with mock.patch.object(codec, "to_json", side_effect=AssertionError("written")):
            self.assert_refused("json", "errors", content, as_json=True)
        self.assertEqual(self.read("errors", content).elements, 1)


class EnvelopeTests(TestCase):
    def message(self, txid: bytes, topic: bytes) -> bytes:
        return envelope_form.write_stream(
            txid=txid, topic=topic, sender_id=b"", payload=b"p", created_at_s=1, device_type=b"", device_id=b""
        )

    def test_txids_and_topics_are_bounded_in_every_layout(self) -> None:
        most = b"x" * MAX_ID_BYTES
        for name, (txid, topic, bound) in {
            "as long as may be": (most, most, None),
            "a long txid": (most + b"x", b"V", "txid"),
            "a long topic": (b"t", most + b"x", "topic"),
            "a very long txid": (b"x" * 990_000, b"V", "txid"),
        }.items():
            stream, ack = self.message(txid, topic), envelope_form.ack(topic.decode(), txid)
            # a vtable of one more byte is none of the usual ones
            unusual = stream[:6] + b"\x0f" + stream[7:]
            for message in (stream, unusual, ack):
                with self.subTest(name):
                    if bound is None:
                        envelope = envelope_form.read(message)
                        self.assertEqual((envelope.txid, envelope.topic), (txid, topic))
                        continue
                    with self.assertRaisesRegex(MalformedEnvelope, f"at most {MAX_ID_BYTES}") as caught:
                        envelope_form.read(message)
                    self.assertEqual(caught.exception.bound, bound)
