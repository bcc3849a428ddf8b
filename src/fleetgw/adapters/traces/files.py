"""Places for the lines of traces: memory, or a folder. A segment is a run of lines that is removed as a whole."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from attrs import asdict, define, field

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DESCRIPTION = re.compile(r"([1-9]\d{0,8})\.json\Z")
_SEGMENT = re.compile(r"([1-9]\d{0,8})\.([1-9]\d{0,17})\.jsonl\Z")
_MAX_DESCRIPTION_BYTES = 4096
_MAX_MS = 253_402_300_800_000
"""The year 10000 in epoch milliseconds."""


@define
class TraceDescription:
    """A trace without its lines.

    :ivar vin: the vehicle that is followed; empty when an address is.
    :ivar ip: the address that is followed; empty when a vehicle is.
    :ivar until_ms: epoch milliseconds of its end.
    """

    id: int
    vin: str
    ip: str
    started_ms: int
    until_ms: int


@define
class Segment:
    """A segment of a trace.

    :ivar first: the number of its first line; it also names the segment.
    :ivar is_readable: False: it could not be read at the start, and takes no more lines.
    """

    first: int
    size_bytes: int = 0
    is_readable: bool = True


@define
class StoredTrace:
    """A trace as it is found at the start.

    :ivar segments: in order.
    :ivar next_number: of the next line.
    :ivar fault: of the last segment that cannot be read; None: all can.
    """

    description: TraceDescription
    segments: list[Segment] = field(factory=list)
    next_number: int = 1
    fault: OSError | None = None


class TraceFiles(Protocol):
    """Keeps segments. All methods may raise ``OSError``, and are called on one thread, one after the other."""

    def load(self) -> list[StoredTrace]:
        """The traces that are there."""

    def describe(self, description: TraceDescription) -> None:
        """Keep the description of a trace, in place of an earlier one."""

    def append(self, trace: int, segment: int, lines: bytes) -> None:
        """Append whole lines to a segment, all or none of them."""

    def read(self, trace: int, segment: int) -> bytes:
        """The lines of a segment; empty when it is not there."""

    def remove_segment(self, trace: int, segment: int) -> None:
        """Remove a segment."""

    def remove(self, trace: int) -> None:
        """Remove a trace with all of its segments."""


class FilesInMemory:
    """Keeps traces until the process ends."""

    def __init__(self) -> None:
        self._segments: dict[tuple[int, int], bytearray] = {}

    def load(self) -> list[StoredTrace]:
        """See ``TraceFiles``: none."""
        return []

    def describe(self, description: TraceDescription) -> None:
        """See ``TraceFiles``: nobody reads it again."""

    def append(self, trace: int, segment: int, lines: bytes) -> None:
        """See ``TraceFiles``."""
        self._segments.setdefault((trace, segment), bytearray()).extend(lines)

    def read(self, trace: int, segment: int) -> bytes:
        """See ``TraceFiles``."""
        return bytes(self._segments.get((trace, segment), b""))

    def remove_segment(self, trace: int, segment: int) -> None:
        """See ``TraceFiles``."""
        self._segments.pop((trace, segment), None)

    def remove(self, trace: int) -> None:
        """See ``TraceFiles``."""
        self._segments = {key: lines for key, lines in self._segments.items() if key[0] != trace}


class FilesInFolder:
    """Keeps traces in a folder, which is made when it is first needed: ``<trace>.json`` and ``<trace>.<first line>.jsonl``.

    They hold VINs: only the user that the gateway runs as may read them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> list[StoredTrace]:
        """See ``TraceFiles``. Leaves alone what is not a trace; a line that was written in part is removed."""
        with suppress(FileNotFoundError):
            names = sorted(os.listdir(self._folder))
            traces = {each.description.id: each for each in self._descriptions(names)}
            segments = sorted((int(found[1]), int(found[2])) for found in map(_SEGMENT.match, names) if found)
            for trace, first in segments:
                if trace in traces:
                    try:
                        self._load_segment(traces[trace], first)
                    except OSError as error:
                        self._leave_segment(traces[trace], first, error)
            return list(traces.values())
        return []

    def _descriptions(self, names: list[str]) -> Iterator[StoredTrace]:
        for name in names:
            if found := _DESCRIPTION.match(name):
                with suppress(ValueError, TypeError, RecursionError, OSError):  # damaged, or of another program
                    with open(self._folder / name, "rb") as file:
                        description = TraceDescription(**json.loads(file.read(_MAX_DESCRIPTION_BYTES)))
                    if _is_of_this_program(description) and description.id == int(found[1]):
                        yield StoredTrace(description)

    def _load_segment(self, trace: StoredTrace, first: int) -> None:
        content = self.read(trace.description.id, first)
        end = content.rfind(b"\n") + 1
        if end < len(content):
            os.truncate(self._path(trace.description.id, first), end)
        trace.segments.append(Segment(first, end))
        last = number_of(content[content.rfind(b"\n", 0, max(0, end - 1)) + 1 : end])
        trace.next_number = max(trace.next_number, first, last + 1)

    def _leave_segment(self, trace: StoredTrace, first: int, error: OSError) -> None:
        size_bytes = 0
        with suppress(OSError):
            size_bytes = self._path(trace.description.id, first).stat().st_size
        trace.segments.append(Segment(first, size_bytes, is_readable=False))
        trace.next_number = max(trace.next_number, first + size_bytes + 1)  # it has fewer lines than bytes
        trace.fault = error

    def describe(self, description: TraceDescription) -> None:
        """See ``TraceFiles``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = self._folder / f"{description.id}.json"
        new = name.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump(asdict(description), file)
        new.replace(name)

    def append(self, trace: int, segment: int, lines: bytes) -> None:
        """See ``TraceFiles``."""
        descriptor = os.open(self._path(trace, segment), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size_bytes = os.fstat(descriptor).st_size
            try:
                unwritten = memoryview(lines)
                while unwritten:
                    unwritten = unwritten[os.write(descriptor, unwritten) :]
            except OSError:
                os.ftruncate(descriptor, size_bytes)
                raise
        finally:
            os.close(descriptor)

    def read(self, trace: int, segment: int) -> bytes:
        """See ``TraceFiles``."""
        with suppress(FileNotFoundError):
            return self._path(trace, segment).read_bytes()
        return b""

    def remove_segment(self, trace: int, segment: int) -> None:
        """See ``TraceFiles``."""
        self._path(trace, segment).unlink(missing_ok=True)

    def remove(self, trace: int) -> None:
        """See ``TraceFiles``. The description goes last: without it, segments belong to nothing."""
        for name in os.listdir(self._folder) if self._folder.is_dir() else ():
            if (found := _SEGMENT.match(name)) and int(found[1]) == trace:
                (self._folder / name).unlink(missing_ok=True)
        (self._folder / f"{trace}.json").unlink(missing_ok=True)

    def _path(self, trace: int, segment: int) -> Path:
        return self._folder / f"{trace}.{segment}.jsonl"


def _is_of_this_program(description: TraceDescription) -> bool:
    """Whether all members have their types, and times that a clock can show."""
    texts, times = (description.vin, description.ip), (description.started_ms, description.until_ms)
    return all(isinstance(text, str) for text in texts) and all(type(ms) is int and 0 <= ms < _MAX_MS for ms in times)


def number_of(line: bytes) -> int:
    """The number of a line; 0 for what is no line of a trace."""
    found = re.match(rb'\{"n": (\d{1,18}),', line)
    return int(found[1]) if found else 0
