"""Whether the broker gets on with the records under way. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES_ALONE_S = 60.0
"""For this time bytes that leave count as progress without an acknowledgement: a slow link must not block all for ever."""


class Progress:
    """The time since the broker last made progress with the oldest record under way.

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
        """A new session: no bytes have left in it."""
        self._left_bytes = 0
        self.answered()

    def answered(self) -> None:
        """The broker has answered, or has nothing to answer."""
        self._at_s = self._answered_at_s = self._now_s()

    def saw_bytes_leave(self, left_bytes: int, *, of_oldest: bool) -> None:
        """Look at the connection.

        :param left_bytes: how many bytes of the session have left this machine.
        :param of_oldest: whether some of the oldest record is still to be sent: only then do more bytes count.
        """
        moved, self._left_bytes = left_bytes > self._left_bytes, left_bytes
        now_s = self._now_s()
        if moved and of_oldest and now_s - self._answered_at_s < BYTES_ALONE_S:
            self._at_s = now_s
