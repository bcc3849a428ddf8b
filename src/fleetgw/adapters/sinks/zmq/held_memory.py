"""How much of what was sent the library still holds, for however many subscribers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zmq import MessageTracker

MARK_BYTES = 65_536
"""One record in so many bytes is marked, so that the library says when it lets go of it: marking costs more than sending."""

RECORD_BYTES = 256
"""What a record takes in the library beside its payload."""


class HeldMemory:
    """Counts bytes by marked records; each stands for itself and for those since the one before.

    Subscribers share what waits for several of them, and so it is counted once.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._marks: deque[tuple[MessageTracker, int]] = deque()
        self.held_bytes = 0

    def add(self, tracker: MessageTracker, size_bytes: int) -> None:
        """Take a mark for a record that the socket has just taken."""
        self._marks.append((tracker, size_bytes))
        self.held_bytes += size_bytes
        while self._marks and self._marks[0][0].done:
            self.held_bytes -= self._marks.popleft()[1]

    def look(self) -> None:
        """Note all that the library has let go of, in whatever order."""
        self._marks = deque([mark for mark in self._marks if not mark[0].done])
        self.held_bytes = sum([size_bytes for _, size_bytes in self._marks])

    def has_room(self) -> bool:
        """Whether less than the limit is held."""
        if self.held_bytes >= self._limit_bytes:
            self.look()
        return self.held_bytes < self._limit_bytes

    def is_relieved(self) -> bool:
        """Whether no more than half of the limit is held: one that only just keeps below it would hold up the others."""
        self.look()
        return self.held_bytes <= self._limit_bytes // 2
