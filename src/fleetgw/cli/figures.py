"""Figures as text for people: spans of time, numbers, rates, sizes."""

from __future__ import annotations

_SPANS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_NO_FIGURE = "-"
_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti")


def span(seconds: float) -> str:
    """A span of time in its two largest units, such as ``2 h 14 min``."""
    left = max(0, int(seconds))
    for index, (unit, unit_s) in enumerate(_SPANS[:-1]):
        if left >= unit_s:
            whole, rest = divmod(left, unit_s)
            smaller, smaller_s = _SPANS[index + 1]
            return f"{whole} {unit} {rest // smaller_s} {smaller}" if rest >= smaller_s else f"{whole} {unit}"
    return f"{left} s"


def since(at_ms: float | None, now_ms: float) -> str:
    """The span since a moment; a dash without one."""
    return _NO_FIGURE if at_ms is None else span((now_ms - at_ms) / 1000)


def count(number: float | None) -> str:
    """A whole number with commas; a dash without one."""
    return _NO_FIGURE if number is None else f"{number:,.0f}"


def rate(per_s: float | None) -> str:
    """A rate: with a digit after the point where it is below 10; a dash without one."""
    if per_s is None:
        return _NO_FIGURE
    if 0 < per_s < 0.05:
        return "<0.1"
    return f"{per_s:.1f}" if 0 < per_s < 9.95 else f"{per_s:,.0f}"


def milliseconds(number: float | None) -> str:
    """Milliseconds, with a digit after the point below 10 and as seconds from 10 s on; a dash without any."""
    if number is None:
        return _NO_FIGURE
    if number < 0.05:
        return "<0.1 ms"
    if number >= 10_000:
        return f"{number / 1000:,.1f} s"
    return f"{number:.1f} ms" if number < 9.95 else f"{number:,.0f} ms"


def size(size_bytes: float | None) -> str:
    """A size with a binary prefix and three significant digits; a dash without one."""
    if size_bytes is None:
        return _NO_FIGURE
    power = 0
    while size_bytes >= 1000 and power < len(_PREFIXES) - 1:
        size_bytes /= 1024
        power += 1
    return f"{size_bytes:.3g} {_PREFIXES[power]}B"


def plural(number: int, noun: str) -> str:
    """A number of things: ``1 vehicle``, ``1,204 vehicles``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
