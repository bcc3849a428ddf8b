"""Counting the fields of a payload before it is parsed."""

from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from fleetgw.adapters.codec.wire_scan import count_fields, layout_of
from tests.support.protobuf_wire import field, varint

DATA, ALERTS, ERRORS = (layout_of(message.DESCRIPTOR) for message in (Payload, VehicleAlerts, VehicleErrors))

MOST = 1_000_000


Counted = tuple[bytes, int]
"""A part of a payload, and the number of its fields."""


@st.composite
def fields(draw: st.DrawFn, depth: int = 0) -> Counted:
    """Some fields of an alerts payload (``depth`` 0), of an alert (1), or of a time or anything unknown (2)."""
    written, count = b"", 0
    for _ in range(draw(st.integers(0, 4))):
        number = draw(st.integers(1, 40))
        kind = draw(st.sampled_from(["number", "fixed", "bytes", "group", "nested", "packed"]))
        piece, inner = b"", 0
        match kind:
            case "number":
                piece = varint(number << 3) + varint(draw(st.integers(0, 2**63)))
            case "fixed":
                piece = varint(number << 3 | 5) + bytes(4) + varint(number << 3 | 1) + bytes(8)
                inner = 1
            case "bytes":
                piece = field(draw(st.integers(5, 40)), draw(st.binary(max_size=200)))
            case "group":
                # the content of a group has no meaning, whatever its number: alert bytes in it do not end the count
                inside, inner = draw(st.sampled_from([(b"", 0), (field(1, b"\xff\xff"), 1), (b"\x08\x01", 1)]))
                piece, inner = varint(number << 3 | 3) + inside + varint(number << 3 | 4), inner + 1
            case "nested" if depth < 2:
                inside, inner = draw(fields(depth + 1))
                piece = field(1 if depth == 0 else draw(st.sampled_from([3, 4])), inside)
            case "packed" if depth == 1:
                numbers = draw(st.lists(st.integers(0, 2**63), max_size=20))
                piece, inner = field(2, b"".join(map(varint, numbers))), len(numbers)
            case _:
                continue
        written, count = written + piece, count + 1 + inner
    return written, count


class CountTests(TestCase):
    @settings(max_examples=300)
    @given(fields())
    def test_every_field_counts_once(self, counted: Counted) -> None:
        payload, count = counted
        self.assertEqual(count_fields(payload, ALERTS, MOST), count)

    @settings(max_examples=300)
    @given(st.binary(max_size=60) | fields().map(lambda counted: counted[0][:-1]))
    def test_any_bytes_are_counted(self, payload: bytes) -> None:
        for layout in (DATA, ALERTS, ERRORS):
            self.assertLessEqual(count_fields(payload, layout, MOST), len(payload))

    def test_entries_of_a_map(self) -> None:
        errors = VehicleErrors(errors=[{"tags": {"a": "b", "c": "d"}}])  # type: ignore[list-item]  # as protobuf takes it
        self.assertEqual(count_fields(errors.SerializeToString(), ERRORS, MOST), 1 + 2 * 3)

    def test_counting_stops_at_the_bound(self) -> None:
        half_a_million = 500_000
        for name, (layout, payload) in {
            "signals": (DATA, b"\x0a\x00" * half_a_million),
            "tags in one error": (ERRORS, field(1, b"\x1a\x00" * half_a_million)),
            "signals of several kinds in one": (DATA, field(1, field(2, b"\x3a\x00\xaa\x01\x00" * half_a_million))),
            "unknown": (DATA, b"\xf8\x7f\x01" * half_a_million),
            "groups": (DATA, b"\x7b" * half_a_million),
            "a field again and again": (DATA, b"\x1a\x00" * half_a_million),
        }.items():
            with self.subTest(name):
                self.assertEqual(count_fields(payload, layout, 100), 101)

    def test_packed_numbers_count_without_a_loop(self) -> None:
        payload = field(1, field(2, b"\x01" * 990_000))
        self.assertEqual(count_fields(payload, ALERTS, 100), 990_002)

    def test_a_number_without_an_end_ends_the_count(self) -> None:
        self.assertEqual(count_fields(b"\x08" + b"\xff" * 990_000, DATA, MOST), 1)
        self.assertEqual(count_fields(b"\xff" * 990_000, DATA, MOST), 1)
        self.assertEqual(count_fields(b"\x0a" + b"\xff" * 990_000, DATA, MOST), 1)

    def test_a_field_beyond_the_end_ends_the_count(self) -> None:
        self.assertEqual(count_fields(b"\x0a\x05\x08\x01", DATA, MOST), 1)
        self.assertEqual(count_fields(b"\x09\x01", DATA, MOST), 1)
