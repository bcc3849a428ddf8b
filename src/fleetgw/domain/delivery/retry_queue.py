"""The retry queue of a sink: records with a retryable outcome, and later records that they block.

A retryable record blocks its ordering key: head-of-line blocking ends there, records of all other keys flow on. Pure: takes
the time as an argument.
"""

from bisect import insort
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

from attrs import define, field

from fleetgw.domain.backoff import Backoff
from fleetgw.domain.delivery.batch import Entry
from fleetgw.domain.records import OrderingKey, Record, count_within, ordering_key

OriginT = TypeVar("OriginT")


@define
class Occupancy:
    """A number of records, and the memory that they take (``Record.cost_bytes``)."""

    records: int = 0
    size_bytes: int = 0


@define(eq=False)
class _BlockedKey(Generic[OriginT]):
    """A blocked ordering key: only its oldest record is retried, until that has a final outcome.

    :ivar backoff: the pauses between the retries of the oldest record.
    :ivar entries: the key's records, oldest first, without the one that is in flight as a retry.
    :ivar retrying: the position of the record in flight as a retry, None when there is none.
    :ivar is_released: the oldest record has a final outcome, so that the others may follow in order.
    """

    backoff: Backoff
    entries: list[Entry[OriginT]] = field(factory=list)
    retrying: int | None = None
    is_released: bool = False


class RetryQueue(Generic[OriginT]):
    """The blocked ordering keys of one sink, each with its records and a backoff of its own.

    The oldest record of a key is retried alone after each pause. Once it has a final outcome, the others follow in order.
    A record counts as held until it is ``settled``, also while it is in flight from here.

    :param retry_initial_s: a key's first pause in seconds; doubled at each failure of its oldest record.
    :param retry_max_s: the longest pause in seconds.
    :ivar held: the records held; always the same object.
    """

    def __init__(self, retry_initial_s: float, retry_max_s: float) -> None:
        self.held = Occupancy()
        self._retry_initial_s = retry_initial_s
        self._retry_max_s = retry_max_s
        self._held_by_type: dict[str, Occupancy] = {}
        self._blocked: dict[OrderingKey, _BlockedKey[OriginT]] = {}
        self._pauses: list[tuple[float, OrderingKey]] = []
        self._due: dict[OrderingKey, _BlockedKey[OriginT]] = {}

    def held_of(self, record_type: str) -> Occupancy:
        """The records held of one record type."""
        return self._held_by_type.get(record_type) or Occupancy()

    @property
    def has_due(self) -> bool:
        """Whether ``take`` would return any records."""
        return bool(self._due)

    @property
    def next_due_s(self) -> float | None:
        """The end of the next pause, None when no key pauses."""
        return self._pauses[0][0] if self._pauses else None

    def blocks(self, record: Record) -> bool:
        """Whether a record's ordering key is blocked, so that the record must wait here."""
        return ordering_key(record) in self._blocked

    def add_blocked(self, entry: Entry[OriginT]) -> None:
        """Take a record whose ordering key is blocked."""
        self._count(entry.record, 1)
        self._insert(entry)

    def failed(self, entry: Entry[OriginT], now_s: float, chance: float, *, is_new: bool) -> float | None:
        """Take a record with a retryable outcome; its ordering key is blocked from now on.

        :param chance: a random number in [0, 1), for the jitter.
        :param is_new: the record was not held here before.
        :return: the length in seconds of the pause that this begins, None when it begins none: another record of the key is
            being retried, or waits for its retry.
        """
        if is_new:
            self._count(entry.record, 1)
        key = ordering_key(entry.record)
        blocked = self._blocked.get(key)
        begins_pause = blocked is None or blocked.is_released or blocked.retrying == entry.position
        self._insert(entry)
        if not begins_pause:
            return None
        blocked = self._blocked[key]
        blocked.retrying = None
        blocked.is_released = False
        self._due.pop(key, None)
        pause_s = blocked.backoff.failed(chance)
        heappush(self._pauses, (now_s + pause_s, key))
        return pause_s

    def settled(self, position: int, record: Record) -> None:
        """Forget a record, in flight from here, that has a final outcome."""
        self._count(record, -1)
        key = ordering_key(record)
        blocked = self._blocked.get(key)
        if blocked is not None and blocked.retrying == position:
            blocked.retrying = None
            if blocked.entries:
                blocked.backoff.succeeded()
                blocked.is_released = True
                self._due[key] = blocked
            else:
                del self._blocked[key]

    def end_pauses(self, now_s: float) -> None:
        """Make the records due whose pause is over."""
        while self._pauses and self._pauses[0][0] <= now_s:
            key = heappop(self._pauses)[1]
            self._due[key] = self._blocked[key]

    def retry_now(self) -> None:
        """End all pauses, and start each backoff over."""
        for _, key in self._pauses:
            self._blocked[key].backoff.succeeded()
        self.end_pauses(float("inf"))

    def take(self, most_records: int, most_bytes: int) -> list[Entry[OriginT]]:
        """Remove due records, each key's in order, to be handed to the sink; bounded as by ``count_within``."""
        taken: list[Entry[OriginT]] = []
        cost_bytes = 0
        while self._due and len(taken) < most_records:
            key, blocked = next(iter(self._due.items()))
            if taken and cost_bytes + blocked.entries[0].record.cost_bytes > most_bytes:
                break
            count = 1
            if blocked.is_released:
                records = (entry.record for entry in blocked.entries)
                count = count_within(records, most_records - len(taken), most_bytes - cost_bytes)
            taken += blocked.entries[:count]
            cost_bytes += sum(entry.record.cost_bytes for entry in blocked.entries[:count])
            del blocked.entries[:count]
            if not blocked.is_released:
                blocked.retrying = taken[-1].position
                del self._due[key]
            elif not blocked.entries:
                del self._due[key], self._blocked[key]
        return taken

    def records(self) -> Iterator[Record]:
        """All records that are held here and not in flight."""
        return (entry.record for blocked in self._blocked.values() for entry in blocked.entries)

    def abandon(self) -> Iterator[Entry[OriginT]]:
        """Give up on all records: returns those that are not in flight, in no order, and forgets the others."""
        all_blocked, self._blocked = self._blocked, {}
        self.held.records = self.held.size_bytes = 0
        self._held_by_type.clear()
        self._pauses.clear()
        self._due.clear()
        return (entry for blocked in all_blocked.values() for entry in blocked.entries)

    def _insert(self, entry: Entry[OriginT]) -> None:
        key = ordering_key(entry.record)
        blocked = self._blocked.get(key)
        if blocked is None:
            self._blocked[key] = blocked = _BlockedKey(Backoff(self._retry_initial_s, self._retry_max_s))
        insort(blocked.entries, entry, key=_position)

    def _count(self, record: Record, change: int) -> None:
        size_bytes = change * record.cost_bytes
        for occupancy in (self.held, self._held_by_type.setdefault(record.record_type, Occupancy())):
            occupancy.records += change
            occupancy.size_bytes += size_bytes


def _position(entry: Entry[OriginT]) -> int:
    return entry.position
