"""Floating-point numbers for JSON."""

import math
import struct

_float32 = struct.Struct("<f").pack
_SMALLEST_NORMAL_FLOAT32 = 2.0**-126
_ROUNDED = tuple(f"%.{digits}g" for digits in range(1, 9))


def json_number(number: float) -> float | str:
    """``number``, or the protobuf JSON string of a NaN or an infinity: ``NaN``, ``Infinity``, ``-Infinity``."""
    if math.isfinite(number):
        return number
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def json_float32(number: float) -> float | str:
    """Like ``json_number``, for a 32-bit float: see ``shortest_float32``."""
    return json_number(shortest_float32(number))


def shortest_float32(number: float) -> float:
    """Number with the fewest decimal digits that rounds to the 32-bit float ``number``.

    Thus 0.1 stays 0.1 instead of its exact value, 0.10000000149011612.
    """
    exact = _float32(number)
    # A normal 32-bit float needs six digits or more, a subnormal one may need one; nine always suffice.
    for rounded in _ROUNDED[5:] if abs(number) >= _SMALLEST_NORMAL_FLOAT32 else _ROUNDED:
        shorter = float(rounded % number)
        if _float32(shorter) == exact:
            return shorter
    return float(f"{number:.9g}")
