"""Bars and curves of block characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEFT_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LOWER_EIGHTHS = " ▁▂▃▄▅▆▇█"


def bar(fraction: float, cells: int) -> str:
    """A bar for a fraction of so many cells, in eighths of a cell, without the space beyond its end."""
    whole, eighths = divmod(round(min(1.0, max(0.0, fraction)) * cells * 8), 8)
    return _LEFT_EIGHTHS[8] * whole + (_LEFT_EIGHTHS[eighths] if eighths else "")


def curve(values: Sequence[float | None], width: int, lines: int) -> list[str]:
    """The last ``width`` values as columns from 0 to the largest of them, the latest on the right.

    A value above 0 has at least an eighth of a line; None has nothing.
    """
    latest = values[-width:]
    largest = max((each for each in latest if each is not None), default=0.0)
    heights = [0 if not each else max(1, round(each / largest * lines * 8)) for each in latest]
    padding = " " * (width - len(latest))
    return [
        padding + "".join(_LOWER_EIGHTHS[min(8, max(0, height - 8 * line))] for height in heights)
        for line in reversed(range(lines))
    ]
