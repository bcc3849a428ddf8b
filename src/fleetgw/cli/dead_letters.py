"""``fleetgw dead-letters``: the records that sinks refused for good."""

from __future__ import annotations

import base64
import sys
from collections import Counter, deque
from typing import TYPE_CHECKING

from fleetgw.cli.argument_values import positive
from fleetgw.cli.dead_letter_changes import add_changes
from fleetgw.cli.letter_ids import check_sink, read_id
from fleetgw.cli.progress import with_progress
from fleetgw.cli.query import moment_ms
from fleetgw.cli.storage import CannotUse, add_place, place_of, run_safely

if TYPE_CHECKING:
    import argparse

    from fleetgw.adapters.dead_letters.reading import LetterFolder, StoredLetters
    from fleetgw.domain.dead_letter import DeadLetter

SECTION = "dead_letters"

_DESCRIPTION = """\
Show, redrive and purge dead letters: the records that a sink refused for good, stored with the reason. The gateway may run
meanwhile. A letter's ID is the name of its sink and its number: kafka/17.

It needs the folder dead_letters.path, on the machine of the gateway; redrive needs the running gateway. The exit status is
0, 1 for a failure, 2 when the command cannot work as given.
"""

_EXAMPLES = """\
examples:
  fleetgw dead-letters list --config config.json                           by sink, with the most frequent reasons
  fleetgw dead-letters list --config config.json --sink kafka              the letters of one sink
  fleetgw dead-letters show --config config.json kafka/17
  fleetgw dead-letters show --config config.json kafka/17 --payload > payload.bin
  fleetgw dead-letters redrive --config config.json --sink kafka           offer them to the sink again
  fleetgw dead-letters purge --config config.json --sink kafka --before 30d
"""

MOST_REASONS = 3
REASON_CHARACTERS = 120
TRACKED_REASONS = 10_000


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "dead-letters",
        help="show, redrive and purge records that sinks refused for good",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    kinds = parser.add_subparsers(title="what to do", metavar="WHAT", required=True)
    listing = kinds.add_parser("list", help="count the letters of each sink, or list those of one")
    add_place(listing, SECTION)
    listing.add_argument("--sink", metavar="NAME", help="list the letters of this sink")
    listing.add_argument("--since", metavar="WHEN", type=moment_ms, help="only those refused since an age (2h) or a moment")
    listing.add_argument("--limit", metavar="N", type=positive, default=100, help="list the latest N (default: 100)")
    listing.set_defaults(run=run, do=_list)
    showing = kinds.add_parser("show", help="one letter with its payload")
    add_place(showing, SECTION)
    showing.add_argument("id", metavar="ID", help="such as kafka/17")
    showing.add_argument("--payload", action="store_true", help="write the payload alone, as it is")
    showing.set_defaults(run=run, do=_show)
    add_changes(kinds, SECTION, run)


def run(arguments: argparse.Namespace) -> int:
    """Run it; 0, 1 for a failure, 2 when the command cannot work as given."""
    return run_safely("dead-letters", arguments)


def _list(arguments: argparse.Namespace) -> int:
    folder = _opened(arguments)
    since_ms = arguments.since or 0
    if arguments.sink is not None:
        check_sink(arguments.sink, folder.sinks)
        _list_letters(arguments, folder, since_ms)
        return 0
    from fleetgw.adapters.text.terminal import json_text
    from fleetgw.cli.query_output import Moment, write

    summaries = [_Summary(sink, folder.size_bytes(sink)) for sink in folder.sinks]
    for summary in summaries:
        for letters in with_progress(folder.read(summary.sink), f"reading the letters of {summary.sink}"):
            summary.add(letters, since_ms)
    if arguments.json:
        print(json_text([summary.as_json() for summary in summaries]))
        return 0
    rows = [
        (
            each.sink,
            each.letters,
            each.size_bytes,
            Moment(each.oldest_ms),
            Moment(each.newest_ms),
            each.damaged,
            "; ".join(f"{count} x {reason}" for reason, count in each.reasons.most_common(MOST_REASONS)),
        )
        for each in summaries
    ]
    columns = ("sink", "letters", "bytes", "oldest", "newest", "damaged", "reasons")
    write("table", columns, rows, nothing="there are no dead letters")
    return 0


