"""Canonical payloads of ``V`` records: C and its twin against each other, and against protobuf with the rewrites."""

import json
from pathlib import Path
from unittest import TestCase, mock, skipUnless

from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from fleetgw.adapters.codec import RecordCodec, canonical, payload
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from fleetgw.adapters.codec.payload import MAX_ELEMENTS, MAX_FIELDS
from fleetgw.adapters.codec.transforms import exponent_text
from fleetgw.adapters.speedups import SPEEDUPS
from fleetgw.domain.errors import MalformedPayload
from fleetgw.domain.records import Envelope, PeerIdentity, Record, Vehicle
from tests.codec.test_codec_properties import payloads
from tests.fuzz.comparisons import in_c
from tests.support.protobuf_wire import field, varint
from tests.support.speedups import speedups

VIN = "5YJ3E1EA7KF000001"
VEHICLE = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "c")
VECTORS = Path(__file__).parents[1] / "vectors" / "records.json"
GOLDEN = sorted({case["payload"] for case in json.loads(VECTORS.read_text())["cases"] if case["type"] == "V"})
TABLE = canonical.make_table()
HOSTILE_LENGTHS = (b"\xff" * 4 + b"\x0f", b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x7f", b"\x80" * 10 + b"\x01", b"\x80" * 20)


def datum(value: bytes, key: bytes = b"\x08\x08") -> bytes:
    return field(1, key + field(2, value))


def time(second: bytes) -> bytes:
    return datum(field(31, second))


class CanonicalCase(TestCase):
    functions = [canonical.rewrite_data, *in_c("rewrite_data")]

    def rewritten(self, given: bytes, vin: str = VIN, most: int = MAX_ELEMENTS) -> tuple[bytes, int] | None:
        """The result of all functions, which is that of protobuf unless it is None."""
        result, *others = [function(given, vin, TABLE, most) for function in self.functions]
        for other in others:
            self.assertEqual(other, result, given.hex())
        if result is not None:
            _, serialised, signals, elements, unknown = payload._data(given, vin)
            self.assertEqual((*result, ()), (serialised, signals, unknown), given.hex())
            self.assertEqual(signals, elements)
        return result


class RulesTests(CanonicalCase):
    """Each rule with payloads that keep it, and some that break it: protobuf writes those otherwise, or refuses them."""

    def take(self, *payloads: bytes) -> None:
        for each in payloads:
            self.assertIsNotNone(self.rewritten(each), each.hex())
            self.assertEqual(Payload.FromString(each).SerializeToString(), each)

    def leave(self, *payloads: bytes) -> None:
        for each in payloads:
            self.assertIsNone(self.rewritten(each), each.hex())

    def test_the_extension(self) -> None:
        """Present, as all tests of this module also run without it; it refuses arguments of other types."""
        rewrite = speedups().rewrite_data
        for wrong in ((), (b"", VIN, TABLE), (b"", VIN, TABLE, 9, None), ("", VIN, TABLE, 9), (bytearray(), VIN, TABLE, 9)):
            self.assertRaises(TypeError, rewrite, *wrong)
        for wrong in (
            (b"", VIN.encode(), TABLE, 9),
            (b"", VIN, [TABLE], 9),
            (b"", VIN, TABLE, "9"),
            (b"", VIN, TABLE, None),
        ):
            self.assertRaises(TypeError, rewrite, *wrong)
        self.assertRaises(OverflowError, rewrite, b"", VIN, TABLE, 1 << 70)

    def test_fields_ascend(self) -> None:
        data, created, vin, resend = datum(b"\x50\x01"), field(2, b"\x08\x05"), field(3, b"v"), b"\x20\x01"
        self.take(data + created + vin + resend, data + vin, created + resend, resend, b"")
        self.leave(created + data, vin + created, resend + vin, data + resend + data)
        self.leave(field(1, b"\x12\x00\x08\x01"), field(2, b"\x10\x01\x08\x01"), time(b"\x18\x01\x08\x01"))

    def test_fields_occur_once(self) -> None:
        self.take(datum(b"\x50\x01") * 2)
        self.leave(field(1, b"\x08\x01\x08\x01"), field(1, b"\x12\x00\x12\x00"))
        self.leave(b"\x12\x00" * 2, field(3, b"v") * 2, b"\x20\x01" * 2)
        self.leave(field(2, b"\x08\x01\x08\x01"), time(b"\x08\x01\x08\x01"), datum(field(7, b"\x09a234567\xc0" * 2)))

    def test_a_value_has_one_case(self) -> None:
        self.take(datum(b"\x30\x01"), datum(b""), field(1, b""), field(1, b"\x08\x01"), field(1, b"\x12\x00"))
        self.leave(datum(b"\x30\x01\x50\x01"), datum(b"\x30\x01\x30\x01"))
        self.leave(datum(b"\x0a\x01x\x50\x01"), datum(b"\xaa\x01\x00\x50\x01"))

    def test_varints_are_the_shortest(self) -> None:
        self.take(datum(b"\x10\x80\x01"), datum(b"\x18" + b"\xff" * 9 + b"\x01"), datum(b"\xb0\x03\x01"))
        self.leave(datum(b"\x10\x80\x00"), datum(b"\x10\x81\x80\x00"), datum(b"\x90\x00\x01"), datum(b"\xb0\x83\x00\x01"))
        self.leave(datum(b"\x18" + b"\xff" * 9 + b"\x02"), datum(b"\x18" + b"\x80" * 9 + b"\x7f"))
        self.leave(datum(b"\x18" + b"\xff" * 10 + b"\1"), datum(b"\x0a\x81\x00x"), datum(b"\xaa\x01\x80\x00"))
        self.leave(b"\x8a\x00\x00", b"\x0a\x80\x00", b"\x0a\x82\x00\x08\x01", b"\x1a\x81\x00v", b"\x20\x81\x00")
        self.leave(field(1, b"\x88\x00\x01"), field(1, b"\x08\x81\x00"), field(1, b"\x12\x80\x00"))
        self.leave(field(2, b"\x88\x00\x01"), field(2, b"\x08\x81\x00"))

    def test_numbers_of_32_bits(self) -> None:
        """Negative ones are written with 64 bits; what is beyond 32 bits is cut off by protobuf."""
        for numbers, check in (
            ((1, 2**31 - 1, -1, -(2**31)), self.take),
            ((2**31, 2**32 - 1, 2**32 + 1, -(2**31) - 1, 2**63), self.leave),
        ):
            for each in map(varint, numbers):
                check(field(1, b"\x08" + each), datum(b"\x10" + each), time(b"\x08" + each), field(2, b"\x10" + each))
                check(datum(b"\x48" + each))  # an enumeration

    def test_numbers_of_64_bits(self) -> None:
        for each in map(varint, (1, 2**31, 2**63 - 1, -(2**63), -1)):
            self.take(datum(b"\x18" + each), field(2, b"\x08" + each))

    def test_booleans_are_0_or_1(self) -> None:
        self.take(datum(b"\x30\x00"), datum(b"\x30\x01"), datum(b"\xaa\x01\x02\x08\x01"), b"\x20\x01")
        self.leave(datum(b"\x30\x02"), datum(b"\x30\xff\x01"), datum(b"\xaa\x01\x02\x08\x02"), b"\x20\x02")

    def test_default_values_are_written_in_a_oneof_only(self) -> None:
        self.take(datum(b"\x10\x00"), datum(b"\x0a\x00"), datum(b"\x48\x00"), datum(b"\x50\x00"))
        self.take(datum(b"\x25" + bytes(4)), datum(b"\x29" + bytes(8)), datum(b"\x3a\x00"), datum(b"\xaa\x01\x00"))
        self.leave(field(1, b"\x08\x00"), field(2, b"\x08\x00"), field(2, b"\x10\x00"), b"\x20\x00", b"\x1a\x00")
        self.leave(datum(field(7, b"\x09" + bytes(8))), time(b"\x08\x00"), datum(b"\xaa\x01\x02\x08\x00"))

    def test_messages_may_be_empty(self) -> None:
        self.take(field(2, b""), time(b""), datum(b""), field(1, b""))

    def test_any_bits_of_a_float(self) -> None:
        for bits in (b"\x01", b"\x80", b"\xc0\x7f", b"\x01\x80\x7f", b"\x80\x7f", b"\x01\xf8\x7f", b"\x01\xf0\xff"):
            self.take(datum(b"\x25" + bits.rjust(4, b"\0")), datum(b"\x29" + bits.rjust(8, b"\0")))
            self.take(datum(field(7, b"\x09" + bits.rjust(8, b"\0"))))  # -0.0 among them, which is no default value

    def test_text_is_ascii(self) -> None:
        self.take(datum(field(1, b"x\x00\x7f")), field(3, b"\x7f"))
        self.leave(datum(field(1, b"\xc3\xa9")), datum(field(1, b"\x80")), field(3, b"\xff"), field(3, b"\xc3\xa9"))

    def test_text_that_may_be_rewritten(self) -> None:
        for text in (b"1e5", b"e.5", b"1.5 e", b"1.5f", b".", b"1.2.3", b"5."):
            self.take(datum(field(1, text)))
        for text in (b"1.5e5", b".5E", b"1.e", b"x.1234567890e", b"1.2.3e", b"..e", b"1.5 .e"):
            self.leave(datum(field(1, text)))
        location, others = b"\x08\x15", (b"\x08\x14", b"\x08\x89\x04", b"\x08" + varint(-1), b"")
        self.leave(datum(field(1, b"(1 N, 1 E)"), location), datum(field(1, b""), location))
        self.take(datum(field(7, b""), location), datum(b"", location))
        self.take(*(datum(field(1, b"(1 N, 1 E)"), other) for other in others))

    def test_unknown_fields(self) -> None:
        known_elsewhere = (b"\x0d" + bytes(4), field(1, b"\x0a\x00"), datum(b"\x12\x00"))
        self.leave(*known_elsewhere, datum(b"\xa0\x01\x01"), datum(b"\xb8\x03\x01"))
        self.leave(
            datum(b"\x88\x04\x01"), datum(b"\x90\x04\x01"), datum(b"\xf8\xff\xff\xff\x0f\x01")
        )  # beyond the table's row
        group = b"\xf3\x01\xf4\x01"
        for each in (
            b"\x78\x01",
            b"\xf8\x7f\x01",
            b"\x7a\x00",
            b"\x7d" + bytes(4),
            b"\x79" + bytes(8),
            group,
            b"\x04",
            b"\0\0",
        ):
            self.leave(each, field(1, each), datum(b"\x50\x01" + each), field(2, each), time(each))
            self.leave(datum(b"\x50\x01") + each, field(1, b"\x12\x00" + each), time(b"\x08\x01" + each))

    def test_messages_end_where_their_parent_says(self) -> None:
        good = time(b"\x08\x01")
        self.take(good)
        for at in (1, 5, 8):
            for change in (-1, 1):
                wrong = good[:at] + bytes([good[at] + change]) + good[at + 1 :]
                self.leave(wrong, wrong + good)

    def test_the_payload_ends_within_a_field(self) -> None:
        for more in range(1, 6):
            self.leave(
                bytes([0x1A, 1 + more]) + b"v", bytes([0x12, 2 + more]) + b"\x08\x01", bytes([0x0A, 2 + more]) + b"\x08\x01"
            )

    def test_numbers_end_within_their_message(self) -> None:
        self.leave(
            datum(b"\x25123"), datum(b"\x291234567"), datum(field(7, b"\x091234567")), time(b"\x08\x81"), time(b"\x08")
        )

    def test_hostile_lengths(self) -> None:
        good = time(b"\x08\x01")
        for length in HOSTILE_LENGTHS:
            for head in (good[:1], good[:4], good[:7], b"\x12", b"\x1a", b"\x0a\x04\x12\x02\x0a"):
                self.leave(head + length, head + length + bytes(30), good + head + length)
                self.leave(field(1, field(2, head + length)), field(1, head + length))


class VinTests(CanonicalCase):
    def test_in_its_place(self) -> None:
        data, created, resend = datum(b"\x50\x01"), field(2, b"\x08\x05"), b"\x20\x01"
        for size in (1, 17, 127, 128, 16_383, 16_384, 3_000_000):
            vin = "v" * size
            for old in (b"", field(3, b"old"), field(3, b"o" * 300)):
                self.assertEqual(
                    self.rewritten(data + created + old + resend, vin), (data + created + field(3, vin.encode()) + resend, 1)
                )
                self.assertEqual(self.rewritten(old, vin), (field(3, vin.encode()), 0))

    def test_one_that_is_left_to_protobuf(self) -> None:
        for vin in ("", "\u00e9", "\U0001f600", "v\ud800"):
            self.assertIsNone(self.rewritten(b"", vin))

    def test_number_of_signals(self) -> None:
        for count in (0, 1, 5, MAX_ELEMENTS):
            given = b"\x0a\x00" * count
            self.assertEqual(self.rewritten(given, most=count), (given + field(3, VIN.encode()), count))
            self.assertIsNone(self.rewritten(given + b"\x0a\x00", most=count))
        self.assertIsNone(self.rewritten(b"\x0a\x00", most=-1))


class TableTests(CanonicalCase):
    def test_each_case_of_a_value_and_each_field_within_is_known(self) -> None:
        for case in Value.DESCRIPTOR.fields:
            value = Value()
            within = case.message_type
            if within is None:
                setattr(value, case.name, "x" if case.type == case.TYPE_STRING else 1)
            for each in within.fields if within is not None else ():
                setattr(getattr(value, case.name), each.name, 1)
            self.assertIsNotNone(self.rewritten(Payload(data=[Datum(key=5, value=value)]).SerializeToString()), case.name)

    def test_other_fields_within_messages_are_left_out(self) -> None:
        """Those with presence, repeated ones, messages and text."""
        self.assertEqual(canonical._numbers([*Value.DESCRIPTOR.fields, *VehicleAlert.DESCRIPTOR.fields]), bytes(512))

    def test_of_any_size(self) -> None:
        """Nothing behind its end is read: what it does not have is unknown."""
        given = datum(field(1, b"x")) + time(b"\x08\x01") + field(2, b"\x08\x01")
        for size in (*range(0, len(TABLE), 97), len(TABLE)):
            results = {function(given, VIN, TABLE[:size], 9) for function in self.functions}
            self.assertEqual(len(results), 1, size)
        for table in (b"", b"\xff" * len(TABLE)):
            results = {function(given, VIN, table, 9) for function in self.functions}
            self.assertEqual(results, {None})


class DifferentialTests(CanonicalCase):
    @settings(max_examples=500)
    @drawn(payloads)
    def test_what_protobuf_writes_is_taken(self, message: Payload) -> None:
        """Except text that is not ASCII, or may be rewritten."""
        texts = [message.vin.encode(), *(each.value.string_value.encode() for each in message.data)]
        locations = [each for each in message.data if each.key == Field.Location and each.value.HasField("string_value")]
        is_plain = all(text.isascii() and not exponent_text(text) for text in texts) and not locations
        self.assertEqual(self.rewritten(message.SerializeToString()) is not None, is_plain)

    @settings(max_examples=500)
    @drawn(payloads, st.binary(max_size=4), st.integers(0, 120), st.integers(0, 3))
    def test_damaged(self, message: Payload, noise: bytes, at: int, gone: int) -> None:
        serialised = message.SerializeToString()
        self.rewritten(serialised[:at] + noise + serialised[at + gone :])

    def test_golden_payloads(self) -> None:
        taken = [self.rewritten(bytes.fromhex(each)) is not None for each in GOLDEN]
        self.assertGreater(sum(taken), len(taken) // 3)

    def test_golden_payloads_cut_and_with_any_byte_flipped(self) -> None:
        for each in GOLDEN:
            given = bytes.fromhex(each)[:400]
            for at in range(len(given)):
                self.rewritten(given[:at])
                for flip in (0x01, 0x08, 0x80, 0xFF):
                    self.rewritten(given[:at] + bytes([given[at] ^ flip]) + given[at + 1 :])


@skipUnless(SPEEDUPS is not None, "the extension is not in use")
class CodecTests(TestCase):
    """The codec with the extension."""

    def read(self, given: bytes, *, as_json: bool = False) -> Record:
        envelope = Envelope(4, True, b"tx", b"V", b"", given)
        return RecordCodec(transmit_decoded_records=as_json).read_record("V", envelope, VEHICLE, 7)

    def test_canonical_payloads_are_parsed_when_a_sink_asks(self) -> None:
        given = datum(b"\x10\x05") * 3
        with mock.patch.object(payload, "_parse_data", side_effect=AssertionError("parsed")):
            record = self.read(given)
        self.assertEqual((record.payload, record.signals, record.elements), (given + field(3, VIN.encode()), 3, 3))
        self.assertIsNotNone(record.decode)
        self.assertEqual(record.content, Payload.FromString(record.payload))

    def test_others_are_parsed_at_once(self) -> None:
        record = self.read(field(3, b"v") + datum(b"\x10\x05"))
        self.assertIsNone(record.decode)
        self.assertEqual(record.content, Payload.FromString(record.payload))

    def test_json(self) -> None:
        record = self.read(datum(b"\x10\x05"), as_json=True)
        self.assertEqual(json.loads(record.payload)["data"], [{"key": "Soc", "value": {"intValue": 5}}])
        self.assertIsNone(record.decode)
        self.assertEqual(record.content, Payload.FromString(datum(b"\x10\x05") + field(3, VIN.encode())))

    def test_the_fields_of_long_payloads_are_counted(self) -> None:
        tyres = datum(field(39, b"".join(bytes([8 * number, 1]) for number in range(1, 11))))
        for count in (MAX_FIELDS // len(tyres), MAX_FIELDS // 14):
            self.assertEqual(self.read(tyres * count).signals, count)
        with self.assertRaises(MalformedPayload) as caught:
            self.read(tyres * (MAX_FIELDS // 14 + 1))
        self.assertEqual(caught.exception.bound, "fields")

    def test_too_many_signals(self) -> None:
        with self.assertRaises(MalformedPayload) as caught:
            self.read(b"\x0a\x00" * (MAX_ELEMENTS + 1))
        self.assertEqual(caught.exception.bound, "elements")
