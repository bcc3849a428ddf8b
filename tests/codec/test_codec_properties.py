"""Properties of every message and payload, tested with Hypothesis."""

import json
import math
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from struct import Struct, error
from unittest import TestCase

from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetgw.adapters.codec import RecordCodec, transforms
from fleetgw.adapters.codec import envelope as wire
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Doors, LocationValue, Payload, Time, Value
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleError, VehicleErrors
from fleetgw.adapters.codec.json_form import to_json
from fleetgw.domain.errors import MalformedEnvelope, MalformedPayload
from fleetgw.domain.records import Envelope, PeerIdentity, Vehicle

VEHICLE = Vehicle(PeerIdentity("vehicle_device", "VIN00000000000001"), "VIN00000000000001", "id")
CODECS = [RecordCodec(transmit_decoded_records=decoded) for decoded in (False, True)]
SEEDS = [
    bytes.fromhex(case["in"])
    for case in json.loads((Path(__file__).parents[1] / "vectors" / "envelopes.json").read_text())["cases"]
    if case["name"].startswith("usual builder")
]

float32 = st.floats(width=32)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.from_regex(r"[+-]?([0-9]{0,12}\.[0-9]{1,12}|[0-9]{1,12}\.)[eE][+-]?[0-9]{1,2}", fullmatch=True)
degrees = st.from_regex(r"\([0-9]{1,3}(\.[0-9]{1,8})? [NS], [0-9]{1,3}(\.[0-9]{1,8})? [EW]\)", fullmatch=True)

values = st.one_of(
    st.builds(Value),
    st.builds(Value, string_value=st.one_of(text, numbers, degrees)),
    st.builds(Value, int_value=int32),
    st.builds(Value, long_value=int64),
    # Python's own JSON form gives subnormal floats more digits than they have.
    st.builds(Value, float_value=st.floats(width=32, allow_subnormal=False)),
    st.builds(Value, double_value=st.floats()),
    st.builds(Value, boolean_value=st.booleans()),
    st.builds(Value, invalid=st.booleans()),
    st.builds(Value, shift_state_value=int32),
    st.builds(Value, location_value=st.builds(LocationValue, latitude=st.floats(), longitude=st.floats())),
    st.builds(Value, door_value=st.builds(Doors, DriverFront=st.booleans(), TrunkRear=st.booleans())),
    st.builds(Value, time_value=st.builds(Time, hour=int32, minute=int32, second=int32)),
)
data = st.lists(
    st.one_of(st.builds(Datum, key=st.one_of(st.just(21), st.integers(0, 300), int32), value=values), st.builds(Datum)),
    max_size=6,
)
payloads = st.builds(Payload, data=data, vin=text, is_resend=st.booleans())


def read(record_type: str, payload: bytes, codec: RecordCodec = CODECS[0]) -> bytes:
    """Payload that sinks get."""
    return codec.read_record(record_type, Envelope(4, True, b"", b"", b"", payload), VEHICLE, 0).payload


def outcome_of(reader: object, message: bytes) -> Envelope | None:
    """Result of a reader; None for a malformed message. Any other exception fails the test."""
    try:
        return reader(message)  # type: ignore[operator]  # one of the two readers
    except MalformedEnvelope:
        return None


