"""Text of numbers and times, compared with Python's own."""

import math
import struct
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.codec.timestamps import epoch_s, rfc3339
from fleetgw.adapters.text.json_numbers import json_float32, json_number


class Float32Tests(SynchronousTestCase):
    @given(st.floats(width=32, allow_nan=False, allow_infinity=False))
    def test_the_shortened_number_is_the_same_32_bit_float(self, number: float) -> None:
        shortened = json_float32(number)
        self.assertEqual(struct.pack("<f", shortened), struct.pack("<f", number))
        self.assertLessEqual(len(repr(shortened)), len(repr(number)))

    @given(st.integers(-999_999, 999_999), st.integers(-20, 20))
    def test_six_digits_stay_the_same(self, digits: int, exponent: int) -> None:
        number = float(f"{digits}e{exponent}")
        (as_float32,) = struct.unpack("<f", struct.pack("<f", number))
        self.assertEqual(json_float32(as_float32), number)

    def test_numbers_that_json_does_not_have(self) -> None:
        for shorten in (json_number, json_float32):
            self.assertEqual([shorten(n) for n in (math.nan, math.inf, -math.inf)], ["NaN", "Infinity", "-Infinity"])


class TimestampTests(SynchronousTestCase):
    @given(st.integers(-62_135_596_800, 253_402_300_799))
    def test_calendar(self, seconds: int) -> None:
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        self.assertEqual(rfc3339(Timestamp(seconds=seconds)), expected.isoformat().replace("+00:00", "Z"))

    @given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
    def test_any_timestamp_has_a_text(self, seconds: int, nanos: int) -> None:
        self.assertRegex(rfc3339(Timestamp(seconds=seconds, nanos=nanos)), r"^-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")

    @given(st.integers(-(2**62), 2**62), st.integers(-(2**31), 2**31 - 1))
    def test_nanoseconds_carry(self, seconds: int, nanos: int) -> None:
        self.assertEqual(epoch_s(Timestamp(seconds=seconds, nanos=nanos)), seconds + math.floor(nanos / 1_000_000_000))
