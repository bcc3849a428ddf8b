"""Draws a signal: with braille dots in the terminal, or as a PNG file."""

from __future__ import annotations

import math
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.sinks.sqlite.reading import CannotRead
from fleetgw.adapters.text.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fleetgw.adapters.codec.datum import JsonValue
    from fleetgw.adapters.sinks.sqlite.reading import Signal

HEIGHT_ROWS = 15
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell: four rows of two

_COARSE = {ord("┤"): "|", ord("└"): "+", ord("─"): "-", 0x2800: " "} | dict.fromkeys(range(0x2801, 0x2900), "*")
"""Replacements where the terminal's encoding has no braille."""


@frozen
class Curve:
    """A curve to draw.

    :ivar points: epoch seconds and level, oldest first, without invalid values.
    :ivar names: labels of the levels 0, 1, ..., where the values are no numbers.
    """

    points: tuple[tuple[float, float], ...]
    names: tuple[str, ...] = ()


def to_curve(signals: Sequence[Signal]) -> Curve:
    """The curve of a signal: numbers as they are, also those sent as text; of other values, a level each, sorted by name.

    :raises CannotRead: there is nothing to draw.
    """
    held = [(each.created_at_ms / 1000, each.value) for each in signals if each.value is not None]
    if not held:
        raise CannotRead("every value in this time is invalid: there is nothing to draw")
    if any(isinstance(value, dict) for _, value in held):
        raise CannotRead("its values are objects, such as locations, which cannot be drawn; use --format csv or json")
    numbers = [(at_s, _number(value)) for at_s, value in held]
    finite = tuple((at_s, number) for at_s, number in numbers if number is not None and math.isfinite(number))
    if finite and not any(number is None for _, number in numbers):
        return Curve(finite)
    texts = [(at_s, value if isinstance(value, str) else str(value).lower()) for at_s, value in held]
    names = tuple(sorted({text for _, text in texts}))
    return Curve(tuple((at_s, float(names.index(text))) for at_s, text in texts), names)


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)  # type: ignore[arg-type]  # others raise
    except (TypeError, ValueError):
        return None


def draw(signals: Sequence[Signal], title: str) -> None:
    """Draw in the terminal.

    :raises CannotRead: there is nothing to draw.
    """
    from rich.console import Console

    width = Console().width if sys.stdout.isatty() else 100
    picture = "\n".join(map(printable, lines(to_curve(signals), title, width)))
    encoding = sys.stdout.encoding or "utf-8"
    try:
        picture.encode(encoding)
    except UnicodeEncodeError:
        picture = picture.translate(_COARSE).encode(encoding, "replace").decode(encoding)
    print(picture)


def lines(curve: Curve, title: str, width: int) -> list[str]:
    """The picture as lines of text of at most ``width`` characters."""
    low, high = _range(curve)
    labels = _labels(curve, low, high)
    gutter = max(map(len, labels.values()))
    columns = max(10, width - gutter - 2)
    first_s, last_s = curve.points[0][0], curve.points[-1][0]
    cells = [[0] * columns for _ in range(HEIGHT_ROWS)]

    def dot(x: int, y: int) -> None:
        cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    before: int | None = None
    at_x = 0
    for at_s, level in curve.points:
        x = round((at_s - first_s) / ((last_s - first_s) or 1) * (2 * columns - 1))
        y = round((high - level) / (high - low) * (4 * HEIGHT_ROWS - 1))
        if before is not None:  # a value holds until the next one: a step, not a slope
            for between in range(at_x, x):
                dot(between, before)
            for between in range(min(before, y), max(before, y)):
                dot(x, between)
        dot(x, y)
        before, at_x = y, x
    picture = [
        f"{labels.get(row, ''):>{gutter}} ┤" + "".join(chr(0x2800 + cell) for cell in line).rstrip("\u2800")
        for row, line in enumerate(cells)
    ]
    form = "%H:%M:%S" if last_s - first_s < 86_400 else "%Y-%m-%d %H:%M"
    first, last = (datetime.fromtimestamp(at_s).astimezone() for at_s in (first_s, last_s))
    begin, end = first.strftime(form), last.strftime(form)
    axis = " " * gutter + " └" + "─" * columns
    times = " " * (gutter + 2) + begin + " " * max(1, columns - len(begin) - len(end)) + end
    return [f"{title}, {_span(first, last)}", "", *picture, axis, times]


def _span(first: datetime, last: datetime) -> str:
    """The days from first to last, and the time zone of the axis."""
    days = dict.fromkeys(f"{moment:%Y-%m-%d}" for moment in (first, last))
    return f"{' to '.join(days)}, {last:%Z}"


def _range(curve: Curve) -> tuple[float, float]:
    levels = [level for _, level in curve.points]
    low, high = min(levels), max(levels)
    if low == high:
        margin = abs(low) * 0.1 or 1
        return low - margin, high + margin
    return low, high


def _labels(curve: Curve, low: float, high: float) -> dict[int, str]:
    """Row number to the label beside it."""
    last = HEIGHT_ROWS - 1
    if curve.names and len(curve.names) <= HEIGHT_ROWS:
        return {round((high - level) / (high - low) * last): name for level, name in enumerate(curve.names)}
    return {row: f"{high - (high - low) * row / last:.6g}" for row in (0, last // 2, last)}


def _literal(text: str) -> str:
    """A text that matplotlib does not read as a formula."""
    return printable(text).replace("$", r"\$")


def save_png(signals: Sequence[Signal], title: str, file: Path) -> None:
    """Draw into a file.

    :raises CannotRead: there is nothing to draw, matplotlib is not installed, or the file cannot be written.
    """
    curve = to_curve(signals)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.dates import date2num
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CannotRead("--png needs matplotlib: pip install 'fleetgw[plot]'") from error
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    zone = datetime.now().astimezone().tzinfo
    axes.xaxis_date(zone)
    axes.step(
        [date2num(datetime.fromtimestamp(at_s, zone)) for at_s, _ in curve.points],
        [level for _, level in curve.points],
        where="post",
        marker=".",
        markersize=3,
    )
    first, last = (datetime.fromtimestamp(curve.points[index][0]).astimezone() for index in (0, -1))
    axes.set_title(f"{_literal(title)}, {_span(first, last)}")
    axes.grid(visible=True, alpha=0.3)
    if curve.names:
        axes.set_yticks(range(len(curve.names)), list(map(_literal, curve.names)))
    figure.autofmt_xdate()
    try:
        figure.savefig(file, format="png", dpi=120)
    except OSError as error:
        raise CannotRead(f"{file} cannot be written: {error.strerror}") from error
