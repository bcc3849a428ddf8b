"""Numbers among the arguments of commands."""

import argparse
import math

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
"""The units of a time among arguments, such as the ``h`` of ``2h``, in seconds."""


def positive(text: str) -> int:
    """A whole number from 1 on, of at most nine digits.

    :raises argparse.ArgumentTypeError: it is none.
    """
    number = int(text) if text.isdecimal() and len(text) < 10 else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def seconds(text: str) -> float:
    """A number of seconds above 0.

    :raises argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return number
