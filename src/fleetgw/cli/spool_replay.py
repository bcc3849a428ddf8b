"""``fleetgw spool replay``: to deliver records again that the spool still holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from fleetgw.cli.progress import progress
from fleetgw.cli.query import moment_ms
from fleetgw.cli.storage import CannotUse, add_place, config_of, place_of, problems_as_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Mapping, Sequence

_DESCRIPTION = """\
Deliver records again that were received since a time, as far as the spool still holds them. Sinks get copies.

A running gateway offers them to its sinks at once, and the command waits until these have settled them. Without a gateway,
the cursors of the sinks are moved back, so that the gateway delivers from there at its next start.
"""


def add_replay(
    kinds: argparse._SubParsersAction[argparse.ArgumentParser],
    section: str,
    run: Callable[[argparse.Namespace], int],
) -> None:
    """Add the command."""
    replay = kinds.add_parser(
        "replay",
        help="deliver records again that the spool still holds",
        description=_DESCRIPTION,
    )
    add_place(replay, section)
    replay.add_argument(
        "--since", metavar="WHEN", type=moment_ms, required=True, help="when they were received: an age (2h) or a moment"
    )
    replay.add_argument("--sink", metavar="NAME", help="to this sink alone (default: to all)")
    replay.set_defaults(run=run, do=_replay, section=section)


def _replay(arguments: argparse.Namespace) -> int:
    from fleetgw.adapters.control.client import NotRunning, Refused, ask
    from fleetgw.adapters.spool.inspection import inspect
    from fleetgw.adapters.spool.replaying import first_position_since

    path = place_of(arguments, arguments.section)
    request = {
        "sink": arguments.sink,
        "since_ms": arguments.since,
        "position": first_position_since(inspect(path), arguments.since),
    }
    try:
        with progress() as show:
            show("replaying ...")
            answer = ask(path, "replay", lambda report: show(_replaying(report)), **request)
    except NotRunning:
        return _without_gateway(arguments, path)
    except Refused as error:
        raise CannotUse(str(error)) from error
    report = cast("dict[str, dict[str, int]]", answer)
    _write(arguments, ("sink", "records", "settled"), [(sink, *each.values()) for sink, each in report.items()])
    return int(any(each["settled"] < each["offered"] for each in report.values()))


def _replaying(report: object) -> str:
    ((sink, each),) = cast("dict[str, dict[str, int]]", report).items()
    return f"replaying {sink} ... {each['settled']} records"


def _without_gateway(arguments: argparse.Namespace, path: str) -> int:
    from fleetgw.adapters.settings.spelling import did_you_mean
    from fleetgw.adapters.spool.inspection import read_cursors
    from fleetgw.adapters.spool.replaying import move_cursors_back
    from fleetgw.domain.errors import ConfigurationError

    known = read_cursors(path).positions
    if arguments.sink is not None and arguments.sink not in known:
        what = f'the spool has no cursor of a sink "{arguments.sink}"'
        raise CannotUse(f"{what}; {did_you_mean(arguments.sink, known)}", 2)
    names = known if arguments.sink is None else (arguments.sink,)
    try:
        with progress() as show:
            moved = move_cursors_back(
                path, arguments.since, _types_of(names, arguments), lambda name: show(f"reading {name} ...")
            )
    except ConfigurationError as error:
        raise CannotUse(problems_as_text(error.problems)) from error
    _write(arguments, ("sink", "cursor", "records"), [(sink, each.position, each.records) for sink, each in moved.items()])
    if moved:
        print("the cursors were moved back: the gateway delivers these records at its next start", file=sys.stderr)
    return 0


def _types_of(sinks: Collection[str], arguments: argparse.Namespace) -> Mapping[str, Collection[str] | None]:
    """The record types of each sink, as far as a configuration tells them."""
    if arguments.config is None:
        return dict.fromkeys(sinks)
    records = config_of(arguments.config).records
    return {sink: [each for each, routed in records.items() if sink in routed] for sink in sinks}


def _write(arguments: argparse.Namespace, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    from fleetgw.cli.query_output import write

    nothing = "the spool holds no such records that were delivered already"
    write("json" if arguments.json else "table", columns, rows, nothing=nothing)
