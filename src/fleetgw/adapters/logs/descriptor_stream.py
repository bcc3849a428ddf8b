"""A file descriptor as a log's output that never holds up the reactor."""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress

_ROOM_WHEN_WRITABLE_BYTES = 4096  # PIPE_BUF: what a pipe that polls as writable surely takes without waiting


class DescriptorStream:
    """Standard output as a stream of lines: what its reader does not take yet waits in bounded memory.

    The descriptor is asked before each piece is written rather than set non-blocking, as that would change it for every
    process that shares it (a shell's terminal). Waiting lines leave with the next ones.
    """

    def __init__(
        self, descriptor: int, capacity_bytes: int = 1 << 20, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """Write to ``descriptor`` (not closed here); at most ``capacity_bytes`` wait."""
        self._descriptor = descriptor
        self._capacity_bytes = capacity_bytes
        self._waiting = bytearray()
        self._seconds = seconds
        self._wait_until_s: float | None = None
        self._lost_lines = 0
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def wait_for_reader(self, at_most_s: float) -> None:
        """Have writing and flushing block from now on until the reader has room, for so long in all; then no more."""
        self._wait_until_s = self._seconds() + at_most_s

    def write(self, line: bytes, /) -> None:
        """Write or keep ``line``, whole.

        :raises BlockingIOError: too much is waiting already; the line is dropped.
        :raises OSError: the reader has gone; what was waiting is dropped too.
        """
        self._flush(self._capacity_bytes - len(line))
        if self._waiting and len(self._waiting) + len(line) > self._capacity_bytes:
            raise BlockingIOError
        self._waiting += line
        try:
            self._flush(self._capacity_bytes)
        except OSError:
            self._lost_lines -= 1  # the caller's to count
            raise

    def flush(self) -> int:
        """Write what waits, as far as the reader takes it.

        :return: how many lines that were taken have not reached the reader: they still wait, or were lost as it went.
        """
        with suppress(OSError):
            self._flush(0)
        return self._lost_lines + self._waiting.count(b"\n")

    def _flush(self, wait_above_bytes: int) -> None:
        """Write what the reader takes; wait for it, where that is allowed, while more than so much is waiting."""
        try:
            while self._waiting and self._has_room(wait=len(self._waiting) > max(0, wait_above_bytes)):
                written = os.write(self._descriptor, self._waiting[:_ROOM_WHEN_WRITABLE_BYTES])
                del self._waiting[:written]
        except OSError:
            self._lost_lines += self._waiting.count(b"\n")
            self._waiting.clear()
            raise

    def _has_room(self, *, wait: bool) -> bool:
        if not wait or self._wait_until_s is None:
            return bool(self._poll.poll(0))
        return bool(self._poll.poll(max(0.0, self._wait_until_s - self._seconds()) * 1000))
