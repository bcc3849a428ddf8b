"""The file of a bundle: a zip of texts without secrets, and without VINs unless these are wanted."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from attrs import evolve, frozen

from fleetgw.adapters.logs.recent_lines import RECORD_EVENT
from fleetgw.adapters.secrets.masking import masked
from fleetgw.cli.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

PRIVATE = 0o600

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_RECORD_LINE = re.compile(rf'(?:(?:"msg":|\bmsg=)"?|^[\d:]+Z \w+ +){RECORD_EVENT}\b')
"""A line of the sink ``logger`` as JSON, as text, and as a terminal shows it."""

_PAYLOAD = re.compile(r"""(payload_base64"?[:=]"?)[\w+/=]+""")
"""A record in the line of a dead letter; its VIN cannot be seen there."""


@frozen
class Document:
    """A file in the bundle.

    :ivar about: its content in a few words.
    """

    name: str
    about: str
    text: str

    @property
    def size_bytes(self) -> int:
        """Its size before compression."""
        return len(self.text.encode("utf-8", "replace"))


@frozen
class Failure:
    """A part of the bundle that could not be had."""

    name: str
    reason: str


def without_secrets(
    documents: Iterable[Document], failures: Iterable[Failure], secrets: Collection[str]
) -> tuple[list[Document], list[Failure]]:
    """Documents and failures with the given secrets masked, and every other that is recognized."""
    return (
        [evolve(each, text=masked(_COLOURS.sub("", each.text), secrets)) for each in documents],
        [evolve(each, reason=masked(each.reason, secrets)) for each in failures],
    )


def without_records(text: str) -> str:
    """A log without colours, records of the sink ``logger``, whose number a line says, and payloads of dead letters."""
    lines = _PAYLOAD.sub(r"\1(left out)", _COLOURS.sub("", text)).splitlines(keepends=True)
    kept = [line for line in lines if not _RECORD_LINE.search(line)]
    left_out = len(lines) - len(kept)
    note = [f"({left_out} lines {RECORD_EVENT} are left out: records of vehicles)\n"] if left_out else []
    return "".join([*note, *kept])


def without_vins(
    documents: Sequence[Document], failures: Sequence[Failure], vins: Iterable[str]
) -> tuple[list[Document], list[Failure], int]:
    """Documents and failures with pseudonyms in place of VINs, and the number of vehicles.

    :param vins: vehicles that are known to the gateway; those in the texts are found as well.
    """
    pseudonyms = Pseudonyms()
    for each in documents:
        pseudonyms.learn(f"{each.name}\n{each.text}")
    for failure in failures:
        pseudonyms.learn(failure.reason)
    for vin in vins:
        pseudonyms.add(vin)
    replaced = pseudonyms.replaced
    return (
        [evolve(each, name=replaced(each.name), text=replaced(each.text)) for each in documents],
        [evolve(each, name=replaced(each.name), reason=replaced(each.reason)) for each in failures],
        pseudonyms.count,
    )


def write_zip(file: Path, folder: str, documents: Iterable[Document]) -> None:
    """Write the documents into a folder of a new zip, at once and readable by its owner alone.

    :raises OSError: it cannot be written; a file of that name is as it was.
    """
    target = file.absolute()
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    now = datetime.now(UTC).timetuple()[:6]
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        with os.fdopen(descriptor, "wb") as stream:
            with ZipFile(stream, "w", ZIP_DEFLATED) as archive:
                for each in documents:
                    entry = ZipInfo(f"{folder}/{each.name}", now)
                    entry.external_attr = (0o100000 | PRIVATE) << 16
                    entry.compress_type = ZIP_DEFLATED
                    archive.writestr(entry, each.text.encode("utf-8", "replace"))
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def vins_in(answer: object) -> Iterable[str]:
    """The VINs in an answer of ``/api/vehicles``; none where it is of another form."""
    match answer:
        case {"vehicles": [*vehicles]}:
            return [vin for each in vehicles if isinstance(each, dict) and isinstance(vin := each.get("vin"), str)]
        case _:
            return ()


def pretty(value: object) -> str:
    """A JSON value as text for people."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
