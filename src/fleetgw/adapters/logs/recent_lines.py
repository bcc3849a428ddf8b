"""The newest lines of a log, kept in memory for bug reports."""

from __future__ import annotations

from collections import deque

MAX_LINES, MAX_BYTES = 2000, 4 * 1024 * 1024
"""Bounds of the lines that are kept."""


class RecentLines:
    """Keeps the newest lines, each as it was written. For one thread at a time."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._size_bytes = 0

    def add(self, line: bytes) -> None:
        """Keep a line, in place of the oldest ones."""
        lines = self._lines
        lines.append(line)
        self._size_bytes += len(line)
        while len(lines) > MAX_LINES or self._size_bytes > MAX_BYTES:
            self._size_bytes -= len(lines.popleft())

    def newest(self, count: int) -> list[bytes]:
        """At most so many lines, oldest first."""
        return [*self._lines][-count:]
