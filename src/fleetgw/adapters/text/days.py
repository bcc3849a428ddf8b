"""UTC days since the epoch as text, such as ``2026-11-27``."""

from __future__ import annotations

from datetime import date

_EPOCH = date(1970, 1, 1).toordinal()


def day_text(day: int) -> str:
    """The text of a day, by its number since the epoch."""
    return date.fromordinal(_EPOCH + day).isoformat()


def day_of(text: str) -> int:
    """The number of a day.

    :raises ValueError: the text is no day.
    """
    return date.fromisoformat(text).toordinal() - _EPOCH
