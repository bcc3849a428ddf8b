"""The newest lines of a log, kept in memory for bug reports."""

from __future__ import annotations

from collections import deque
from heapq import merge

MAX_LINES, MAX_BYTES = 2000, 4 * 1024 * 1024
"""Bounds of the lines that are kept."""

RECORD_EVENT = "record_payload"
"""The event of the sink ``logger``, whose lines are the records themselves."""


class RecentLines:
    """Keeps the newest lines, each as it was written; lines of records only while other events leave room.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._events: deque[tuple[int, bytes]] = deque()
        self._records: deque[tuple[int, bytes]] = deque()
        self._number = self._size_bytes = 0

    def add(self, event: str, line: bytes) -> None:
        """Keep a line of an event, in place of the oldest ones."""
        self._number += 1
        (self._records if event == RECORD_EVENT else self._events).append((self._number, line))
        self._size_bytes += len(line)
        while len(self._events) + len(self._records) > MAX_LINES or self._size_bytes > MAX_BYTES:
            _, oldest = (self._records or self._events).popleft()
            self._size_bytes -= len(oldest)

    def newest(self, count: int) -> list[bytes]:
        """At most so many lines, oldest first."""
        return [line for _, line in merge(self._events, self._records)][-count:]