class EnvelopeProperties(TestCase):
    """Reading raises nothing but ``MalformedEnvelope``, and both readers agree."""

    @given(st.binary(max_size=400))
    def test_any_bytes(self, message: bytes) -> None:
        self.assertEqual(outcome_of(wire.read, message), outcome_of(wire._read_any, message))

    @settings(max_examples=500)
    @given(
        st.sampled_from(SEEDS),
        st.lists(st.tuples(st.integers(0, 400), st.sampled_from([0, 1, 2, 4, 14, 16, 20, 127, 128, 255])), max_size=4),
        st.integers(0, 40),
    )
    def test_damaged_messages(self, seed: bytes, changes: list[tuple[int, int]], cut: int) -> None:
        message = bytearray(seed)
        for position, value in changes:
            message[position % len(message)] = value
        damaged = bytes(message[: len(message) - cut])
        envelope = outcome_of(wire.read, damaged)
        self.assertEqual(envelope, outcome_of(wire._read_any, damaged))
        # Cut short silently or read beyond the end, a vector's bytes would not be found behind their own length.
        for vector in (envelope.txid, envelope.topic, envelope.sender_id, envelope.payload) if envelope else ():
            self.assertIn(len(vector).to_bytes(4, "little") + vector if vector else b"", damaged)

    def test_every_byte_damaged_and_every_truncation(self) -> None:
        for seed in SEEDS:
            damaged = [seed[:size] for size in range(len(seed))]
            for position in range(len(seed)):
                damaged.extend(seed[:position] + bytes([value]) + seed[position + 1 :] for value in (0, 1, 3, 16, 127, 255))
            for message in damaged:
                self.assertEqual(outcome_of(wire.read, message), outcome_of(wire._read_any, message), message.hex())

    def test_numbers_outside_the_message(self) -> None:
        for vtable, number_at in (
            (wire._USUAL_STREAM, 4),
            (wire._USUAL_STREAM_DELIVERED, 4),
            (wire._USUAL_STREAM_DELIVERED, 14),
        ):
            seed = next(seed for seed in SEEDS if vtable in seed)
            entry = seed.index(vtable) + number_at
            message = seed[:entry] + (60_000).to_bytes(2, "little") + seed[entry + 2 :]
            with self.subTest(message), self.assertRaises(MalformedEnvelope):
                wire.read(message)

    @given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=300), st.binary())
    def test_round_trip(self, txid: bytes, topic: bytes, sender_id: bytes, payload: bytes, other: bytes) -> None:
        message = wire.write_stream(
            txid=txid,
            topic=topic,
            sender_id=sender_id,
            payload=payload,
            created_at_s=2**32 - 1,
            device_type=other,
            device_id=other,
        )
        self.assertEqual(wire.read(message), Envelope(4, True, txid, topic, sender_id, payload))

    @given(st.binary(max_size=300), text)
    def test_replies_round_trip(self, txid: bytes, record_type: str) -> None:
        ack = wire.read(wire.ack(record_type, txid))
        self.assertEqual(ack, Envelope(5, True, txid, record_type.encode(), b"", b""))
        reply = wire.read(wire.error_reply(txid))
        self.assertEqual(reply, Envelope(4, True, txid, b"", b"", b"incorrect message format"))


