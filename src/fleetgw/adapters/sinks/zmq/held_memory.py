"""An estimate of the bytes that the library holds for subscribers that have not read them yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zmq import MessageTracker

MARK_BYTES = 65_536
"""Bytes for each tracked record, as a tracker, which tells when the library releases a record, costs more than a send."""

RECORD_BYTES = 256
"""Memory that a record takes in the library beside its payload."""


class HeldMemory:
    """Counts bytes by tracked records: each counts for itself, and for the records since the one before.

    A record that several subscribers have not read yet is held, and counted, once.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._marks: deque[tuple[MessageTracker, int]] = deque()
        self.held_bytes = 0

    def add(self, tracker: MessageTracker, size_bytes: int) -> None:
        """Count a tracked record that the socket has just taken, and the records before it.

        :param size_bytes: of all of these.
        """
        self._marks.append((tracker, size_bytes))
        self.held_bytes += size_bytes
        while self._marks and self._marks[0][0].done:
            self.held_bytes -= self._marks.popleft()[1]

    def update(self) -> None:
        """Discount all records that the library has released, in any order."""
        self._marks = deque([mark for mark in self._marks if not mark[0].done])
        self.held_bytes = sum([size_bytes for _, size_bytes in self._marks])

    def has_room(self) -> bool:
        """Whether less than the limit is held."""
        if self.held_bytes >= self._limit_bytes:
            self.update()
        return self.held_bytes < self._limit_bytes

    def is_half_free(self) -> bool:
        """Whether at most half of the limit is held: a subscriber that stays just below the limit would block the others."""
        self.update()
        return self.held_bytes <= self._limit_bytes // 2
