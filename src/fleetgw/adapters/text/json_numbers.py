"""Floating-point numbers as JSON wants them."""

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
    """As ``json_number``, for a 32-bit float: see ``shortest_float32``."""
    return json_number(shortest_float32(number))


def shortest_float32(number: float) -> float:
    """Of the numbers that are the same 32-bit float as ``number``, which is one, that with the fewest decimal digits.

    Thus 0.1 stays 0.1, where its exact value would be written 0.10000000149011612.
    """
    exact = _float32(number)
    # Any six digits tell normal 32-bit floats apart; below them one digit may do. Nine always do.
    for rounded in _ROUNDED[5:] if abs(number) >= _SMALLEST_NORMAL_FLOAT32 else _ROUNDED:
        shorter = float(rounded % number)
        if _float32(shorter) == exact:
            return shorter
    return float(f"{number:.9g}")
