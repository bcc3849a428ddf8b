"""``fleetgw spool``: the durable queue between the gateway and its sinks."""

from __future__ import annotations

import time
from itertools import groupby
from typing import TYPE_CHECKING, cast

from fleetgw.cli.progress import progress
from fleetgw.cli.spool_replay import add_replay
from fleetgw.cli.storage import add_place, place_of, run_safely

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from fleetgw.adapters.spool.inspection import Inspection
    from fleetgw.adapters.spool.record_files import RecordFile

SECTION = "spool"

_DESCRIPTION = """\
Look at the files of the spool, check them, and replay records. The gateway may run meanwhile.

It needs the folder spool.path, on the machine of the gateway; replay needs the sinks' brokers. The exit status is 0, 1 for a
failure or damage, 2 when the command cannot work as given.
"""

_EXAMPLES = """\
examples:
  fleetgw spool status --config config.json              files, cursors and backlog of each sink
  fleetgw spool verify --path /var/lib/fleetgw/spool     read everything, check every checksum
  fleetgw spool replay --config config.json --since 2h --sink kafka
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "spool",
        help="look at, check and replay the durable queue",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    kinds = parser.add_subparsers(title="what to do", metavar="WHAT", required=True)
    status = kinds.add_parser("status", help="files, cursors and backlog of each sink")
    add_place(status, SECTION)
    status.set_defaults(run=run, do=_status)
    verify = kinds.add_parser(
        "verify",
        help="read everything, and check every checksum",
        description="Read every record and check its checksum. --path may also be the folder of a sink's dead letters. "
        "The exit status is 1 when something is damaged.",
    )
    add_place(verify, SECTION)
    verify.set_defaults(run=run, do=_verify)
    add_replay(kinds, SECTION, run)


def run(arguments: argparse.Namespace) -> int:
    """Run it; 0, 1 for a failure or damage, 2 when the command cannot work as given."""
    return run_safely("spool", arguments)


def _status(arguments: argparse.Namespace) -> int:
    from fleetgw.adapters.spool.inspection import inspect_to_end, read_cursors
    from fleetgw.adapters.text.terminal import json_text
    from fleetgw.cli.query_output import Moment, write

    path = place_of(arguments, SECTION)
    state = _state_of_gateway(path)
    found = inspect_to_end(path)
    cursors = read_cursors(path)
    end = found.files[-1].end if found.files else 1
    oldest_ms = found.files[0].created_ms if found.files else None
    summary: dict[str, object] = {
        "path": path,
        "gateway_runs": state is not None,
        "failure": None if state is None else state["failure"],
        "size_bytes": sum(file.size_bytes for file in found.files),
        "records": sum(len(range(file.first_position, file.end)) for file in found.files),
        "age_s": 0 if oldest_ms is None else max(0, round(time.time() - oldest_ms / 1000)),
        "damaged_files": len(found.damaged),
        "damaged_bytes": sum(each.size_bytes for each in found.damaged),
    }
    sinks = [
        {"sink": sink, "cursor": position, "backlog_records": _held(found, position, end)}
        for sink, position in sorted(cursors.positions.items())
    ]
    files = [
        {
            "file": file.name,
            "made_at": Moment(file.created_ms),
            "size_bytes": file.size_bytes,
            "records": file.end - file.first_position,
        }
        for file in found.files
    ]
    if arguments.json:
        plain = [each | {"made_at": cast("Moment", each["made_at"]).iso()} for each in files]
        damaged = [{"file": each.name, "size_bytes": each.size_bytes} for each in found.damaged]
        more = {"cursors_damaged": cursors.damaged, "sinks": sinks, "files": plain, "kept_aside": damaged}
        print(json_text(summary | more))
        return 0
    write("table", ("spool", "value"), [(key, _shown(value)) for key, value in summary.items()], nothing="")
    _write_rows(sinks, "no sink has a cursor yet")
    _write_rows(files, "there are no files of records")
    _write_rows([{"kept_aside": each.name, "size_bytes": each.size_bytes} for each in found.damaged], "")
    return 0


def _state_of_gateway(path: str) -> dict[str, object] | None:
    """The state as the running gateway has it; None when none answers."""
    from fleetgw.adapters.control.client import NotRunning, Refused, ask

    try:
        return cast("dict[str, object]", ask(path, "state", lambda _: None))
    except (NotRunning, Refused):
        return None


def _held(found: Inspection, start: int, end: int) -> int:
    """Most records that files hold between two positions."""
    return sum(len(range(max(start, file.first_position), min(end, file.end))) for file in found.files)


def _verify(arguments: argparse.Namespace) -> int:
    from fleetgw.adapters.spool.inspection import inspect, read_cursors
    from fleetgw.adapters.text.terminal import json_text

    path = place_of(arguments, SECTION)
    found = inspect(path)
    size_bytes = sum(file.size_bytes for file in found.files) or 1
    checked, done_bytes = [], 0
    with progress() as show:
        for file in found.files:
            show(f"verifying {file.name} ... {100 * done_bytes // size_bytes}%")
            checked.append(_verify_file(found, file))
            done_bytes += file.size_bytes
    cursors = read_cursors(path)
    damaged_records = sum(cast("int", each["damaged_records"]) for each in checked)
    is_damaged = bool(damaged_records or cursors.damaged or any(each["error"] for each in checked))
    if arguments.json:
        kept_aside = [{"file": each.name, "size_bytes": each.size_bytes} for each in found.damaged]
        print(
            json_text(
                {
                    "path": path,
                    "damaged": is_damaged,
                    "damaged_records": damaged_records,
                    "cursors_damaged": cursors.damaged,
                    "files": checked,
                    "kept_aside": kept_aside,
                }
            )
        )
    else:
        damaged = [each for each in checked if each["damaged_records"] or each["error"]]
        _write_rows([each | {"damaged_positions": _as_text(each["damaged_positions"])} for each in damaged], "")
        if cursors.damaged:
            print("a file of cursors is damaged: sinks may begin at the oldest record after the next start")
        if found.damaged:
            print(f"{len(found.damaged)} damaged files were kept aside earlier (*.damaged)")
        records = sum(cast("int", each["records"]) for each in checked)
        what = "some of it is damaged" if is_damaged else "everything is as it was written"
        print(f"read {records} records in {len(checked)} files: {what}")
    return int(is_damaged)


def _verify_file(found: Inspection, file: RecordFile) -> dict[str, object]:
    from fleetgw.adapters.spool.inspection import read_file
    from fleetgw.adapters.spool.record_format import Damaged

    records, damaged, error = 0, list[int](), None
    try:
        for contents in read_file(found.folder, file):
            records += len(contents.positions)
            damaged += contents.damaged
    except Damaged as problem:
        error = str(problem)
    return {
        "file": file.name,
        "size_bytes": file.size_bytes,
        "records": records,
        "damaged_records": len(damaged),
        "damaged_positions": _ranges(damaged),
        "error": error,
    }


def _ranges(positions: Iterable[int]) -> list[list[int]]:
    """The first and the last of each run of successive positions."""
    runs = [[*run] for _, run in groupby(enumerate(positions), lambda pair: pair[1] - pair[0])]
    return [[run[0][1], run[-1][1]] for run in runs]


def _as_text(ranges: object) -> str:
    pairs = cast("list[list[int]]", ranges)
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in pairs)


def _write_rows(rows: list[dict[str, object]], nothing: str) -> None:
    from fleetgw.cli.query_output import write

    if rows or nothing:
        write("table", [*rows[0]] if rows else (), [[*map(_shown, row.values())] for row in rows], nothing=nothing)


def _shown(cell: object) -> object:
    return "none" if cell is None else cell
