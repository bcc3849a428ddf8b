"""Tells a slow connection from a dead one, by replies and by the bytes that the server's host acknowledges. No I/O."""

from __future__ import annotations

from collections import deque

MAX_TIMEOUTS = 20
"""Longest wait between two replies, in time-outs, however many bytes leave meanwhile: a dispatch must end."""


class Progress:
    """The progress of the oldest command without a reply.

    :param timeout_s: longest time without progress.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._chunks: deque[tuple[int, int]] = deque()
        self._replies = 0
        self._acknowledged_bytes = 0
        self._progress_at = 0.0
        self._replied_at = 0.0

    def sending(self, commands: int, size_bytes: int, now: float) -> None:
        """Note that more is to be sent.

        :param commands: number of commands so far.
        :param size_bytes: size of all of them.
        """
        if not self._chunks:
            self._progress_at = self._replied_at = now
        self._chunks.append((commands, size_bytes))

    def update(self, replies: int, acknowledged_bytes: int, now: float) -> None:
        """Note the state of the connection.

        :param replies: number of replies so far.
        :param acknowledged_bytes: number of bytes that the server's host has acknowledged so far.
        """
        if replies > self._replies:
            self._replies = replies
            self._progress_at = self._replied_at = now
            while self._chunks and self._chunks[0][0] <= replies:
                self._chunks.popleft()
        elif self._chunks and self._acknowledged_bytes < min(acknowledged_bytes, self._chunks[0][1]):
            self._progress_at = now  # bytes of later commands are no progress of the oldest one
        self._acknowledged_bytes = max(acknowledged_bytes, self._acknowledged_bytes)

    @property
    def is_sending(self) -> bool:
        """Whether bytes of the oldest command are not acknowledged yet."""
        return bool(self._chunks) and self._acknowledged_bytes < self._chunks[0][1]

    @property
    def deadline(self) -> float | None:
        """Time at which the connection counts as lost if there is no progress; None when no reply is due."""
        if not self._chunks:
            return None
        return min(self._progress_at + self._timeout_s, self._replied_at + MAX_TIMEOUTS * self._timeout_s)
