"""Records that their sink refused for now, and what waits behind them. Pure: driven by calls, told the time."""

from bisect import insort
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, NamedTuple, TypeVar

from attrs import define, field

from fleetgw.domain.backoff import Backoff
from fleetgw.domain.records import Record, count_within

OriginT = TypeVar("OriginT")

Lot = tuple[str, str]
"""What keeps its order: the records of one vehicle (its VIN) and one record type."""


def lot_of(record: Record) -> Lot:
    """The lot that a record belongs to."""
    return record.vehicle.vin, record.record_type


class Entry(NamedTuple, Generic[OriginT]):
    """A record, where it stands in the order of all records ever taken, and who waits for it."""

    position: int
    record: Record
    origin: OriginT | None


@define
class Room:
    """How much there is of something: records, and the memory that they take."""

    records: int = 0
    size_bytes: int = 0


@define(eq=False)
class _Stopped(Generic[OriginT]):
    """A lot that does not flow.

    :ivar entries: oldest first, without the one that is being tried.
    :ivar trying: the position of the record that is being tried, None when none is.
    :ivar flows_again: that record has gone; the others may follow it.
    """

    backoff: Backoff
    entries: list[Entry[OriginT]] = field(factory=list)
    trying: int | None = None
    flows_again: bool = False


class SetAside(Generic[OriginT]):
    """Lots that do not flow: their oldest record is tried again after a pause, the others follow once that has gone.

    A record counts as held here until it is ``gone``, also while it is in flight from here.

    :param retry_initial_s: a lot's first pause; doubled at each failure of its oldest record.
    :param retry_max_s: the longest.
    :ivar held: all records held here; always the same object.
    """

    def __init__(self, retry_initial_s: float, retry_max_s: float) -> None:
        self.held = Room()
        self._retry_initial_s = retry_initial_s
        self._retry_max_s = retry_max_s
        self._held_by_type: dict[str, Room] = {}
        self._lots: dict[Lot, _Stopped[OriginT]] = {}
        self._pauses: list[tuple[float, Lot]] = []
        self._due: dict[Lot, _Stopped[OriginT]] = {}

    def held_of(self, record_type: str) -> Room:
        """How much of one record type is held here."""
        return self._held_by_type.get(record_type) or Room()

    @property
    def has_due(self) -> bool:
        """Whether ``take`` would find anything."""
        return bool(self._due)

    @property
    def next_due_s(self) -> float | None:
        """When the next pause ends, None when none is under way."""
        return self._pauses[0][0] if self._pauses else None

    def stops(self, record: Record) -> bool:
        """Whether a record's lot does not flow, so that the record must wait here."""
        return lot_of(record) in self._lots

    def hold_back(self, entry: Entry[OriginT]) -> None:
        """Keep a record that ``stops``."""
        self._count(entry.record, 1)
        self._keep(entry)

    def refused(self, entry: Entry[OriginT], now_s: float, chance: float, *, is_new: bool) -> float | None:
        """Keep a record that its sink refused for now; its lot flows no more.

        :param chance: a random number in [0, 1).
        :param is_new: it was not held here before.
        :return: how long the pause is that this begins, None when it begins none.
        """
        if is_new:
            self._count(entry.record, 1)
        lot = lot_of(entry.record)
        stopped = self._lots.get(lot)
        pauses = stopped is None or stopped.flows_again or stopped.trying == entry.position
        self._keep(entry)
        if not pauses:
            return None
        stopped = self._lots[lot]
        stopped.trying = None
        stopped.flows_again = False
        self._due.pop(lot, None)
        pause_s = stopped.backoff.failed(chance)
        heappush(self._pauses, (now_s + pause_s, lot))
        return pause_s

    def gone(self, position: int, record: Record) -> None:
        """Let go of a record, in flight from here, that was confirmed or refused for good."""
        self._count(record, -1)
        lot = lot_of(record)
        stopped = self._lots.get(lot)
        if stopped is not None and stopped.trying == position:
            stopped.trying = None
            if stopped.entries:
                stopped.backoff.succeeded()
                stopped.flows_again = True
                self._due[lot] = stopped
            else:
                del self._lots[lot]

    def end_pauses(self, now_s: float) -> None:
        """Make due what has paused until now."""
        while self._pauses and self._pauses[0][0] <= now_s:
            lot = heappop(self._pauses)[1]
            self._due[lot] = self._lots[lot]

    def hurry(self) -> None:
        """End all pauses, and begin the next ones from the shortest."""
        for _, lot in self._pauses:
            self._lots[lot].backoff.succeeded()
        self.end_pauses(float("inf"))

    def take(self, most_records: int, most_bytes: int) -> list[Entry[OriginT]]:
        """Part with due records, each lot's in order, to be handed to the sink; see ``count_within``."""
        taken: list[Entry[OriginT]] = []
        cost_bytes = 0
        while self._due and len(taken) < most_records:
            lot, stopped = next(iter(self._due.items()))
            if taken and cost_bytes + stopped.entries[0].record.cost_bytes > most_bytes:
                break
            share = 1
            if stopped.flows_again:
                records = (entry.record for entry in stopped.entries)
                share = count_within(records, most_records - len(taken), most_bytes - cost_bytes)
            taken += stopped.entries[:share]
            cost_bytes += sum(entry.record.cost_bytes for entry in stopped.entries[:share])
            del stopped.entries[:share]
            if not stopped.flows_again:
                stopped.trying = taken[-1].position
                del self._due[lot]
            elif not stopped.entries:
                del self._due[lot], self._lots[lot]
        return taken

    def records(self) -> Iterator[Record]:
        """All that is held here and not in flight."""
        return (entry.record for stopped in self._lots.values() for entry in stopped.entries)

    def abandon(self) -> Iterator[Entry[OriginT]]:
        """Part with all that is not in flight, in no order, and forget what is."""
        lots, self._lots = self._lots, {}
        self.held.records = self.held.size_bytes = 0
        self._held_by_type.clear()
        self._pauses.clear()
        self._due.clear()
        return (entry for stopped in lots.values() for entry in stopped.entries)

    def _keep(self, entry: Entry[OriginT]) -> None:
        lot = lot_of(entry.record)
        stopped = self._lots.get(lot)
        if stopped is None:
            self._lots[lot] = stopped = _Stopped(Backoff(self._retry_initial_s, self._retry_max_s))
        insort(stopped.entries, entry, key=_position)

    def _count(self, record: Record, change: int) -> None:
        size_bytes = change * record.cost_bytes
        for room in (self.held, self._held_by_type.setdefault(record.record_type, Room())):
            room.records += change
            room.size_bytes += size_bytes


def _position(entry: Entry[OriginT]) -> int:
    return entry.position
