"""A file descriptor as the output of a log, without blocking the reactor."""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress

_ROOM_WHEN_WRITABLE_BYTES = 4096  # PIPE_BUF: a pipe that polls as writable takes so much without blocking


class DescriptorStream:
    """Standard output as a stream of lines, with a bounded buffer for a slow reader.

    The descriptor is polled before each write rather than set non-blocking, which would change it for every process that
    shares it (a shell's terminal). Buffered lines are written together with the next ones.
    """

    def __init__(
        self, descriptor: int, capacity_bytes: int = 1 << 20, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        """Write to ``descriptor``, which is not closed here; buffer at most ``capacity_bytes``."""
        self._descriptor = descriptor
        self._capacity_bytes = capacity_bytes
        self._buffer = bytearray()
        self._seconds = seconds
        self._wait_until_s: float | None = None
        self._lost_lines = 0
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    @property
    def is_terminal(self) -> bool:
        """Whether a person may be looking."""
        return os.isatty(self._descriptor)

    def wait_for_reader(self, at_most_s: float) -> None:
        """From now on let writes and flushes block until the reader has room, ``at_most_s`` in total."""
        self._wait_until_s = self._seconds() + at_most_s

    def write(self, line: bytes, /) -> None:
        """Write or buffer a whole line.

        :raises BlockingIOError: the buffer is full; the line is dropped.
        :raises OSError: the reader has gone; the line and the buffer are dropped.
        """
        self._flush(self._capacity_bytes - len(line))
        if self._buffer and len(self._buffer) + len(line) > self._capacity_bytes:
            raise BlockingIOError
        self._buffer += line
        try:
            self._flush(self._capacity_bytes)
        except OSError:
            self._lost_lines -= 1  # the caller counts it
            raise

    def flush(self) -> int:
        """Write the buffer, as far as the reader takes it.

        :return: number of accepted lines that have not reached the reader: still buffered, or lost when it went.
        """
        with suppress(OSError):
            self._flush(0)
        return self._lost_lines + self._buffer.count(b"\n")

    def _flush(self, wait_above_bytes: int) -> None:
        """Write as much as the reader takes; where blocking is allowed, block while more than ``wait_above_bytes`` wait."""
        try:
            while self._buffer and self._has_room(wait=len(self._buffer) > max(0, wait_above_bytes)):
                written = os.write(self._descriptor, self._buffer[:_ROOM_WHEN_WRITABLE_BYTES])
                del self._buffer[:written]
        except OSError:
            self._lost_lines += self._buffer.count(b"\n")
            self._buffer.clear()
            raise

    def _has_room(self, *, wait: bool) -> bool:
        if not wait or self._wait_until_s is None:
            return bool(self._poll.poll(0))
        return bool(self._poll.poll(max(0.0, self._wait_until_s - self._seconds()) * 1000))
