"""Values of commands' arguments: each function reads one from its text, and says what would be right where it cannot."""

import argparse

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
"""The units of a time among arguments, such as the ``h`` of ``2h``, in seconds."""

_TOO_LARGE = 1e9
"""More than the clocks and timers behind an option can take."""


def positive(text: str) -> int:
    """A whole number from 1 on, of at most nine digits.

    :raises argparse.ArgumentTypeError: it is none.
    """
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def above_zero(text: str) -> float:
    """A number above 0, and below a billion.

    :raises argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < _TOO_LARGE:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and below {_TOO_LARGE:,.0f}")
    return number


def filled(text: str) -> str:
    """A text that is not blank: an empty variable of a shell is no choice of everything.

    :raises argparse.ArgumentTypeError: it is blank.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; leave the option out, or give it a value")
    return text
