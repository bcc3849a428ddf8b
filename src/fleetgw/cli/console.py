"""The console that tables are printed to, and tables that fit it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from attrs import frozen
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table
    from rich.text import Text

_ANY_WIDTH = 10_000


@frozen
class Column:
    """A column of a table.

    :ivar name: its heading.
    :ivar spare: columns with the highest number are left out first where the width is too small; those with 0 never.
    """

    name: str
    spare: int = 0
    is_number: bool = False
    style: str = ""


def table_console(columns: int) -> Console:
    """Standard output: as wide as the terminal, or so many columns where it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else columns)


def fitted_table(
    console: Console, width: int, empty: Callable[[], Table], columns: Sequence[Column], rows: Sequence[Sequence[Text]]
) -> Table:
    """A table that leaves out columns rather than cut a VIN or a number.

    :param width: of the terminal, in cells.
    :param empty: makes the table without columns.
    :param rows: a text for each column.
    """
    kept = [*range(len(columns))]
    while True:
        table = empty()
        for index in kept:
            column = columns[index]
            table.add_column(
                column.name,
                justify="right" if column.is_number else "left",
                no_wrap=True,
                overflow="ellipsis",
                style=column.style,
            )
        for row in rows:
            table.add_row(*(row[index] for index in kept))
        most_spare = max(kept, key=lambda index: columns[index].spare)
        if not columns[most_spare].spare or width_of(console, table) <= width:
            return table
        kept.remove(most_spare)


def width_of(console: Console, table: Table) -> int:
    """Cells that a table takes where nothing is cut or wrapped."""
    return console.measure(table, options=console.options.update_width(_ANY_WIDTH)).maximum
