"""Reading by layouts has the same result as reading every datum, for equal and almost equal payloads."""

import json
import struct
import unittest
from collections.abc import Sequence

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.codec import signals
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload
from fleetgw.adapters.codec.signals import LAYOUTS_OF_A_LENGTH, LEARN_EVERY, LENGTHS, SignalReader
from fleetgw.adapters.text.json_numbers import shortest_float32

LARGEST_FLOAT32 = 2.0**128 - 2.0**104


def form(datum: Datum) -> str:
    value = datum.value
    match value.WhichOneof("value"):
        case "float_value":
            return number_form(shortest_float32(value.float_value))
        case "double_value":
            return number_form(value.double_value)
        case "location_value":
            return location_form(value.location_value.latitude, value.location_value.longitude)
        case None:
            return f"nothing, {datum.HasField('value')}"
        case case:
            return f"{case} {getattr(value, case)!r}"


def number_form(number: float) -> str:
    return f"number {number!r}"


def location_form(latitude: float, longitude: float) -> str:
    return f"at {latitude!r} {longitude!r}"


class CountingReader(SignalReader[int, str]):
    """Counts the data that it has read individually."""

    def __init__(self) -> None:
        self.one_by_one = 0

        def counted(datum: Datum) -> str:
            self.one_by_one += 1
            return form(datum)

        super().__init__(lambda key: key, counted, number_form, location_form)

    def learn(self, content: Payload) -> None:
        for _ in range(LEARN_EVERY):
            self.read(content, content.SerializeToString())
        self.one_by_one = 0


def expected(content: Payload) -> dict[int, str]:
    return {datum.key: form(datum) for datum in content.data}


NUMBERS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 0.1, float("nan"), float("inf"), -float("inf")])
KEYS = st.sampled_from([0, 1, 4, 8, 21, 127, 128, 300, 1 << 21, (1 << 31) - 1, -1])


@st.composite
def data(draw: st.DrawFn) -> Datum:
    datum = Datum(key=draw(KEYS))
    value = datum.value
    match draw(
        st.sampled_from(["float", "double", "location", "string", "int", "enum", "invalid", "tires", "empty", "none"])
    ):
        case "float":
            value.float_value = draw(NUMBERS)
        case "double":
            value.double_value = draw(NUMBERS)
        case "location":
            value.location_value.latitude, value.location_value.longitude = draw(NUMBERS), draw(NUMBERS)
        case "string":
            value.string_value = draw(st.sampled_from(["", "ab", "cd", "\x12\x05%abcd", "x" * 80, "y" * 80, "z" * 200]))
        case "int":
            value.int_value = draw(st.sampled_from([0, 1, 2, 300, -1]))
        case "enum":
            value.shift_state_value = draw(st.sampled_from([1, 2, 99]))
        case "invalid":
            value.invalid = True
        case "tires":
            value.tire_location_value.front_left = draw(st.booleans())
        case "empty":
            value.SetInParent()
        case _:
            datum.ClearField("value")
    if draw(st.integers(0, 9)) == 9:  # as in a newer schema
        datum.MergeFromString(draw(st.sampled_from([b"\x50\x01", b"\x12\x03\xf8\x07\x01"])))
    return datum


CONTENTS = st.builds(
    lambda found, nanos, vin: Payload(
        data=found, created_at={"seconds": 1_790_000_000, "nanos": nanos}, vin=vin, is_resend=not vin
    ),
    st.lists(data(), max_size=5),
    st.sampled_from([0, 5, 999_999_999]),
    st.sampled_from(["", "5YJ3E1EA7PF000000"]),
)


def changed_numbers(content: Payload, numbers: Sequence[float], text: str) -> Payload:
    """The same fields with other values of the same size, like a vehicle's next record."""
    changed = Payload.FromString(content.SerializeToString())
    for at, datum in enumerate(changed.data):
        value, number = datum.value, numbers[at % len(numbers)]
        match value.WhichOneof("value"):
            case "float_value":
                value.float_value = number
            case "double_value":
                value.double_value = number
            case "location_value":
                value.location_value.latitude = number
            case "string_value":
                value.string_value = (text * 200)[: len(value.string_value)]
            case "shift_state_value":
                value.shift_state_value = 3
    return changed


