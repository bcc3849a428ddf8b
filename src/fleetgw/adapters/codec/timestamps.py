"""Protobuf timestamps in the forms that sinks write, for any clock of a vehicle, however wrong."""

from datetime import date

from google.protobuf.timestamp_pb2 import Timestamp

_DAY_S = 86_400
_ERA_DAYS = 146_097  # 400 years: after them the calendar repeats
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_FIRST_SECOND = -9_223_371_966_579_724_800  # of the Go server's calendar, which wraps around at both ends of 64 bits


def epoch_s(timestamp: Timestamp) -> int:
    """Whole epoch seconds, rounded down; nanoseconds outside 0 to 999999999, which senders may set, are carried over."""
    return timestamp.seconds + timestamp.nanos // 1_000_000_000


def rfc3339(timestamp: Timestamp) -> str:
    """Text such as ``2025-11-24T16:00:00Z``, UTC, of any 64-bit number of seconds: years may be long or negative."""
    seconds = epoch_s(timestamp)
    if seconds < _FIRST_SECOND:
        seconds += 1 << 64
    days, second = divmod(seconds, _DAY_S)
    era, day_of_era = divmod(days + _EPOCH_ORDINAL - 1, _ERA_DAYS)
    day = date.fromordinal(day_of_era + 1)
    year = day.year + 400 * era
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    sign = "-" if year < 0 else ""
    return f"{sign}{abs(year):04d}-{day.month:02d}-{day.day:02d}T{hour:02d}:{minute:02d}:{second:02d}Z"
