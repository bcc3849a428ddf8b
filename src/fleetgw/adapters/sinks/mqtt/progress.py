"""Measures the broker's progress with the records in flight. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES_ALONE_S = 60.0
"""Longest time for which leaving bytes alone count as progress, so that a slow link does not block all records for ever."""


class Progress:
    """The time since the broker last made progress with the oldest record in flight.

    :param now_s: the clock, seconds.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._at_s = 0.0
        self._answered_at_s = 0.0
        self._left_bytes = 0

    @property
    def silent_s(self) -> float:
        """Seconds without progress."""
        return self._now_s() - self._at_s

    def session_opened(self) -> None:
        """A session begins, of which no bytes have left."""
        self._left_bytes = 0
        self.answered()

    def answered(self) -> None:
        """The broker has answered, or owes no answer."""
        self._at_s = self._answered_at_s = self._now_s()

    def saw_bytes_leave(self, left_bytes: int, *, of_oldest: bool) -> None:
        """Take the connection's count of bytes.

        :param left_bytes: bytes of this session that have left this machine.
        :param of_oldest: a part of the oldest record is still to be sent; else more bytes do not count as progress.
        """
        moved, self._left_bytes = left_bytes > self._left_bytes, left_bytes
        now_s = self._now_s()
        if moved and of_oldest and now_s - self._answered_at_s < BYTES_ALONE_S:
            self._at_s = now_s
