"""Tables in terminals of any width: columns are left out, and no VIN or number is cut."""

from __future__ import annotations

from functools import partial
from unittest import TestCase

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleetgw.cli.console import Column, fitted_table

COLUMNS = (Column("vehicle"), Column("left first", spare=2), Column("signals", is_number=True), Column("then", spare=1))


def printed(width: int, *rows: tuple[str, ...]) -> list[str]:
    console = Console(width=width, highlight=False)
    empty = partial(Table, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    with console.capture() as capture:
        console.print(fitted_table(console, width, empty, COLUMNS, [[*map(Text, row)] for row in rows]))
    return [line.rstrip() for line in capture.get().splitlines()]


class FittedTableTests(TestCase):
    def test_columns_without_room_are_left_out_the_most_spare_first(self) -> None:
        row = ("5YJ3E1EA7KF000001", "x", "1,204,331", "y")
        for width, lines in (
            (43, ["vehicle           left first   signals then", "5YJ3E1EA7KF000001 x          1,204,331 y"]),
            (42, ["vehicle             signals then", "5YJ3E1EA7KF000001 1,204,331 y"]),
            (32, ["vehicle             signals then", "5YJ3E1EA7KF000001 1,204,331 y"]),
            (31, ["vehicle             signals", "5YJ3E1EA7KF000001 1,204,331"]),
            (27, ["vehicle             signals", "5YJ3E1EA7KF000001 1,204,331"]),
        ):
            with self.subTest(width=width):
                self.assertEqual(printed(width, row), lines)

    def test_columns_that_must_stay_are_cut_where_there_is_no_room_at_all(self) -> None:
        self.assertEqual(printed(12, ("5YJ3E1EA7KF000001", "", "1", "")), ["vehicle sig…", "5YJ3E1…    1"])

    def test_no_rows(self) -> None:
        self.assertEqual(printed(20), ["vehicle signals then"])
