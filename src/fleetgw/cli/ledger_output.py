"""The ledger as tables for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import asdict
from rich import box
from rich.table import Table
from rich.text import Text

from fleetgw.adapters.text.terminal import json_text, printable
from fleetgw.cli.console import table_console, width_of
from fleetgw.cli.figures import plural

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from fleetgw.domain.ledger import Imbalance, Ledger

_VEHICLE_COLUMNS = ("received", "acked", "duplicates", "not acked", "awaiting")
_SINK_COLUMNS = (
    "taken",
    "delivered",
    "dead letters",
    "unheard",
    "given up",
    "held",
    "in spool",
    "refused",
    "retried",
    "lost",
)
_MAY_BE_LEFT_OUT = {"duplicates", "unheard", "given up", "in spool", "refused", "retried"}
"""Columns that are not shown when they are 0 throughout."""

_Row = tuple[Sequence[str], Sequence[int]]


def as_json(url: str, ledger: Ledger, off: Sequence[Imbalance], indent: int | None) -> str:
    """The ledger and the result of the check; names of accounts are those of ``fleetgw.domain.ledger``."""
    return json_text(
        {
            "url": url,
            "balanced": not off,
            "lost": ledger.lost,
            "imbalances": [asdict(each) for each in off],
            "record_types": [asdict(each) for each in ledger.types.values()],
            "sinks": [asdict(each) for each in ledger.sinks.values()],
            "queues": [{"sink": sink, **asdict(figures)} for sink, figures in ledger.queues.items()],
        },
        indent,
    )


def clear() -> None:
    """Clear the terminal, if the output is one; else leave a line between two looks."""
    console = table_console(160)
    if console.is_terminal:
        console.clear()
    else:
        console.print()


def print_books(url: str, ledger: Ledger, off: Sequence[Imbalance]) -> None:
    """Print the accounts, the details of some, and the result of the check."""
    console = table_console(160)
    console.print(Text(printable(f"{url}: records since the start of the gateway")))
    vehicles: list[_Row] = [
        ((each.record_type,), (each.received, each.acked, each.duplicates, each.unacked.total(), each.awaiting))
        for each in ledger.types.values()
        if each.received
    ]
    from_vehicles = _table("From vehicles", ("record type",), _VEHICLE_COLUMNS, vehicles)
    sinks: list[_Row] = [
        (
            (each.record_type, each.sink),
            (
                each.taken,
                each.delivered,
                each.dead_letters.total(),
                each.unheard,
                each.given_up,
                each.held,
                each.spooled,
                each.refused,
                each.retried,
                each.lost.total(),
            ),
        )
        for each in ledger.sinks.values()
    ]
    to_sinks = _table("To sinks", ("record type", "sink"), _SINK_COLUMNS, sinks)
    for table in (from_vehicles, to_sinks):
        if width_of(console, table) > console.width:
            for column in table.columns:
                column.header = str(column.header).replace(" ", "\n")
        # a terminal that is narrower yet wraps the lines: each number stays whole
        console.width = max(console.width, width_of(console, table))
        console.print()
        console.print(table)
    console.print()
    for line in _details(ledger):
        console.print(Text(printable(line)))
    for imbalance in off:
        console.print(Text(printable(f"OFF {imbalance}"), "bold red"))
    if ledger.lost:
        console.print(Text(f"LOST {plural(ledger.lost, 'record')} that had been acknowledged", "bold red"))
    if not off:
        console.print(Text("balanced" if ledger.lost else "balanced, nothing lost", "green"))


def _table(title: str, names: Sequence[str], columns: Sequence[str], rows: Sequence[_Row]) -> Table:
    """A table with numbers to the right; a name that repeats the one above it is left out."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    for name in names:
        table.add_column(name)
    shown = [
        index
        for index, column in enumerate(columns)
        if column not in _MAY_BE_LEFT_OUT or any(numbers[index] for _, numbers in rows)
    ]
    for index in shown:
        table.add_column(columns[index], justify="right")
    above = ""
    for (first, *others), numbers in rows:
        cells = [Text(printable(first if first != above else "")), *(Text(printable(each)) for each in others)]
        above = first
        for index in shown:
            is_loss = columns[index] == "lost" and numbers[index]
            cells.append(Text(f"{numbers[index]:,}", "bold red" if is_loss else ""))
        table.add_row(*cells)
    return table


def _details(ledger: Ledger) -> Iterator[str]:
    """The parts of accounts that the tables show as one number, and the state of the spool."""
    for vehicles in ledger.types.values():
        yield from _parts(vehicles.record_type, "not acked", vehicles.unacked)
    for queue in ledger.sinks.values():
        account = f"{queue.record_type} to {queue.sink}"
        yield from _parts(account, "dead letters", queue.dead_letters)
        yield from _parts(account, "lost", queue.lost)
        if queue.replayed:
            yield f"{account}: from the spool, stored before the start: {plural(queue.replayed, 'record')}"
        if queue.skipped:
            yield f"{account}: not in the spool any more: {plural(queue.skipped, 'record')}"
    for sink, figures in ledger.queues.items():
        if figures.unread:
            yield f"{sink}: unread in the spool: at most {plural(figures.unread, 'record')}"


def _parts(account: str, name: str, parts: Counter[str]) -> Iterator[str]:
    if parts.total():
        said = ", ".join(f"{part.replace('_', ' ')} {count:,}" for part, count in sorted(parts.items()) if count)
        yield f"{account}: {name}: {said}"