class _Summary:
    """The letters of one sink, counted."""

    def __init__(self, sink: str, size_bytes: int) -> None:
        self.sink = sink
        self.size_bytes = size_bytes
        self.letters = self.damaged = 0
        self.oldest_ms: int | None = None
        self.newest_ms: int | None = None
        self.reasons: Counter[str] = Counter()

    def add(self, found: StoredLetters, since_ms: int) -> None:
        self.damaged += found.damaged
        for _, letter in found.letters:
            at_ms = letter.dead_since_ms
            if at_ms < since_ms:
                continue
            self.letters += 1
            self.oldest_ms = at_ms if self.oldest_ms is None else min(self.oldest_ms, at_ms)
            self.newest_ms = at_ms if self.newest_ms is None else max(self.newest_ms, at_ms)
            reason = " ".join(letter.reason.split())[:REASON_CHARACTERS]
            if reason in self.reasons or len(self.reasons) < TRACKED_REASONS:
                self.reasons[reason] += 1

    def as_json(self) -> dict[str, object]:
        from fleetgw.cli.query_output import Moment

        return {
            "sink": self.sink,
            "letters": self.letters,
            "size_bytes": self.size_bytes,
            "oldest": Moment(self.oldest_ms).iso(),
            "newest": Moment(self.newest_ms).iso(),
            "damaged": self.damaged,
            "reasons": [{"reason": reason, "letters": count} for reason, count in self.reasons.most_common(MOST_REASONS)],
        }


def _list_letters(arguments: argparse.Namespace, folder: LetterFolder, since_ms: int) -> None:
    from fleetgw.cli.query_output import Moment, write

    latest: deque[tuple[int, DeadLetter]] = deque(maxlen=arguments.limit)
    total = 0
    for found in with_progress(folder.read(arguments.sink), f"reading the letters of {arguments.sink}"):
        for at, letter in found.letters:
            if letter.dead_since_ms >= since_ms:
                latest.append((at, letter))
                total += 1
    rows = [
        (
            f"{arguments.sink}/{at}",
            Moment(letter.dead_since_ms),
            letter.vin,
            letter.record_type,
            letter.txid.decode("utf-8", "surrogateescape"),
            len(letter.payload),
            letter.reason,
        )
        for at, letter in latest
    ]
    columns = ("id", "dead_since", "vin", "record_type", "txid", "payload_bytes", "reason")
    form = "json" if arguments.json else "table"
    write(form, columns, rows, nothing=f"there are no dead letters of {arguments.sink}")
    if total > len(latest):
        print(f"these are the latest {len(latest)} of {total}; --limit sets their number", file=sys.stderr)


def _show(arguments: argparse.Namespace) -> int:
    folder = _opened(arguments)
    sink, position = read_id(arguments.id)
    check_sink(sink, folder.sinks)
    letter = _find(folder, sink, position)
    if letter is None:
        known = f"fleetgw dead-letters list --sink {sink}"
        raise CannotUse(f"there is no letter {arguments.id}; it was removed or never there: see {known}")
    if arguments.payload:
        sys.stdout.buffer.write(letter.payload)
        return 0
    from fleetgw.adapters.text.terminal import json_text
    from fleetgw.cli.query_output import Moment, write

    fields: dict[str, object] = {
        "id": arguments.id,
        "reason": letter.reason,
        "dead_since": Moment(letter.dead_since_ms),
        "received_at": Moment(letter.received_at_ms),
        **{f"metadata.{key}": value for key, value in letter.metadata().items()},
        "payload_bytes": len(letter.payload),
    }
    payload = _payload(letter)
    if arguments.json:
        plain = {key: value.iso() if isinstance(value, Moment) else value for key, value in fields.items()}
        plain = {key: value for key, value in plain.items() if not key.startswith("metadata.")}
        print(json_text(plain | {"metadata": letter.metadata(), "payload": payload}))
    else:
        write("table", ("field", "value"), [*fields.items()], nothing="")
        print(json_text(payload))
    return 0


def _find(folder: LetterFolder, sink: str, position: int) -> DeadLetter | None:
    for found in folder.read(sink):
        for at, letter in found.letters:
            if at == position:
                return letter
    return None


def _payload(letter: DeadLetter) -> object:
    """The payload as JSON: decoded where its type has a schema, else as text or base64."""
    import json

    from google.protobuf.message import Message

    from fleetgw.adapters.codec.json_form import to_json

    if isinstance(letter.content, Message):
        return json.loads(to_json(letter.content))
    try:
        return letter.payload.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(letter.payload).decode()}


def _opened(arguments: argparse.Namespace) -> LetterFolder:
    from fleetgw.adapters.dead_letters.reading import LetterFolder

    return LetterFolder(place_of(arguments, SECTION))
