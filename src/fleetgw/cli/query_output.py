"""Rows as a table for people, as CSV, as JSON."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.text.terminal import escaped, json_text, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


@frozen
class Moment:
    """A time in epoch milliseconds, or none."""

    epoch_ms: int | None

    def iso(self) -> str | None:
        """ISO 8601 in UTC, with milliseconds."""
        if self.epoch_ms is None:
            return None
        return datetime.fromtimestamp(self.epoch_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def local(self) -> str:
        """Local time, with milliseconds."""
        if self.epoch_ms is None:
            return ""
        return datetime.fromtimestamp(self.epoch_ms / 1000).astimezone().isoformat(" ", timespec="milliseconds")[:23]


def write(form: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, nothing: str) -> None:
    """Print rows.

    :param form: ``table``, ``csv`` or ``json``.
    :param nothing: the text printed in place of an empty table.
    """
    match form:
        case "json":
            objects = [dict(zip(columns, map(_plain, row), strict=True)) for row in rows]
            print(json_text(objects))
        case "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([escaped(_text(_plain(cell))) for cell in row] for row in rows)
        case _:
            _print_table(columns, rows, nothing)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], nothing: str) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fleetgw.cli.console import table_console

    console = table_console(200)
    if not rows:
        console.print(Text(printable(nothing)))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, cell in zip(columns, rows[0], strict=True):
        number = isinstance(cell, int | float) and not isinstance(cell, bool) and column != "value"
        table.add_column(column.replace("_", " "), justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown = (cell.local() if isinstance(cell, Moment) else _for_people(cell) for cell in row)
        table.add_row(*(Text(printable(text)) for text in shown))
    console.print(table)


def _plain(cell: object) -> object:
    return cell.iso() if isinstance(cell, Moment) else cell


def _for_people(cell: object) -> str:
    match cell:
        case {"latitude": float() | int() as latitude, "longitude": float() | int() as longitude}:
            return f"{latitude:.6f}, {longitude:.6f}"
        case dict() if cell and all(isinstance(value, bool) for value in cell.values()):
            return ", ".join(str(name) for name, value in cell.items() if value) or "none"
        case None:
            return "(invalid)"
        case float():
            return f"{cell:.10g}"
        case _:
            return _text(cell)


def _text(cell: object) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
