"""What is rewritten in a decoded record before it goes on.

``V``: the first ``Location`` given as text becomes a location value; text that is a number in scientific notation gets
five decimals. ``alerts``: times that a vehicle gave in milliseconds become seconds.
"""

import math
import re
from decimal import Decimal
from struct import Struct

from google.protobuf.timestamp_pb2 import Timestamp

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload, Value

MILLISECONDS_FROM = 315_576_000_000
"""From so many seconds on an alert's time is taken as milliseconds."""

# Looking at every datum costs more than decoding the record. These two searches over the record, in the encoding that
# protobuf itself writes, tell whether there can be anything to rewrite; they may say yes in vain, never no in error.
# A datum's key 21 (Location), then its value, which begins with a string:
location_text = re.compile(rb"\x08\x15\x12[\x80-\xff]{0,4}[\x00-\x7f]\n").search
# The middle of every scientific number; cheap, since a point is a rare byte:
exponent_text = re.compile(rb"\.[0-9]*[eE]").search

_SCIENTIFIC = re.compile(r"[+-]?(?:[0-9]*\.[0-9]+|[0-9]+\.[0-9]*)[eE][+-]?[0-9]+").fullmatch

_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
_SPACE = "[\t\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
# White space stands where Go's scanner wants it; what follows the last bracket is ignored.
_LOCATION = re.compile(rf"\({_SPACE}*{_NUMBER}{_SPACE}+([NS]),{_SPACE}+{_NUMBER}{_SPACE}+([EW])\)").match

_float32 = Struct("<f")
_float64 = Struct("<d")
_bits = Struct("<Q")


def rewrite_data(message: Payload) -> None:
    """Rewrite the first ``Location`` and every scientific number of a ``V`` payload in place.

    A rewritten value loses the unknown fields beside it.
    """
    location_seen = False
    for datum in message.data:
        if datum.key == Field.Location and not location_seen:
            location_seen = True
            if datum.value.HasField("string_value"):
                _rewrite_location(datum.value)
        if datum.value.HasField("string_value"):
            _rewrite_scientific(datum.value)


def _rewrite_location(value: Value) -> None:
    found = _LOCATION(value.string_value)
    if found is None:
        return
    latitude, longitude = float(found[1]), float(found[3])
    if math.isinf(latitude) or math.isinf(longitude):
        return
    value.Clear()
    value.location_value.latitude = -latitude if found[2] == "S" else latitude
    value.location_value.longitude = -longitude if found[4] == "W" else longitude


def _rewrite_scientific(value: Value) -> None:
    if not _SCIENTIFIC(value.string_value):
        return
    number = _nearest_float32(value.string_value)
    if math.isinf(number):
        return
    value.Clear()
    value.string_value = f"{number:.5f}"


def _nearest_float32(text: str) -> float:
    """The 32-bit float nearest to a decimal; infinite on overflow."""
    number = float(text)
    # Half way between two 32-bit floats: what the 64-bit float has rounded away decides.
    if _bits.unpack(_float64.pack(number))[0] & 0x1FFFFFFF == 0x10000000:
        exact = Decimal(text)
        if exact != number:
            number = math.nextafter(number, math.inf if exact > number else -math.inf)
    try:
        return float(_float32.unpack(_float32.pack(number))[0])
    except OverflowError:
        return math.inf


def rewrite_alerts(message: VehicleAlerts) -> bool:
    """Turn started and ended times in milliseconds into seconds, in place; True when there were any.

    A rewritten time loses its own nanoseconds and the unknown fields beside it.
    """
    rewritten = False
    for alert in message.alerts:
        for time in (alert.started_at, alert.ended_at):
            if time.seconds >= MILLISECONDS_FROM:
                _from_milliseconds(time)
                rewritten = True
    return rewritten


def _from_milliseconds(time: Timestamp) -> None:
    seconds, milliseconds = divmod(time.seconds, 1000)
    time.Clear()
    time.seconds, time.nanos = seconds, milliseconds * 1_000_000
