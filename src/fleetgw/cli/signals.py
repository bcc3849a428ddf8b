"""``fleetgw signals``: how many signals the vehicles have sent, which is what Tesla bills."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fleetgw.cli.argument_values import positive
from fleetgw.cli.gateway_client import add_gateway_options, run_with_client

if TYPE_CHECKING:
    import argparse

    from fleetgw.cli.gateway_answers import Signals
    from fleetgw.cli.gateway_client import GatewayClient

_PATH = "/api/signals"
_MOST_DAYS = 7
_BAR_CELLS = 12

_DESCRIPTION = """\
Show how many signals the vehicles have sent to a running gateway: in all, and of the vehicles with the most. Tesla bills
signals; a record of type V has one for each of its fields. Days are UTC. The counts begin with the gateway's start, or
earlier where operations.folder keeps them.

It needs status_port and operations.token in the gateway's configuration. The exit status is 0, or 2 when the gateway cannot
be asked.
"""

_EXAMPLES = """\
examples:
  fleetgw signals --config config.json --top 20
  fleetgw signals --config config.json --top 100 --json | jq -r '.vehicles[] | [.vin, .total] | @csv'
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "signals",
        help="count the signals of each vehicle, which Tesla bills",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_gateway_options(parser)
    parser.add_argument("--top", metavar="N", type=positive, default=20, help="the N vehicles with the most (default: 20)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the counts; returns the exit status."""
    return run_with_client(arguments, partial(_show, arguments))


def _show(arguments: argparse.Namespace, client: GatewayClient) -> int:
    from fleetgw.adapters.text.terminal import json_text
    from fleetgw.cli.gateway_answers import Signals, read_as

    answer = client.get_json(_PATH, {"top": arguments.top})
    found = read_as(Signals, answer, client)
    if arguments.json:
        print(json_text(answer))
    else:
        _print_table(found)
    return 0


def _print_table(found: Signals) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fleetgw.adapters.text.terminal import printable
    from fleetgw.cli.console import Column, fitted_table, table_console
    from fleetgw.cli.drawing import bar
    from fleetgw.cli.figures import count, plural
    from fleetgw.cli.query_output import Moment

    console = table_console(160)
    since_start = sum(found.total.values())
    in_all = sum(each.total for each in found.vehicles) + found.others
    by_type = ", ".join(f"{kind} {count(number)}" for kind, number in found.total.items() if number)
    of_types = f": {by_type}" if by_type else ""
    began = Moment(int(found.since_ms)).local()[:16]
    console.print(Text(printable(f"{plural(since_start, 'signal')} since the start {began}{of_types}")))
    if not found.vehicles:
        console.print(Text("no vehicle has sent a signal yet"))
        return
    days = sorted(found.days)[-_MOST_DAYS:]
    columns = [
        Column("vehicle"),
        *(Column(printable(day[5:]), spare=2 * (len(days) - at) - 1, is_number=True) for at, day in enumerate(days)),
        Column("total", is_number=True, style="bold"),
        Column("share", spare=2, is_number=True),
        Column("", spare=4, style="cyan"),
    ]
    rows = []
    most = max(each.total for each in found.vehicles) or 1
    for each in found.vehicles:
        share = each.total / in_all if in_all else 0.0
        cells = [printable(each.vin), *(count(each.per_day.get(day, 0)) for day in days)]
        cells += [count(each.total), f"{share:.1%}", bar(each.total / most, _BAR_CELLS)]
        rows.append([*map(Text, cells)])
    if found.others:
        share = found.others / in_all if in_all else 0.0
        figures = [*("" for _ in days), count(found.others), f"{share:.1%}", ""]
        rows.append([Text("others", "dim"), *map(Text, figures)])
    empty = partial(Table, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    console.print()
    console.print(fitted_table(console, console.width, empty, columns, rows))
