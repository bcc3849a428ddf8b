"""``fleetgw signals``: how many signals the vehicles have sent, which is what Tesla bills."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fleetgw.cli.gateway_client import add_gateway_options, run_with_client
from fleetgw.cli.numbers import positive

if TYPE_CHECKING:
    import argparse

    from fleetgw.cli.gateway_answers import Signals
    from fleetgw.cli.gateway_client import GatewayClient

_PATH = "/api/signals"
_WIDE = 116
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
    from fleetgw.cli.console import table_console
    from fleetgw.cli.drawing import bar
    from fleetgw.cli.figures import count, plural
    from fleetgw.cli.query_output import Moment

    console = table_console(160)
    since_start = sum(found.total.values())
    in_all = sum(each.total for each in found.vehicles) + found.others
    by_type = ", ".join(f"{kind} {count(number)}" for kind, number in found.total.items() if number)
    began = Moment(int(found.since_ms)).local()[:16]
    console.print(Text(printable(f"{plural(since_start, 'signal')} since the start {began}: {by_type}")))
    if not found.vehicles:
        console.print(Text("no vehicle has sent a signal yet"))
        return
    days = sorted(found.days)[-7 if console.width >= _WIDE else -2 :]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("vehicle", no_wrap=True)
    for day in days:
        table.add_column(printable(day[5:]), justify="right", no_wrap=True)
    table.add_column("total", justify="right", no_wrap=True, style="bold")
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, style="cyan")
    most = max(each.total for each in found.vehicles) or 1
    for each in found.vehicles:
        share = each.total / in_all if in_all else 0.0
        cells = [Text(printable(each.vin)), *(Text(count(each.per_day.get(day, 0))) for day in days)]
        table.add_row(*cells, count(each.total), f"{share:.1%}", bar(each.total / most, _BAR_CELLS))
    if found.others:
        share = found.others / in_all if in_all else 0.0
        table.add_row(Text("others", "dim"), *("" for _ in days), count(found.others), f"{share:.1%}", "")
    console.print()
    console.print(table)
