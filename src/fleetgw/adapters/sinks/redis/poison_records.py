"""Finds the poison record: the one over which a server closes connections. No I/O and no clock.

A server that closes a connection may have executed earlier commands, but the replies may be lost with the connection.
Unanswered records are therefore sent again one at a time, then two, then four, and so on, until the connection is lost
while one record alone is unanswered.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from fleetgw.domain.errors import Retryable

if TYPE_CHECKING:
    from fleetgw.domain.records import Record

LOSSES_TO_QUARANTINE = 3
"""Connections lost over one record before it is quarantined, so that the others flow on."""


class Verdict(Enum):
    """The meaning of a lost connection."""

    RETRY = 1
    QUARANTINE = 2
    SERVER_AT_FAULT = 3


class Quarantined(Retryable):
    """Connections were lost over this record: its retries go over a connection for quarantined records."""


class PoisonRecordDetector:
    """Counts the connections lost over each record, and limits the records in flight after a loss.

    :ivar window: number of records that may be in flight; None: no limit.
    """

    def __init__(self) -> None:
        self.window: int | None = None
        self._losses: WeakKeyDictionary[Record, int] = WeakKeyDictionary()
        self._quarantined_last = False

    def window_answered(self) -> None:
        """Double the window: the server has answered all records in flight."""
        if self.window is not None:
            self.window *= 2

    def reset(self) -> None:
        """Lift the limit: all records that a lost connection left unanswered are settled."""
        self.window = None

    def server_replied(self) -> None:
        """Note a reply: the server is not at fault as a whole."""
        self._quarantined_last = False

    def connection_lost(self, first: Record, *, alone: bool) -> Verdict:
        """Judge the loss of a connection with records in flight.

        :param first: the oldest of them.
        :param alone: no other record can be the reason.
        """
        if not alone:
            self.window = 1
            return Verdict.RETRY
        losses = self._losses.get(first, 0) + 1
        self._losses[first] = losses
        if losses < LOSSES_TO_QUARANTINE:
            return Verdict.RETRY
        if self._quarantined_last:  # two in a row, without any reply between them
            self._quarantined_last = False
            return Verdict.SERVER_AT_FAULT
        self._quarantined_last = True
        return Verdict.QUARANTINE
