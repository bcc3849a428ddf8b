"""Writes and reads the lines of traces: in order, off the reactor's thread, within a bound on all of them together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from fleetgw.adapters.traces.files import Segment, number_of
from fleetgw.domain.line_limit import LineLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime

    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.adapters.traces.files import StoredTrace, TraceDescription, TraceFiles
    from fleetgw.domain.ports import ILog, IStreamReader

    class ITraceReactor(IReactorTime, IReactorFromThreads):
        """A reactor with timers that takes calls from threads."""


ResultT = TypeVar("ResultT")

MAX_BYTES = 64 << 20
"""Largest size of all lines. Beyond it, the oldest segment of the largest trace is removed."""

SEGMENT_BYTES = 1 << 20
"""Size from which on a segment takes no more lines."""

MAX_WAITING_BYTES = 4 << 20
"""Largest size of lines that wait to be written; further lines are dropped and counted."""

FLUSH_S = 0.2
"""The longest wait of a line before it is written."""

STOP_S = 2.0
"""The longest wait for the disk when the gateway stops."""

FAULT_INTERVAL_S = 60.0
"""At most one log line about a storage that fails in so many seconds."""


@define(eq=False)
class TraceLines:
    """The lines of one trace.

    :ivar next_number: of the next line; the first one is 1.
    :ivar dropped: number of lines that could not be kept, since the start of the process.
    :ivar readers: get the lines from now on.
    """

    description: TraceDescription
    segments: list[Segment] = field(factory=list)
    next_number: int = 1
    dropped: int = 0
    readers: list[IStreamReader] = field(factory=list)
    _waiting: list[bytes] = field(factory=list)
    _untold: int = 0  # dropped lines that no line tells of
    _told: int = 0  # those that a line tells of that waits

    @property
    def size_bytes(self) -> int:
        """Size of the lines that are kept."""
        return sum(segment.size_bytes for segment in self.segments)


class TraceStore:
    """Keeps the lines of all traces.

    :param where: for the log; the folder, or empty.
    :param make_worker: makes the thread, for the first job. None: jobs do not block, and run at once.
    """

    def __init__(
        self,
        files: TraceFiles,
        where: str,
        make_worker: Callable[[], Worker] | None,
        reactor: ITraceReactor,
        log: ILog,
    ) -> None:
        self._files = files
        self._where = where
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._reactor = reactor
        self._log = log
        self._faults = LineLimit(interval_s=FAULT_INTERVAL_S)
        self.traces: dict[int, TraceLines] = {}
        self._waiting_bytes = 0  # in ``_waiting`` of all traces, and with the worker
        self._next_flush: IDelayedCall | None = None

    def load(self) -> Deferred[None]:
        """Find the traces of before the start. Fires then, and never fails."""
        nothing: list[StoredTrace] = []
        return self._on_worker(self._files.load, nothing).addCallback(self._loaded)

    def _loaded(self, stored: Sequence[StoredTrace]) -> None:
        for each in stored:
            self.traces[each.description.id] = TraceLines(each.description, each.segments, each.next_number)
            if each.fault is not None:
                self._failed(each.fault)
        self._remove_oldest()

    def begin(self, description: TraceDescription) -> TraceLines:
        """Begin a trace without lines."""
        lines = self.traces[description.id] = TraceLines(description)
        self.describe(lines)
        return lines

    def describe(self, lines: TraceLines) -> None:
        """Keep a description that has changed."""
        description = lines.description
        self._do(lambda: self._files.describe(description), lambda _: None)

    def add(self, lines: TraceLines, encoded: str) -> None:
        """Keep one line: the members of a JSON object, without its braces."""
        if self._waiting_bytes >= MAX_WAITING_BYTES:
            lines.dropped += 1
            lines._untold += 1
            return
        if lines._untold:
            count, lines._untold = lines._untold, 0
            text = f"{count} lines are missing here: they could not be written in time, or the disk is full"
            self._append(lines, f'"stage": "dropped", "text": "{text}", "lines": {count}')
            lines._told += count
        self._append(lines, encoded)

    def _append(self, lines: TraceLines, encoded: str) -> None:
        line = f'{{"n": {lines.next_number}, {encoded}}}\n'.encode()
        lines.next_number += 1
        lines._waiting.append(line)
        self._waiting_bytes += len(line)
        if self._next_flush is None:
            self._next_flush = self._reactor.callLater(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._next_flush is not None:
            if self._next_flush.active():
                self._next_flush.cancel()
            self._next_flush = None
        for lines in self.traces.values():
            if lines._waiting:
                self._write(lines)
        self._remove_oldest()

    def _write(self, lines: TraceLines) -> None:
        waiting, lines._waiting = lines._waiting, []
        content, count = b"".join(waiting), len(waiting)
        told, lines._told = lines._told, 0
        last = lines.segments[-1] if lines.segments else None
        if last is None or not last.is_readable or last.size_bytes >= SEGMENT_BYTES:
            lines.segments.append(Segment(lines.next_number - count))
        segment, trace = lines.segments[-1], lines.description.id
        segment.size_bytes += len(content)

        def written(error: OSError | None) -> None:
            self._waiting_bytes -= len(content)
            if error is not None:
                segment.size_bytes -= len(content)
                lost = count - (1 if told else 0)
                lines.dropped += lost
                lines._untold += lost + told

        self._do(lambda: self._files.append(trace, segment.first, content), written)
        for reader in tuple(lines.readers):
            reader.write(content)

    def _remove_oldest(self) -> None:
        while sum(lines.size_bytes for lines in self.traces.values()) > MAX_BYTES:
            largest = max(self.traces.values(), key=lambda lines: lines.size_bytes)
            trace, segment = largest.description.id, largest.segments.pop(0).first
            self._do(partial(self._files.remove_segment, trace, segment), lambda _: None)

    def read(self, lines: TraceLines, number: int) -> Deferred[bytes]:
        """Lines from one on, oldest first: about a segment of them. Empty when there are none. Never fails.

        A segment that cannot be read is passed over.
        """
        self.flush()
        trace = lines.description.id
        firsts = [segment.first for segment in lines.segments]
        later = [first for first in firsts[1:] if first > number]
        firsts = firsts[len(firsts) - len(later) - 1 :] if firsts else []

        def read() -> bytes:
            fault: OSError | None = None
            for first in firsts:
                try:
                    content = self._files.read(trace, first).splitlines(keepends=True)
                except OSError as error:
                    fault = error
                    continue
                if wanted := b"".join([line for line in content if number_of(line) >= number]):
                    return wanted
            if fault is not None:
                raise fault
            return b""

        return self._on_worker(read, b"")

    def end_readers(self, lines: TraceLines) -> None:
        """Give the readers of a trace the lines that wait, and end them."""
        if lines.readers:
            self.flush()
            for reader in tuple(lines.readers):
                reader.end()
            lines.readers.clear()

    def remove(self, lines: TraceLines) -> None:
        """Remove a trace for good."""
        self.end_readers(lines)
        trace = lines.description.id
        del self.traces[trace]
        self._waiting_bytes -= sum(map(len, lines._waiting))
        lines._waiting.clear()
        self._do(lambda: self._files.remove(trace), lambda _: None)

    def stop(self) -> Deferred[None]:
        """Write what waits; fires then, or after ``STOP_S`` on a disk that hangs. Never fails."""
        self.flush()
        if self._worker is None:
            return succeed(None)
        stopped = self._on_worker(lambda: None, None)
        self._worker.quit()
        return stopped.addTimeout(STOP_S, self._reactor).addErrback(lambda _: None)

    def _do(self, job: Callable[[], None], done: Callable[[OSError | None], None]) -> None:
        """Have the worker do a job; ``done`` gets the error."""

        def run() -> OSError | None:
            try:
                job()
            except OSError as error:
                return error
            return None

        def finish(error: OSError | None) -> None:
            if error is not None:
                self._failed(error)
            done(error)

        if self._make_worker is None:
            finish(run())
            return
        if self._worker is None:
            self._worker = self._make_worker()
        self._worker.do(lambda: self._reactor.callFromThread(finish, run()))

    def _on_worker(self, job: Callable[[], ResultT], otherwise: ResultT) -> Deferred[ResultT]:
        answer: Deferred[ResultT] = Deferred()
        results: list[ResultT] = []
        self._do(lambda: results.append(job()), lambda _: answer.callback(results[0] if results else otherwise))
        return answer

    def _failed(self, error: OSError) -> None:
        if (more := self._faults.fields("traces", "", self._reactor.seconds(), 1)) is not None:
            self._log.error("traces_failed", path=self._where, error=error.strerror or str(error), **more)
