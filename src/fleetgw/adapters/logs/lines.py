"""Logs that write one line per event to a stream."""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from struct import iter_unpack
from threading import RLock
from typing import Protocol, runtime_checkable

from zope.interface import implementer

from fleetgw.adapters.logs.cutting import cut_long_texts
from fleetgw.adapters.logs.json_text import to_json
from fleetgw.adapters.logs.levels import Level
from fleetgw.adapters.secrets.masking import masked
from fleetgw.domain.ports import ILog

_CONTEXT = "fleet-telemetry"
_OWN_MEMBERS = frozenset({"activity", "context", "level", "msg", "time"})
_LARGEST_LOOKED_THROUGH = 2_000
"""Characters of an error in which URLs with passwords are looked for: what a client library says is shorter."""

_BARE = re.compile(r"[A-Za-z0-9\-._/@^+]*")
_NOT_BARE = re.compile(r"[^A-Za-z0-9\-._/@^+]")
_EMPTY_KEY = "(empty)"


class ILineStream(Protocol):
    """Where lines go: a binary file, ``twisted.python.logfile.LogFile`` or ``DescriptorStream``."""

    def write(self, data: bytes, /) -> object:
        """Take one whole line, or raise OSError or ValueError."""


@runtime_checkable
class IWaitingStream(ILineStream, Protocol):
    """A stream whose reader may be slow, such as ``DescriptorStream``."""

    def wait_for_reader(self, at_most_s: float) -> None:
        """Have writing wait for the reader from now on, for so long in all."""

    def flush(self) -> int:
        """Write what waits; the number of lines taken that have not reached the reader."""


@implementer(ILog)
class LineLog(ABC):
    """What ``JsonLog`` and ``TextLog`` share: the threshold, the members of a line, the stream and its failures.

    A line that the stream does not take is counted, and the next line that it takes is preceded by the event
    ``log_lines_lost`` with their number.

    :ivar debug_enabled: whether ``debug`` writes.
    :ivar info_enabled: whether ``info`` writes.
    """

    def __init__(self, stream: ILineStream, level: Level = Level.INFO, seconds: Callable[[], float] = time.time) -> None:
        """Write to ``stream`` the events at or above ``level``; ``seconds`` is the wall clock, epoch seconds."""
        self._stream = stream
        self._level = level
        self._seconds = seconds
        # client libraries' threads write too: what they print becomes an event; a finaliser may print within a write
        self._writing = RLock()
        self._lost = 0
        self._lost_in_all = 0
        self._second = -1
        self._second_text = ""
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
        """Write an event that somebody should look at some time."""
        if self._level <= Level.WARN:
            self._write(Level.WARN, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write an event that somebody should look at now."""
        self._write(Level.ERROR, event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, object]) -> None:
        if level >= Level.WARN and isinstance(error := fields.get("error"), str) and len(error) <= _LARGEST_LOOKED_THROUGH:
            fields["error"] = masked(error)
        line = self._line(self._members(level, event, fields))
        with self._writing:
            try:
                if self._lost:
                    self._stream.write(self._line(self._members(Level.WARN, "log_lines_lost", {"count": self._lost})))
                    self._lost = 0
                self._stream.write(line)
            except (OSError, ValueError):  # full disk, closed pipe, closed file: there is nowhere left to tell it
                self._lost += 1
                self._lost_in_all += 1

    def wait_for_reader(self, at_most_s: float) -> None:
        """From now on wait for a reader that is slow, for so long in all: the process ends, and these are its last lines."""
        self._lost_in_all = 0
        if isinstance(self._stream, IWaitingStream):
            self._stream.wait_for_reader(at_most_s)

    def finish(self) -> int:
        """Write what waits.

        :return: how many lines have been lost since ``wait_for_reader``, or do not reach the reader in time.
        """
        with self._writing:
            waiting = self._stream.flush() if isinstance(self._stream, IWaitingStream) else 0
        return self._lost_in_all + waiting

    def _members(self, level: Level, event: str, fields: dict[str, object]) -> dict[str, object]:
        cut_long_texts(fields)
        if not _OWN_MEMBERS.isdisjoint(fields):
            fields = {f"fields.{name}" if name in _OWN_MEMBERS else name: value for name, value in fields.items()}
        fields["context"] = _CONTEXT
        fields["level"] = level.text
        fields["msg"] = event
        fields["time"] = self._time(self._seconds())
        if level is Level.INFO:
            fields["activity"] = True
        return fields

    def _to_the_second(self, now_s: float) -> str:
        """Such as ``2026-11-27T05:18:42``."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return self._second_text

    @abstractmethod
    def _time(self, now_s: float) -> str:
        """The member ``time``: RFC 3339, UTC.

        :param now_s: epoch seconds.
        """

    @abstractmethod
    def _line(self, members: dict[str, object]) -> bytes:
        """The line, newline included."""


class JsonLog(LineLog):
    """One JSON object per line, keys sorted: ``activity`` (info events only), ``context``, ``level``, ``msg``, ``time``
    (RFC 3339, UTC, milliseconds) and the event's fields. A field of one of these names is written as ``fields.<name>``.
    """

    def _time(self, now_s: float) -> str:
        return f"{self._to_the_second(now_s)}.{int(now_s * 1000) % 1000:03d}Z"

    def _line(self, members: dict[str, object]) -> bytes:
        return to_json(members) + b"\n"


class TextLog(LineLog):
    """For people: ``time="..." level=info msg=... key=value ...``, keys sorted; what is no plain word is written as JSON.

    Of a key every character that no plain word has is written as ``\\u`` and four digits: a key cannot look like two fields.
    """

    def _time(self, now_s: float) -> str:
        return f"{self._to_the_second(now_s)}Z"

    def _line(self, members: dict[str, object]) -> bytes:
        head = [_pair(name, members.pop(name)) for name in ("time", "level", "msg")]
        return " ".join(head + [_pair(name, value) for name, value in sorted(members.items())]).encode() + b"\n"


def _pair(name: str, value: object) -> str:
    if not name or not _BARE.fullmatch(name):
        name = _NOT_BARE.sub(_escaped, name) or _EMPTY_KEY
    if isinstance(value, str) and _BARE.fullmatch(value):
        return f"{name}={value}"
    return f"{name}={to_json(value).decode()}"


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"\\u{unit:04x}" for (unit,) in iter_unpack(">H", match[0].encode("utf-16-be", "surrogatepass")))
