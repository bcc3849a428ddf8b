"""Rewrites of decoded records.

``V``: the first ``Location`` in the form of text becomes a location value; text that is a number in scientific notation gets
five decimals. ``alerts``: times in milliseconds become seconds.
"""

import math
import re
from decimal import Decimal
from struct import Struct

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload, Value

MILLISECONDS_FROM = 315_576_000_000
"""An alert's time from this number on is in milliseconds instead of seconds."""

# A loop over all data costs more than decoding the record. These two searches in the record, as serialised by protobuf
# itself, tell whether there may be anything to rewrite: they may have false matches, but miss nothing.
# A datum's key 21 (Location), then its value, which starts with a string:
location_text = re.compile(rb"\x08\x15\x12[\x80-\xff]{0,4}[\x00-\x7f]\n").search
# The middle of every number in scientific notation; cheap, because a point is a rare byte:
exponent_text = re.compile(rb"\.[0-9]*[eE]").search

_SCIENTIFIC = re.compile(r"[+-]?(?:[0-9]++\.[0-9]*+|\.[0-9]++)[eE][+-]?[0-9]++").fullmatch

# Possessive (++): a megabyte of digits or spaces is scanned once.
_NUMBER = r"([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)"
_SPACE = "[\t\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
# White space is required where Go's scanner requires it; text after the last bracket is ignored.
_LOCATION = re.compile(rf"\({_SPACE}*+{_NUMBER}{_SPACE}++([NS]),{_SPACE}++{_NUMBER}{_SPACE}++([EW])\)").match

_float32 = Struct("<f")
_float64 = Struct("<d")
_bits = Struct("<Q")


def rewrite_location(message: Payload) -> None:
    """Convert the first ``Location`` of a ``V`` payload from text to a location value, in place, when it is one.

    A rewritten value loses its unknown fields.
    """
    for datum in message.data:
        if datum.key == Field.Location:
            found = _LOCATION(datum.value.string_value)
            if found is not None:
                _set_location(datum.value, float(found[1]), found[2], float(found[3]), found[4])
            return


def _set_location(value: Value, latitude: float, pole: str, longitude: float, side: str) -> None:
    if math.isinf(latitude) or math.isinf(longitude):
        return
    value.Clear()
    value.location_value.latitude = -latitude if pole == "S" else latitude
    value.location_value.longitude = -longitude if side == "W" else longitude


def rewrite_scientific(message: Payload) -> None:
    """Give five decimals to every text of a ``V`` payload that is a number in scientific notation, in place.

    A number beyond 32 bits stays as it is. A rewritten value loses its unknown fields.
    """
    for datum in message.data:
        text = datum.value.string_value
        if "." in text and _SCIENTIFIC(text):
            number = _nearest_float32(text)
            if not math.isinf(number):
                datum.value.Clear()
                datum.value.string_value = f"{number:.5f}"


def _nearest_float32(text: str) -> float:
    """32-bit float nearest to a decimal; infinite on overflow."""
    number = float(text)
    # Half way between two 32-bit floats, the part that the 64-bit float has rounded off decides.
    if _bits.unpack(_float64.pack(number))[0] & 0x1FFFFFFF == 0x10000000:
        exact = Decimal(text)
        if exact != number:
            number = math.nextafter(number, math.inf if exact > number else -math.inf)
    try:
        return float(_float32.unpack(_float32.pack(number))[0])
    except OverflowError:
        return math.inf


def rewrite_alerts(message: VehicleAlerts) -> None:
    """Convert start and end times in milliseconds to seconds, in place.

    A rewritten time loses its own nanoseconds and its unknown fields.
    """
    for alert in message.alerts:
        for time in (alert.started_at, alert.ended_at):
            if time.seconds >= MILLISECONDS_FROM:
                seconds, milliseconds = divmod(time.seconds, 1000)
                time.Clear()
                time.seconds, time.nanos = seconds, milliseconds * 1_000_000
