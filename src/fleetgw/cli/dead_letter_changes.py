"""``fleetgw dead-letters redrive`` and ``purge``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from fleetgw.cli.letter_ids import letters_of
from fleetgw.cli.progress import progress
from fleetgw.cli.query import moment_ms
from fleetgw.cli.storage import CannotUse, add_place, place_of, problems_as_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

REDRIVEN = ("offered", "delivered", "refused_again", "kept")


def add_changes(
    kinds: argparse._SubParsersAction[argparse.ArgumentParser], section: str, run: Callable[[argparse.Namespace], int]
) -> None:
    """Add the commands."""
    redriving = kinds.add_parser(
        "redrive",
        help="offer letters to their sinks again, through the running gateway",
        description="A letter leaves the store once its sink has confirmed it. One that is refused again stays, with the "
        "new reason and a new ID. The exit status is 1 when not all were delivered.",
    )
    purging = kinds.add_parser("purge", help="remove letters for good")
    for parser in (redriving, purging):
        add_place(parser, section)
        chosen = parser.add_mutually_exclusive_group(required=True)
        chosen.add_argument("--sink", metavar="NAME", help="all letters of this sink")
        chosen.add_argument("--all", action="store_true", help="all letters")
        chosen.add_argument("ids", metavar="ID", nargs="*", default=[], help="such as kafka/17")
        parser.set_defaults(run=run, section=section)
    redriving.set_defaults(do=_redrive)
    purging.add_argument("--before", metavar="WHEN", type=moment_ms, help="only those older than an age (30d) or a moment")
    purging.add_argument("--yes", action="store_true", help="do not ask")
    purging.set_defaults(do=_purge)


def _chosen(arguments: argparse.Namespace) -> Mapping[str, object] | None:
    if arguments.ids:
        return letters_of(arguments.ids)
    return None if arguments.all else {arguments.sink: None}


def _redrive(arguments: argparse.Namespace) -> int:
    from fleetgw.adapters.control.client import NotRunning, Refused, ask

    path = place_of(arguments, arguments.section)
    try:
        with progress() as show:
            show("redriving ...")
            answer = ask(path, "redrive", lambda report: show(_redriving(report)), letters=_chosen(arguments))
    except NotRunning as error:
        what = "no gateway runs with this folder, and letters are redriven through its sinks"
        raise CannotUse(f"{what}; start it, then redrive") from error
    except Refused as error:
        raise CannotUse(str(error)) from error
    report = cast("dict[str, dict[str, int]]", answer)
    _write(arguments, ("sink", *REDRIVEN), [(sink, *(each[key] for key in REDRIVEN)) for sink, each in report.items()])
    return int(any(each["delivered"] < each["offered"] for each in report.values()))


def _redriving(report: object) -> str:
    ((sink, each),) = cast("dict[str, dict[str, int]]", report).items()
    return f"redriving {sink} ... {each['delivered']} delivered, {each['refused_again'] + each['kept']} not"


def _purge(arguments: argparse.Namespace) -> int:
    from fleetgw.adapters.control.client import NotRunning, Refused, ask

    path = place_of(arguments, arguments.section)
    request = {"letters": _chosen(arguments), "before_ms": arguments.before}
    _confirm(arguments)
    try:
        with progress() as show:
            show("purging ...")
            answer = ask(path, "purge", lambda _: None, **request)
    except NotRunning:
        answer = _purge_without_gateway(path, request)
    except Refused as error:
        raise CannotUse(str(error)) from error
    _write(arguments, ("sink", "purged"), [*cast("dict[str, int]", answer).items()])
    return 0


def _confirm(arguments: argparse.Namespace) -> None:
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise CannotUse("letters are removed for good; say --yes where nobody can be asked", 2)
    what = f"{len(arguments.ids)} letters" if arguments.ids else "all letters"
    if arguments.sink:
        what += f" of {arguments.sink}"
    if arguments.before is not None:
        what += " that are older"
    print(f"Remove {what} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CannotUse("nothing was removed")


def _purge_without_gateway(path: str, request: Mapping[str, object]) -> object:
    from fleetgw.adapters.control.server import CommandError
    from fleetgw.app.service.without_gateway import purge
    from fleetgw.domain.errors import ConfigurationError

    try:
        return purge(path, request)
    except CommandError as error:
        raise CannotUse(str(error)) from error
    except ConfigurationError as error:
        raise CannotUse(problems_as_text(error.problems)) from error


def _write(arguments: argparse.Namespace, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    from fleetgw.cli.query_output import write

    write("json" if arguments.json else "table", columns, rows, nothing="there are no dead letters")
