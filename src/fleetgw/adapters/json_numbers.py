"""Floating-point numbers as JSON wants them."""

import math
import struct

_FLOAT32 = struct.Struct("<f")
_SMALLEST_NORMAL_FLOAT32 = 2.0**-126


def json_number(number: float) -> float | str:
    """``number``, or the protobuf JSON string of a NaN or an infinity: ``NaN``, ``Infinity``, ``-Infinity``."""
    if math.isfinite(number):
        return number
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def json_float32(number: float) -> float | str:
    """As ``json_number``, for a 32-bit float: the one with the fewest decimal digits that are still the same 32-bit float.

    Thus 0.1 stays 0.1, where its exact value would be written 0.10000000149011612.
    """
    if not math.isfinite(number):
        return json_number(number)
    # Any six digits tell normal 32-bit floats apart; below them one digit may do. Nine always do.
    for digits in range(6 if abs(number) >= _SMALLEST_NORMAL_FLOAT32 else 1, 9):
        shortened = float(f"{number:.{digits}g}")
        if _FLOAT32.unpack(_FLOAT32.pack(shortened))[0] == number:
            return shortened
    return float(f"{number:.9g}")
