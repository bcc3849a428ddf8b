"""Finds the poison record: the one over which the broker ends sessions. No I/O and no clock.

In MQTT 3.1.1 a broker that does not accept a message (too large, a forbidden topic) ends the connection and gives no reason.
Offered again with the others, that message would end session after session. After such an end the records therefore go one
at a time, then two, then four, and so on up to full speed: the poison record is soon alone in flight.

A broker that restarts, or a network that breaks, ends sessions too. An end counts against a record only if

- that record alone was in flight, or was the last one that the broker refused,
- the broker accepted the next session at the first attempt, at once: it had not gone away,
- the broker has confirmed another record since the last such end: it accepts others.

A record that is not confirmed in time blocks all records behind it. Its session is cut, and the cut counts against it in the
same way, but such a record is never refused: after some such sessions its ordering key is quarantined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Collection

    from fleetgw.domain.records import Record

ENDS_TO_REJECT = 3
"""Sessions that a record may end before it is refused for good."""

STALLS_TO_SET_ASIDE = 2
"""Sessions in which a record may stay unconfirmed while others are confirmed, before its ordering key is quarantined."""


class PoisonRecordDetector:
    """Counts the sessions that each record has ended, and says how many records may be in flight together.

    :ivar active: since a session was ended, until records have gone at full speed again and nothing is held against any.
    :ivar group_records: how many may be under way together; the next ones wait for the answers to all of them.
    :ivar takes_others: whether the broker has confirmed a record since something was last held against one.
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
        """Whether it has ended a session, as far as can be told: it goes alone, and others first."""
        return record in self._ends or record in self._stalls

    def condemns(self, record: Record) -> bool:
        """Whether it has ended so many that it is not to be sent again."""
        return self._ends.get(record, 0) >= ENDS_TO_REJECT

    def session_ended(self, under_way: Collection[Record]) -> bool:
        """The broker has ended a session.

        :param under_way: the records over which it may have done so.
        :return: whether to connect at once, to see if it is still there.
        """
        self._charged = None
        if not under_way:
            return False
        self.active = True
        self.group_records = 1
        if len(under_way) > 1:
            return False
        (self._charged,) = under_way
        self._charge, self.takes_others = int(self.takes_others), False
        return bool(self._charge) or self.suspects(self._charged)

    def session_stalled(self, record: Record) -> bool:
        """A session was cut, as a record was not confirmed in time.

        :return: whether its ordering key is to be quarantined.
        """
        self._charged = None
        self.active = True
        self.group_records = 1
        stalls = self._stalls[record] = self._stalls.get(record, 0) + self.takes_others
        self.takes_others = False
        return stalls >= STALLS_TO_SET_ASIDE

    def attempt_failed(self) -> None:
        """The broker cannot be reached: it is no record's fault that the session has ended."""
        self._charged = None

    def session_opened(self) -> None:
        """The broker has let us in, at the first attempt if there was no ``attempt_failed``."""
        if self._charged is not None:
            self._ends[self._charged] = self._ends.get(self._charged, 0) + self._charge
        self._charged = None

    def confirmed(self, record: Record) -> None:
        """The broker has taken a record."""
        self.takes_others = True
        self.forget(record)

    def forget(self, record: Record) -> None:
        """Hold nothing against a record any more."""
        self._ends.pop(record, None)
        self._stalls.pop(record, None)

    def group_answered(self) -> None:
        """All of a group have their answers: the next may be twice as large."""
        self.group_records = min(2 * self.group_records, self._full_speed_records)
        if self.group_records == self._full_speed_records and not self._ends and not self._stalls:
            self.active = False
            self.takes_others = True
