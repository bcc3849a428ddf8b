"""``fleetgw vehicles``: which vehicles are online."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from fleetgw.cli.argument_values import filled, positive
from fleetgw.cli.gateway_client import add_gateway_options, run_with_client

if TYPE_CHECKING:
    import argparse

    from rich.text import Text

    from fleetgw.cli.gateway_answers import Vehicle, Vehicles
    from fleetgw.cli.gateway_client import GatewayClient

_PATH = "/api/vehicles"
_MOST = 1000
"""Vehicles in one answer of a gateway."""

_MOST_CHARACTERS = 24
"""Longest text of a vehicle about itself in the table: it may not take the room of the other columns."""

_DESCRIPTION = """\
Show the vehicles that are connected to a running gateway, and those that have left it since its start: online ones first,
then the latest to leave. With --vin the answer is one line.

It needs status_port and operations.token in the gateway's configuration. The exit status is 0, or 2 when the gateway cannot
be asked; with --vin it is 0 when the vehicle is online, and 1 when it is not.
"""

_EXAMPLES = """\
examples:
  fleetgw vehicles --config config.json
  fleetgw vehicles --config config.json --vin 5YJ3E1EA7KF000001     is this car online?
  fleetgw vehicles --config config.json --search 7KF --limit 20     those with 7KF in the VIN
  fleetgw vehicles --url http://127.0.0.1:8080 --token-file token --json | jq '.vehicles[] | select(.online) | .vin'
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "vehicles",
        help="show which vehicles are online",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_gateway_options(parser)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--vin", type=filled, help="only this vehicle: one line, and an exit status")
    chosen.add_argument("--search", metavar="TEXT", help="only vehicles with this text in their VIN")
    parser.add_argument(
        "--limit", metavar="N", type=positive, default=100, help=f"show at most N, up to {_MOST} (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the vehicles; returns the exit status."""
    return run_with_client(arguments, partial(_show_one if arguments.vin else _show_all, arguments))


def _show_one(arguments: argparse.Namespace, client: GatewayClient) -> int:
    from fleetgw.adapters.text.terminal import json_text, printable
    from fleetgw.cli.gateway_answers import Vehicles, read_as

    vin = arguments.vin.strip()
    answer = client.get_json(_PATH, {"search": vin, "limit": _MOST})
    found = read_as(Vehicles, answer, client).vehicles
    index = next((index for index, each in enumerate(found) if each.vin.lower() == vin.lower()), None)
    if arguments.json:
        print(json_text({"vin": vin, "online": False} if index is None else answer["vehicles"][index]))
    elif index is None:
        print(printable(f"{vin} is offline: it has not connected since the start of the gateway"))
    else:
        print(printable(_in_words(found[index], time.time() * 1000)))
    return 0 if index is not None and found[index].online else 1


def _in_words(vehicle: Vehicle, now_ms: float) -> str:
    from fleetgw.cli.figures import count, since

    if not vehicle.online:
        return f"{vehicle.vin} is offline: it left {since(vehicle.offline_since_ms, now_ms)} ago"
    parts = [f"{vehicle.vin} is online: it connected {since(vehicle.online_since_ms, now_ms)} ago"]
    if vehicle.connections > 1:
        parts.append(f"{vehicle.connections} connections")
    if vehicle.network:
        parts.append(f"over {vehicle.network}")
    if vehicle.client_version:
        parts.append(f"client {vehicle.client_version}")
    if vehicle.address:
        parts.append(f"from {vehicle.address}")
    if vehicle.last_record_ms is None:
        parts.append("no record yet")
    else:
        parts.append(f"last record {since(vehicle.last_record_ms, now_ms)} ago")
    if vehicle.records:
        parts.append(f"{count(vehicle.records)} records")
    return ", ".join(parts)


def _show_all(arguments: argparse.Namespace, client: GatewayClient) -> int:
    from fleetgw.adapters.text.terminal import json_text
    from fleetgw.cli.gateway_answers import Vehicles, read_as

    answer = client.get_json(_PATH, {"search": arguments.search, "limit": arguments.limit})
    found = read_as(Vehicles, answer, client)
    if arguments.json:
        print(json_text(answer | {"vehicles": sorted(answer["vehicles"], key=lambda each: not each["online"])}))
    else:
        _print_table(found, time.time() * 1000, searched=arguments.search)
    return 0


def _print_table(found: Vehicles, now_ms: float, searched: str | None) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fleetgw.adapters.text.terminal import printable
    from fleetgw.cli.console import Column, fitted_table, table_console
    from fleetgw.cli.figures import count, plural, since

    console = table_console(160)
    vehicles = sorted(found.vehicles, key=lambda each: not each.online)
    if not vehicles:
        nothing = f"no vehicle has {searched!r} in its VIN" if searched else "no vehicle has connected since the start"
        console.print(Text(printable(nothing)))
        return
    columns = [
        Column("vehicle"),
        Column("presence"),
        Column("last record", spare=1, is_number=True),
        Column("records", spare=2, is_number=True),
        Column("signals today", spare=3, is_number=True),
        Column("network", spare=4),
        Column("client", spare=6),
        Column("address", spare=5),
    ]
    rows = [
        [
            Text(printable(each.vin), "bold" if each.online else "dim"),
            _presence(each, now_ms),
            Text("" if each.last_record_ms is None else f"{since(each.last_record_ms, now_ms)} ago"),
            Text(count(each.records)),
            Text(count(each.signals_today)),
            _short(each.network),
            _short(each.client_version),
            Text(printable(each.address or "")),
        ]
        for each in vehicles
    ]
    empty = partial(Table, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    console.print(fitted_table(console, console.width, empty, columns, rows))
    online = sum(each.online for each in vehicles)
    said = f"{plural(found.total, 'vehicle')}, {online:,} online"
    if found.total > len(vehicles):
        more = "" if len(vehicles) >= _MOST else "--limit shows more, "
        said = f"{len(vehicles):,} of {plural(found.total, 'vehicle')}; {more}--search finds some"
    console.print(Text(f"\n{said}", "dim"))


def _short(said: str | None) -> Text:
    """A text of a vehicle about itself, cut."""
    from rich.text import Text

    from fleetgw.adapters.text.terminal import printable

    text = Text(printable(said or ""))
    text.truncate(_MOST_CHARACTERS, overflow="ellipsis")
    return text


def _presence(vehicle: Vehicle, now_ms: float) -> Text:
    from rich.text import Text

    from fleetgw.cli.figures import since

    if not vehicle.online:
        return Text(f"○ offline {since(vehicle.offline_since_ms, now_ms)}", "dim")
    several = f" x{vehicle.connections}" if vehicle.connections > 1 else ""
    return Text(f"● online {since(vehicle.online_since_ms, now_ms)}{several}", "green")
