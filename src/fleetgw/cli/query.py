"""``fleetgw query``: the records in the ``sqlite`` sink's file."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.cli.argument_values import UNITS_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.sinks.sqlite.reading import RecordFile

_DESCRIPTION = """\
Show records from the sqlite sink's file. The gateway may run meanwhile; queries do not delay it.

Times are by the vehicle's clock. --since and --until take an age (90s, 30m, 2h, 7d) or a moment (2026-11-23,
2026-11-23T17:05; local time, or with Z or an offset).

It needs the sink's file, on the machine of the gateway. The exit status is 0, or 1 when the records cannot be read.
"""

_EXAMPLES = """\
examples:
  fleetgw query vehicles                                       all vehicles
  fleetgw query latest 5YJ3E1EA7KF000001                       the latest values of a vehicle
  fleetgw query signal 5YJ3E1EA7KF000001 Soc --since 2h        one signal's history
  fleetgw query signal 5YJ3E1EA7KF000001 VehicleSpeed --plot   drawn in the terminal
  fleetgw query alerts --since 1d --format json
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "query",
        help="show records from the sqlite sink's file",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    shared = argparse.ArgumentParser(add_help=False)
    for place, db, form in ((parser, Path("fleetgw.sqlite3"), "table"), (shared, argparse.SUPPRESS, argparse.SUPPRESS)):
        place.add_argument("--db", metavar="FILE", type=Path, default=db, help="the sink's file (default: fleetgw.sqlite3)")
        place.add_argument("--format", choices=("table", "csv", "json"), default=form, help="default: table")
    span = argparse.ArgumentParser(add_help=False)
    span.add_argument("--since", metavar="WHEN", type=moment_ms, help="the earliest time")
    span.add_argument("--until", metavar="WHEN", type=moment_ms, help="the latest time (default: now)")
    kinds = parser.add_subparsers(title="what to show", metavar="WHAT", required=True)

    kinds.add_parser("vehicles", parents=[shared], help="every vehicle").set_defaults(run=run, show=_vehicles)
    latest = kinds.add_parser("latest", parents=[shared], help="the latest value of every field of a vehicle")
    latest.add_argument("vin", metavar="VIN")
    latest.set_defaults(run=run, show=_latest)
    signal = kinds.add_parser("signal", parents=[shared, span], help="the history of one field of a vehicle")
    signal.add_argument("vin", metavar="VIN")
    signal.add_argument("field", metavar="FIELD", help="such as Soc or VehicleSpeed")
    drawn = signal.add_mutually_exclusive_group()
    drawn.add_argument("--plot", action="store_true", help="draw it in the terminal")
    drawn.add_argument("--png", metavar="FILE", type=Path, help="draw it into a file (needs: pip install 'fleetgw[plot]')")
    signal.set_defaults(run=run, show=_signal, since=None)
    alerts = kinds.add_parser("alerts", parents=[shared, span], help="alerts, the latest first")
    alerts.add_argument("vin", metavar="VIN", nargs="?", help="of this vehicle only")
    alerts.set_defaults(run=run, show=_alerts)


def moment_ms(text: str) -> int:
    """Epoch milliseconds of an age such as ``2h``, or of an ISO 8601 date or time.

    :raises argparse.ArgumentTypeError: it is neither.
    """
    from datetime import datetime

    number, unit = text[:-1], text[-1:]
    try:
        if unit in UNITS_S:
            return int((time.time() - float(number) * UNITS_S[unit]) * 1000)
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        problem = f"{text!r} is no time; write an age such as 30m, 2h or 7d, or a moment such as 2026-11-23T17:05"
        raise argparse.ArgumentTypeError(problem) from None


def run(arguments: argparse.Namespace) -> int:
    """Show the records; returns the exit status: 0, or 1 when they cannot be read."""
    from fleetgw.adapters.sinks.sqlite.reading import CannotRead, open_file
    from fleetgw.adapters.text.terminal import printable

    show: Callable[[argparse.Namespace, RecordFile], None] = arguments.show
    try:
        with open_file(arguments.db) as records:
            show(arguments, records)
    except CannotRead as error:
        print(printable(f"fleetgw query: {error}"), file=sys.stderr)
        return 1
    return 0


def _vehicles(arguments: argparse.Namespace, records: RecordFile) -> None:
    from fleetgw.cli.query_output import Moment, write

    rows = [(each.vin, each.status.lower(), each.fields, Moment(each.last_ms)) for each in records.vehicles()]
    write(
        arguments.format, ("vin", "connection", "fields", "last_record_at"), rows, nothing="no vehicle has sent anything yet"
    )


def _latest(arguments: argparse.Namespace, records: RecordFile) -> None:
    from fleetgw.cli.query_output import Moment, write

    rows = [(each.field, each.value, Moment(each.created_at_ms)) for each in records.latest(arguments.vin)]
    write(arguments.format, ("field", "value", "created_at"), rows, nothing=f"{arguments.vin} has sent no signals yet")


def _signal(arguments: argparse.Namespace, records: RecordFile) -> None:
    from fleetgw.cli.query_output import Moment, write

    signals = records.history(arguments.vin, arguments.field, *_span(arguments))
    if signals and (arguments.plot or arguments.png):
        from fleetgw.cli.plotting import draw, save_png

        title = f"{arguments.field} of {arguments.vin}"
        if arguments.png:
            save_png(signals, title, arguments.png)
            print(f"drawn into {arguments.png}")
        else:
            draw(signals, title)
        return
    rows = [(Moment(each.created_at_ms), each.value) for each in signals]
    nothing = f"{arguments.vin} has sent {arguments.field}, but not in this time; look further back with --since"
    write(arguments.format, ("created_at", "value"), rows, nothing=nothing)


def _alerts(arguments: argparse.Namespace, records: RecordFile) -> None:
    from fleetgw.cli.query_output import Moment, write

    rows = [
        (each.vin, each.name, Moment(each.started_at_ms), Moment(each.ended_at_ms), ", ".join(each.audiences))
        for each in records.alerts(arguments.vin, *_span(arguments))
    ]
    write(arguments.format, ("vin", "name", "started_at", "ended_at", "audiences"), rows, nothing="no alerts in this time")


def _span(arguments: argparse.Namespace) -> tuple[int, int]:
    from fleetgw.adapters.sinks.sqlite.rows import CREDIBLE_AHEAD_MS

    now_ms = int(time.time() * 1000) + CREDIBLE_AHEAD_MS  # vehicles' clocks may be ahead of ours
    return arguments.since or 0, now_ms if arguments.until is None else arguments.until
