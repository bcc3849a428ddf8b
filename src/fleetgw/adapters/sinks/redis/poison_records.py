"""Which record a server ends the connection over. Pure: told what happened, says how much to risk."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from fleetgw.domain.errors import Retryable

if TYPE_CHECKING:
    from fleetgw.domain.records import Record

CONNECTIONS = 3
"""How many connections may be lost over a record, then it takes one of its own, and the others flow on."""

SLOWEST = 20
"""So many time-outs may pass between two answers, however much moves: a dispatch must come to an end."""


class Verdict(Enum):
    """The meaning of a lost connection."""

    OFFER_AGAIN = 1
    QUARANTINE_HEAD = 2
    SERVER_AT_FAULT = 3


class Quarantined(Retryable):
    """Connection after connection was lost over this record: it is to be tried again on one of its own."""


class Caution:
    """After a connection that the server has closed with records unanswered: how many records to risk at a time.

    A server that closes a connection may have answered earlier records, but the answers may be lost with the connection.
    So the records are offered again one at a time, then two, four and so on, until the connection is lost over one alone.

    :ivar window: how many records may be unanswered; None: any number.
    """

    def __init__(self) -> None:
        self.window: int | None = None
        self._lost: WeakKeyDictionary[Record, int] = WeakKeyDictionary()
        self._quarantined_last = False

    def passed(self) -> None:
        """Everything in the window was answered."""
        if self.window is not None:
            self.window *= 2

    def ended(self) -> None:
        """No record is left of those that were unanswered."""
        self.window = None

    def answered(self) -> None:
        """The server has answered something: it is not at fault as a whole."""
        self._quarantined_last = False

    def lost(self, head: Record, *, alone: bool) -> Verdict:
        """The connection was lost over unanswered records.

        :param head: the first of them.
        :param alone: no other one can have been the reason.
        """
        if not alone:
            self.window = 1
            return Verdict.OFFER_AGAIN
        count = self._lost.get(head, 0) + 1
        self._lost[head] = count
        if count < CONNECTIONS:
            return Verdict.OFFER_AGAIN
        if self._quarantined_last:  # two in turn and nothing answered between them
            self._quarantined_last = False
            return Verdict.SERVER_AT_FAULT
        self._quarantined_last = True
        return Verdict.QUARANTINE_HEAD


class Progress:
    """Tells a connection that is slow from one that is dead: by answers, and by the bytes that the server's host takes.

    :param timeout_s: how long nothing may move.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._chunks: deque[tuple[int, int]] = deque()
        self._heard = 0
        self._taken_bytes = 0
        self._moved_at = 0.0
        self._answered_at = 0.0

    def said(self, commands: int, size_bytes: int, now: float) -> None:
        """More is to be sent.

        :param commands: how many commands there are by now.
        :param size_bytes: how many bytes they are together.
        """
        if not self._chunks:
            self._moved_at = self._answered_at = now
        self._chunks.append((commands, size_bytes))

    def seen(self, heard: int, taken_bytes: int, now: float) -> None:
        """Look at how far the connection is.

        :param heard: how many commands were answered.
        :param taken_bytes: how many bytes the server's host has taken.
        """
        if heard > self._heard:
            self._heard = heard
            self._moved_at = self._answered_at = now
            while self._chunks and self._chunks[0][0] <= heard:
                self._chunks.popleft()
        elif self._chunks and self._taken_bytes < min(taken_bytes, self._chunks[0][1]):
            self._moved_at = now  # of the oldest question only: what is sent after it says nothing of it
        self._taken_bytes = max(taken_bytes, self._taken_bytes)

    @property
    def is_sending(self) -> bool:
        """Whether the server's host has not yet taken the oldest question as a whole."""
        return bool(self._chunks) and self._taken_bytes < self._chunks[0][1]

    @property
    def deadline(self) -> float | None:
        """When something must have moved, else the connection is lost; None when nothing is awaited."""
        if not self._chunks:
            return None
        return min(self._moved_at + self._timeout_s, self._answered_at + SLOWEST * self._timeout_s)
