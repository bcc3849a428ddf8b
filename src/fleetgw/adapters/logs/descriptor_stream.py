"""A file descriptor as a log's output that never holds up the reactor."""

import os
import select

_ROOM_WHEN_WRITABLE_BYTES = 4096  # PIPE_BUF: what a pipe that polls as writable surely takes without waiting


class DescriptorStream:
    """Standard output as a stream of lines: what its reader does not take yet waits in bounded memory.

    The descriptor is asked before each piece is written rather than set non-blocking, as that would change it for every
    process that shares it (a shell's terminal). Waiting lines leave with the next ones.
    """

    def __init__(self, descriptor: int, capacity_bytes: int = 1 << 20) -> None:
        """Write to ``descriptor`` (not closed here); at most ``capacity_bytes`` wait."""
        self._descriptor = descriptor
        self._capacity_bytes = capacity_bytes
        self._waiting = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, line: bytes, /) -> None:
        """Write or keep ``line``, whole.

        :raises BlockingIOError: too much is waiting already; the line is dropped.
        :raises OSError: the reader has gone; what was waiting is dropped too.
        """
        self._flush()
        if self._waiting and len(self._waiting) + len(line) > self._capacity_bytes:
            raise BlockingIOError
        self._waiting += line
        self._flush()

    def _flush(self) -> None:
        try:
            while self._waiting and self._poll.poll(0):
                written = os.write(self._descriptor, self._waiting[:_ROOM_WHEN_WRITABLE_BYTES])
                del self._waiting[:written]
        except OSError:
            self._waiting.clear()
            raise