class SignalReaderTests(unittest.TestCase):
    @given(st.lists(CONTENTS, min_size=1, max_size=4), st.lists(NUMBERS, min_size=1, max_size=4), st.sampled_from("qr"))
    def test_reads_all_signals(self, contents: list[Payload], numbers: list[float], text: str) -> None:
        reader = CountingReader()
        for content in contents:
            reader.learn(content)
        for content in contents:
            for each in (content, changed_numbers(content, numbers, text)):
                self.assertEqual(reader.read(each, each.SerializeToString()), expected(each))
                self.assertEqual([*reader.read(each, each.SerializeToString())], [*expected(each)], "in the same order")

    @given(CONTENTS, st.data())
    def test_payloads_that_differ_in_few_bytes(self, content: Payload, chosen: st.DataObject) -> None:
        reader = CountingReader()
        reader.learn(content)
        payload = bytearray(content.SerializeToString())
        if payload:
            for _ in range(chosen.draw(st.integers(1, 3))):
                payload[chosen.draw(st.integers(0, len(payload) - 1))] = chosen.draw(st.integers(0, 255))
        try:
            other = Payload.FromString(bytes(payload))
        except DecodeError:  # no payload at all
            return
        self.assertEqual(reader.read(other, other.SerializeToString()), expected(other))

    def test_fields_of_a_known_layout_are_not_read_individually(self) -> None:
        content = Payload(created_at={"seconds": 1_790_000_000}, vin="v")
        content.data.add(key=Field.Soc).value.double_value = 70.5
        content.data.add(key=Field.PackVoltage).value.float_value = 380.25
        location = content.data.add(key=Field.Location).value.location_value
        location.latitude, location.longitude = 52.5, 13.4
        content.data.add(key=Field.Gear).value.shift_state_value = 1
        reader = CountingReader()
        reader.learn(content)
        changed = changed_numbers(content, [1.5, float("nan"), -7.25], "")
        self.assertEqual(reader.read(changed, changed.SerializeToString()), expected(changed))
        self.assertEqual(reader.one_by_one, 1, "the gear, which is new")
        self.assertEqual(reader.read(changed, changed.SerializeToString()), expected(changed))
        self.assertEqual(reader.one_by_one, 1)

    def test_a_field_with_key_zero_is_not_mistaken_for_another(self) -> None:
        """Key 0 is not written: another key may have the value's position."""
        unnamed, named = Payload(), Payload()
        unnamed.data.add(key=0).value.string_value = "abcd"
        named.data.add(key=5).value.string_value = "ab"
        self.assertEqual(len(unnamed.SerializeToString()), len(named.SerializeToString()))
        reader = CountingReader()
        reader.learn(unnamed)
        self.assertEqual(reader.read(named, named.SerializeToString()), expected(named))

    def test_a_payload_in_another_form(self) -> None:
        content = Payload()
        content.data.add(key=4).value.double_value = 1.5
        reader = CountingReader()
        for _ in range(2 * LEARN_EVERY):
            self.assertEqual(reader.read(content, json.dumps({"data": []}).encode()), expected(content))

    def test_a_record_without_signals_teaches_no_layout(self) -> None:
        reader = CountingReader()
        reader.learn(Payload(vin="v"))
        self.assertEqual(reader._layouts, {})

    def test_the_caches_are_bounded(self) -> None:
        reader = CountingReader()
        for size in range(LENGTHS + 10):
            for key in range(1, LAYOUTS_OF_A_LENGTH + 3):
                content = Payload(vin="v" * size)
                content.data.add(key=key).value.double_value = 1.5
                reader.learn(content)
        self.assertEqual(len(reader._layouts), LENGTHS)
        self.assertEqual({len(layouts) for layouts in reader._layouts.values()}, {LAYOUTS_OF_A_LENGTH})
        content = Payload(vin="v" * signals.LENGTH_LIMIT_BYTES)
        reader.learn(content)
        self.assertNotIn(len(content.SerializeToString()), reader._layouts)


class ShortestTests(unittest.TestCase):
    @given(st.floats(width=32, allow_nan=False, allow_infinity=False))
    def test_is_the_same_float_and_no_shorter_one_is(self, number: float) -> None:
        shortest = shortest_float32(number)
        self.assertEqual(struct.pack("<f", shortest), struct.pack("<f", number))
        digits = len(f"{shortest:e}".partition("e")[0].replace(".", "").replace("-", "").rstrip("0"))
        for fewer in range(1, digits):
            rounded = float(f"{number:.{fewer}g}")
            if abs(rounded) <= LARGEST_FLOAT32:
                self.assertNotEqual(struct.pack("<f", rounded), struct.pack("<f", number))