class PayloadProperties(TestCase):
    """Reading a payload raises nothing but ``MalformedPayload``; an accepted payload has the vehicle's own VIN."""

    @given(st.sampled_from(["V", "alerts", "errors", "connectivity", "custom"]), st.binary(max_size=100))
    def test_any_bytes(self, record_type: str, payload: bytes) -> None:
        for codec in CODECS:
            with suppress(MalformedPayload):
                read(record_type, payload, codec)

    @given(payloads, st.binary(max_size=3), st.integers(0, 200))
    def test_damaged_payloads(self, payload: Payload, noise: bytes, at: int) -> None:
        serialised = payload.SerializeToString()
        for record_type in ("V", "alerts", "errors", "connectivity"):
            for codec in CODECS:
                with suppress(MalformedPayload):
                    read(record_type, serialised[:at] + noise + serialised[at + 1 :], codec)

    @given(payloads)
    def test_rewrites_are_never_missed(self, payload: Payload) -> None:
        self.assert_rewritten(payload)

    def test_long_texts_are_not_missed(self) -> None:
        for spaces in (90, 200, 20_000):
            location = Value(string_value=f"(37.5 {' ' * spaces}N, 122.5 W)")
            with self.subTest(spaces):
                self.assert_rewritten(Payload(data=[Datum(key=21, value=location)]))

    def assert_rewritten(self, payload: Payload) -> None:
        payload.vin = VEHICLE.vin
        wanted = Payload.FromString(payload.SerializeToString())
        transforms.rewrite_location(wanted)
        transforms.rewrite_scientific(wanted)
        self.assertEqual(read("V", payload.SerializeToString()), wanted.SerializeToString())

    @given(payloads)
    def test_reading_twice_changes_nothing_more(self, payload: Payload) -> None:
        once = read("V", payload.SerializeToString())
        self.assertEqual(read("V", once), once)

    @given(st.builds(VehicleAlert, name=text, audiences=st.lists(int32, max_size=3)), st.integers(-(2**63), 2**63 - 1))
    def test_alert_times(self, alert: VehicleAlert, seconds: int) -> None:
        alert.started_at.seconds = alert.ended_at.seconds = seconds
        read_back = VehicleAlerts.FromString(read("alerts", VehicleAlerts(alerts=[alert]).SerializeToString())).alerts[0]
        for time in (read_back.started_at, read_back.ended_at):
            if seconds >= 315_576_000_000:
                self.assertEqual(time.seconds * 1000 + time.nanos // 1_000_000, seconds)
            else:
                self.assertEqual((time.seconds, time.nanos), (seconds, 0))

    @given(numbers)
    def test_scientific_text_is_rounded_once(self, number: str) -> None:
        nearest = transforms._nearest_float32(number)
        exact = Fraction(number)
        if math.isinf(nearest):
            self.assertGreaterEqual(abs(exact), Fraction(2**128 - 2**103))
            return
        bits = Struct("<I").unpack(Struct("<f").pack(abs(nearest)))[0]
        for neighbour in (bits - 1, bits + 1):
            if neighbour >= 0:
                other = Struct("<f").unpack(Struct("<I").pack(neighbour))[0]
                self.assertLessEqual(
                    abs(abs(exact) - Fraction(abs(nearest))), abs(abs(exact) - Fraction(min(other, 2.0**128)))
                )


class JsonProperties(TestCase):
    """The JSON form has the same values as protobuf's own."""

    def assert_same_values(self, message: Payload | VehicleErrors) -> None:
        wanted = MessageToDict(message, always_print_fields_with_no_presence=True)
        got = json.loads(to_json(message), parse_int=float)
        self.assertEqual(self.without_nulls(got), self.without_nulls(wanted))

    def without_nulls(self, value: object) -> object:
        # Absent messages are null in the Go server's text and left out by Python's; both mean the same.
        if isinstance(value, dict):
            return {key: self.without_nulls(member) for key, member in value.items() if member is not None}
        return [self.without_nulls(member) for member in value] if isinstance(value, list) else value

    @given(payloads, st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
    def test_data(self, payload: Payload, seconds: int, nanos: int) -> None:
        payload.created_at.seconds, payload.created_at.nanos = seconds, nanos
        self.assert_same_values(payload)

    @given(st.lists(st.builds(VehicleError, name=text, tags=st.dictionaries(text, text, max_size=3)), max_size=3))
    def test_errors(self, errors: list[VehicleError]) -> None:
        self.assert_same_values(VehicleErrors(errors=errors))

    def test_floats_have_no_more_digits_than_they_need(self) -> None:
        for number, written in ((0.1, "0.1"), (8590399488.0, "8590400000"), (2.0**-149, "1e-45"), (16777216.0, "16777216")):
            with self.subTest(number):
                self.assertEqual(to_json(Value(float_value=number)), f'{{"floatValue":{written}}}')

    @given(float32)
    def test_floats_keep_their_bits(self, number: float) -> None:
        written = json.loads(to_json(Value(float_value=number)))["floatValue"]
        try:
            read_back = Struct("<f").unpack(Struct("<f").pack(float(written)))[0]
        except error as problem:
            raise AssertionError(written) from problem
        self.assertTrue(read_back == number or (math.isnan(number) and math.isnan(read_back)))
