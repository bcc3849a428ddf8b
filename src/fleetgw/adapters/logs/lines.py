"""Logs that write one line per event to a stream."""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from struct import iter_unpack
from threading import RLock
from typing import Protocol, runtime_checkable

from zope.interface import implementer

from fleetgw.adapters.logs.cutting import cut_and_mask
from fleetgw.adapters.logs.json_text import to_json
from fleetgw.adapters.logs.levels import Level
from fleetgw.adapters.logs.recent_lines import RecentLines
from fleetgw.domain.ports import ILog

_CONTEXT = "fleet-telemetry"
CONSTANT_MEMBERS = frozenset({"activity", "context", "level", "msg", "time"})
"""Members of every line, beside the event's fields."""

_is_plain = re.compile(r"[A-Za-z0-9\-._/@^+]*").fullmatch
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9\-._/@^+]")
_EMPTY_KEY = "(empty)"


class ILineStream(Protocol):
    """Destination of lines: a binary file, ``twisted.python.logfile.LogFile`` or ``DescriptorStream``."""

    def write(self, data: bytes, /) -> object:
        """Write one whole line, or raise OSError or ValueError."""


@runtime_checkable
class IBufferedStream(ILineStream, Protocol):
    """A stream with a buffer for a slow reader, such as ``DescriptorStream``."""

    def wait_for_reader(self, at_most_s: float) -> None:
        """From now on let writes block for the reader, ``at_most_s`` in total."""

    def flush(self) -> int:
        """Write the buffer; return the number of accepted lines that have not reached the reader."""


@implementer(ILog)
class LineLog(ABC):
    """Base of ``JsonLog`` and ``TextLog``: the threshold, the members of a line, the stream and its failures.

    Lines that the stream refuses are counted; the event ``log_lines_lost`` with their number precedes the next line that it
    accepts.

    :ivar debug_enabled: whether ``debug`` writes.
    :ivar info_enabled: whether ``info`` writes.
    """

    def __init__(self, stream: ILineStream, level: Level = Level.INFO, seconds: Callable[[], float] = time.time) -> None:
        """Write the events at or above ``level`` to ``stream``; ``seconds`` returns the wall clock in epoch seconds."""
        self._stream = stream
        self._seconds = seconds
        self.set_level(level)
        # Threads of client libraries write too: their prints become events. Reentrant: a finalizer may print during a write.
        self._writing = RLock()
        self._recent = RecentLines()
        self._lost = 0
        self._lost_in_total = 0
        self._second = -1
        self._second_text = ""

    def set_level(self, level: Level) -> None:
        """Write the events at or above ``level`` from now on."""
        self._level = level
        self.debug_enabled = level <= Level.DEBUG
        self.info_enabled = level <= Level.INFO

    def debug(self, event: str, **fields: object) -> None:
        """Write an event for developers."""
        if self.debug_enabled:
            self._write(Level.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Write an event of normal operation."""
        if self.info_enabled:
            self._write(Level.INFO, event, fields)

    def warn(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at eventually."""
        if self._level <= Level.WARN:
            self._write(Level.WARN, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write an event that an operator should look at now."""
        self._write(Level.ERROR, event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, object]) -> None:
        cut_and_mask(fields)
        line = self._line(self._members(level, event, fields))
        with self._writing:
            self._recent.add(event, line)
            try:
                if self._lost:
                    self._stream.write(self._line(self._members(Level.WARN, "log_lines_lost", {"count": self._lost})))
                    self._lost = 0
                self._stream.write(line)
            except (OSError, ValueError):  # full disk, closed pipe, closed file: no place is left to report it
                self._lost += 1
                self._lost_in_total += 1

    def recent_lines(self, count: int) -> list[bytes]:
        """The newest lines, oldest first, at most so many of those that are kept."""
        with self._writing:
            return self._recent.newest(count)

    def wait_for_reader(self, at_most_s: float) -> None:
        """From now on block for a slow reader, ``at_most_s`` in total: the process ends, and these are its last lines."""
        self._lost_in_total = 0
        if isinstance(self._stream, IBufferedStream):
            self._stream.wait_for_reader(at_most_s)

    def finish(self) -> int:
        """Write the buffer.

        :return: number of lines lost since ``wait_for_reader``, those included that do not reach the reader in time.
        """
        with self._writing:
            buffered = self._stream.flush() if isinstance(self._stream, IBufferedStream) else 0
        return self._lost_in_total + buffered

    def _members(self, level: Level, event: str, fields: dict[str, object]) -> dict[str, object]:
        if not CONSTANT_MEMBERS.isdisjoint(fields):
            fields = {f"fields.{name}" if name in CONSTANT_MEMBERS else name: value for name, value in fields.items()}
        fields["context"] = _CONTEXT
        fields["level"] = level.text
        fields["msg"] = event
        fields["time"] = self._time(self._seconds())
        if level is Level.INFO:
            fields["activity"] = True
        return fields

    def _to_the_second(self, now_s: float) -> str:
        """Time without a fraction, such as ``2026-11-27T05:18:42``."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return self._second_text

    @abstractmethod
    def _time(self, now_s: float) -> str:
        """Value of the member ``time``: RFC 3339, UTC.

        :param now_s: epoch seconds.
        """

    @abstractmethod
    def _line(self, members: dict[str, object]) -> bytes:
        """Format the line, newline included."""


class JsonLog(LineLog):
    """One JSON object per line, keys sorted: ``activity`` (info events only), ``context``, ``level``, ``msg``, ``time``
    (RFC 3339, UTC, milliseconds) and the event's fields. A field of one of these names is written as ``fields.<name>``.
    """

    def _time(self, now_s: float) -> str:
        return f"{self._to_the_second(now_s)}.{int(now_s * 1000) % 1000:03d}Z"

    def _line(self, members: dict[str, object]) -> bytes:
        return to_json(members) + b"\n"


class TextLog(LineLog):
    """Lines for people: ``time="..." level=info msg=... key=value ...``, keys sorted; a value that is no plain word is JSON.

    Characters of a key that no plain word has are escaped as ``\\u`` and four digits: a key cannot look like two fields.
    """

    def _time(self, now_s: float) -> str:
        return f"{self._to_the_second(now_s)}Z"

    def _line(self, members: dict[str, object]) -> bytes:
        head = [f"{name}={value_text(members.pop(name))}" for name in ("time", "level", "msg")]
        return (
            " ".join(head + [f"{key_text(name)}={value_text(members[name])}" for name in sorted(members)]).encode() + b"\n"
        )


@lru_cache(maxsize=1024)  # most names are the events' own
def key_text(name: str) -> str:
    """A key in a line of text; ``TextLog`` says how it is escaped."""
    return name if name and _is_plain(name) else _NOT_PLAIN.sub(_escaped, name) or _EMPTY_KEY


def value_text(value: object) -> str:
    """A value in a line of text: a plain word as it is, everything else as JSON without control characters."""
    return value if isinstance(value, str) and _is_plain(value) else to_json(value).decode()


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\u{unit:04x}" for (unit,) in iter_unpack(">H", match[0].encode("utf-16-be", "surrogatepass")))
