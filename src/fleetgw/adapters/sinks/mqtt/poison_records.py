"""Finds poison records: records over which the broker ends sessions. No I/O and no clock.

In MQTT 3.1.1 a broker that does not accept a message (too large, a forbidden topic) ends the connection without a reason.
Retried together with others, that message would end session after session. After such an end records are therefore sent one
at a time, then two, then four, and so on up to full speed: the poison record is soon alone in flight.

A broker that restarts, or a network that breaks, ends sessions too. An end counts against a record only if

- that record alone was in flight, or was the last one that the broker refused,
- the broker accepted the next session at the first attempt, at once, so that it was not down,
- the broker has confirmed another record since the last such end, so that it accepts others.

A record that is not confirmed in time blocks all records behind it. Its session is cut, and the cut counts against it in the
same way, but such a record is never rejected: after some such sessions its ordering key is quarantined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Collection

    from fleetgw.domain.records import Record

ENDS_TO_REJECT = 3
"""Sessions that a record may end before it is rejected."""

STALLS_TO_SET_ASIDE = 2
"""Sessions in which a record may stay unconfirmed while others are confirmed, before its ordering key is quarantined."""


class PoisonRecordDetector:
    """Counts the sessions that each record has ended, and limits the number of records in flight together.

    :ivar active: whether a session was ended and full speed without suspects has not been reached again since.
    :ivar group_records: number of records that may be in flight together; the next group waits for all their answers.
    :ivar takes_others: whether the broker has confirmed a record since the last count against one.
    """

    def __init__(self, full_speed_records: int) -> None:
        self.active = False
        self.group_records = full_speed_records
        self.takes_others = True
        self._full_speed_records = full_speed_records
        self._ends: WeakKeyDictionary[Record, int] = WeakKeyDictionary()
        self._stalls: WeakKeyDictionary[Record, int] = WeakKeyDictionary()
        self._charged: Record | None = None
        self._charge = 0

    def suspects(self, record: Record) -> bool:
        """Whether a record has probably ended a session: it is sent alone, and after others."""
        return record in self._ends or record in self._stalls

    def condemns(self, record: Record) -> bool:
        """Whether a record has ended so many sessions that it must not be sent again."""
        return self._ends.get(record, 0) >= ENDS_TO_REJECT

    def session_ended(self, candidates: Collection[Record]) -> bool:
        """The broker has ended a session.

        :param candidates: the records over which it may have done so.
        :return: whether to connect at once, to find out whether the broker is up.
        """
        self._charged = None
        if not candidates:
            return False
        self.active = True
        self.group_records = 1
        if len(candidates) > 1:
            return False
        (self._charged,) = candidates
        self._charge, self.takes_others = int(self.takes_others), False
        return bool(self._charge) or self.suspects(self._charged)

    def session_stalled(self, record: Record) -> bool:
        """A session was cut, because a record was not confirmed in time.

        :return: whether its ordering key is to be quarantined.
        """
        self._charged = None
        self.active = True
        self.group_records = 1
        stalls = self._stalls[record] = self._stalls.get(record, 0) + self.takes_others
        self.takes_others = False
        return stalls >= STALLS_TO_SET_ASIDE

    def attempt_failed(self) -> None:
        """The broker cannot be reached, so that no record has ended the session."""
        self._charged = None

    def session_opened(self) -> None:
        """The broker has accepted a session, at the first attempt if there was no ``attempt_failed``."""
        if self._charged is not None:
            self._ends[self._charged] = self._ends.get(self._charged, 0) + self._charge
        self._charged = None

    def confirmed(self, record: Record) -> None:
        """The broker has confirmed a record."""
        self.takes_others = True
        self.forget(record)

    def forget(self, record: Record) -> None:
        """Drop all counts against a record."""
        self._ends.pop(record, None)
        self._stalls.pop(record, None)

    def group_answered(self) -> None:
        """All records of a group have their answers: the next group may be twice as large."""
        self.group_records = min(2 * self.group_records, self._full_speed_records)
        if self.group_records == self._full_speed_records and not self._ends and not self._stalls:
            self.active = False
            self.takes_others = True
