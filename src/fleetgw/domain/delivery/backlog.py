"""The delivery state of a sink's records: waiting, in flight, settled. Pure: driven by calls, told the outcomes."""

from bisect import insort
from collections.abc import Sequence
from itertools import groupby
from typing import Generic, Protocol, TypeVar

from attrs import frozen

from fleetgw.domain.batch import Batch as Batch
from fleetgw.domain.batch import Refusal, batch_of
from fleetgw.domain.batch import Settlement as Settlement
from fleetgw.domain.errors import NotConnected, Rejected, Retryable, forget_frames
from fleetgw.domain.memory_budget import Share, unbounded_share
from fleetgw.domain.ports import RECEIPT, Outcome, Receipt
from fleetgw.domain.records import Record, count_within
from fleetgw.domain.retry_queue import Entry, RetryQueue
from fleetgw.domain.vehicle_shares import VEHICLE_BYTES, Holding, VehicleShares


class Origin(Protocol):
    """Whoever waits for a record's confirmation. Compared by identity."""

    def __hash__(self) -> int: ...


OriginT = TypeVar("OriginT", bound=Origin)

BATCH_BYTES = 1024 * 1024
"""Cost of the records in one batch: some 300 ordinary ones. While vehicles share, one's part is ``vehicle_bytes``."""


@frozen
class BacklogLimits:
    """How much a sink may hold.

    :ivar queue_records: records waiting and in flight together. The retry queue counts for each record type: of one
        type, at most so many records wait, are in flight or are in the retry queue.
    :ivar queue_bytes: the memory that they take (``Record.cost_bytes``), likewise.
    :ivar in_flight_records: records handed to the sink and not settled.
    :ivar batch_records: records in one batch.
    :ivar batch_bytes: what they cost, at most, unless one record alone costs more.
    :ivar vehicle_bytes: what one vehicle's records that wait or are in flight cost, likewise, while several are connected.
    """

    queue_records: int
    queue_bytes: int
    in_flight_records: int
    batch_records: int
    batch_bytes: int = BATCH_BYTES
    vehicle_bytes: int = VEHICLE_BYTES


class Backlog(Generic[OriginT]):
    """One sink's records, oldest first, within ``BacklogLimits``.

    A record that could not reach the destination (``NotConnected``) is handed out again before all later records. A record
    with another retryable outcome goes to the retry queue, and blocks only later records with its ordering key.

    :param retry_initial_s: the first pause of a blocked ordering key, in seconds; doubled at each further failure.
    :param retry_max_s: the longest pause, in seconds.
    :param share: the sink's part of the memory of all queues; by default without a bound.
    :ivar short_of_memory: the last ``offer`` that did not take everything was stopped by ``share``, not by the limits.
    """

    def __init__(
        self, limits: BacklogLimits, retry_initial_s: float, retry_max_s: float, share: Share | None = None
    ) -> None:
        self.limits = limits
        self.short_of_memory = False
        self._share = share or unbounded_share()
        self.in_flight_records = 0
        self._flowing_records = 0  # waiting and in flight, without the retry queue
        self._flowing_bytes = 0
        self._in_flight: set[Batch[OriginT]] = set()
        self._retries: list[Batch[OriginT]] = []
        self._waiting_records: list[Record] = []
        self._waiting_origins: list[OriginT | None] = []
        self._waiting_bytes = 0
        self._waiting_from = 0  # the position of the first
        self._retry_queue: RetryQueue[OriginT] = RetryQueue(retry_initial_s, retry_max_s)
        self._held_for_retry = self._retry_queue.held
        self._last_from_retry_queue = False
        self._vehicles: VehicleShares[OriginT] | None = None  # kept while several vehicles are connected
        self._is_shared = False
        # While less than half is held, no bound can be reached: neither of the queue, nor of the memory, nor of a vehicle.
        self._unchecked_records = limits.queue_records // 2
        self._unchecked_bytes = min(limits.queue_bytes, self._share.own_bytes) // 2

    @property
    def held_records(self) -> int:
        """Number of records waiting, in flight and in the retry queue."""
        return self._flowing_records + self._held_for_retry.records

    @property
    def held_bytes(self) -> int:
        """The memory that they take."""
        return self._flowing_bytes + self._held_for_retry.size_bytes

    @property
    def waiting_records(self) -> int:
        """Those that were never handed out, and are not known to be held back."""
        return len(self._waiting_records)

    @property
    def retry_queue_records(self) -> int:
        """Number of records in the retry queue: retryable ones, and those blocked behind them."""
        return self._held_for_retry.records

    @property
    def has_more(self) -> bool:
        """Whether there is anything to be handed out as soon as there is room for it in flight."""
        return bool(self._waiting_records or self._retries or self._retry_queue.has_due)

    @property
    def next_due_s(self) -> float | None:
        """The time for the next ``end_pauses``, None when no ordering key pauses."""
        return self._retry_queue.next_due_s

    def share_among_vehicles(self, *, is_shared: bool) -> None:
        """Say whether several vehicles are connected.

        Then each has a share of what flows to the sink (``VehicleShares``), and may hold as much as is still free. A vehicle
        that is alone has all of both; shares that were kept are kept on until nothing is held.
        """
        self._is_shared = is_shared
        if is_shared and self._vehicles is None:
            self._begin_sharing()
        elif not self._flowing_records and not self._held_for_retry.records:
            self._vehicles = VehicleShares(self.limits.vehicle_bytes) if is_shared else None

    def _begin_sharing(self) -> None:
        vehicles: VehicleShares[OriginT] = VehicleShares(self.limits.vehicle_bytes)
        self._vehicles = vehicles
        for record in self._retry_queue.records():
            vehicles.count(record, flows=False)
        for batch in (*self._in_flight, *self._retries):
            for record in batch.records:
                vehicles.count(record, flows=not batch.from_retry_queue)
        waiting = zip(self._waiting_records, self._waiting_origins, strict=True)
        self._waiting_records, self._waiting_origins, self._waiting_bytes = [], [], 0
        for (_, origin), run in groupby(waiting, lambda each: (each[0].vehicle.vin, each[1])):
            records = [record for record, _ in run]
            flowing = vehicles.take(records, sum([record.cost_bytes for record in records]), origin)
            self._wait(records[:flowing], [origin] * flowing)

    def _let_flow(self) -> None:
        """Let follow what waited for its vehicle's share of the flow."""
        if self._vehicles is not None:
            self._wait(*self._vehicles.released())
            if not self._is_shared and not self._flowing_records and not self._held_for_retry.records:
                self._vehicles = None

    def offer(self, records: Sequence[Record], size_bytes: int, origin: OriginT | None) -> int:
        """Take as many of ``records`` as there is room for, from the first on.

        :param records: of one vehicle and record type.
        :param size_bytes: what all of them cost (``Record.cost_bytes``).
        :param origin: who waits for their confirmation.
        :return: how many were taken.
        """
        count = len(records)
        held_records = self._flowing_records + count
        held_bytes = self._flowing_bytes + size_bytes
        if held_records > self._unchecked_records or held_bytes > self._unchecked_bytes or self._held_for_retry.records:
            if not self._has_room(records, size_bytes):
                count, size_bytes = self._fitting(records)
                records = records[:count]
            held_records = self._flowing_records + count
            held_bytes = self._flowing_bytes + size_bytes
        self._flowing_records = held_records
        self._flowing_bytes = held_bytes
        self._share.take(size_bytes)
        if self._vehicles is not None and count:
            flowing = self._vehicles.take(records, size_bytes, origin)
            if flowing < count:
                self._wait(records[:flowing], [origin] * flowing)
                return count
        self._waiting_records += records
        self._waiting_origins += [origin] * count
        self._waiting_bytes += size_bytes
        return count

    def _wait(self, records: Sequence[Record], origins: Sequence[OriginT | None]) -> None:
        self._waiting_records += records
        self._waiting_origins += origins
        self._waiting_bytes += sum(record.cost_bytes for record in records)

    def _has_room(self, records: Sequence[Record], size_bytes: int) -> bool:
        """Whether all of these surely fit."""
        if self._held_for_retry.records or not records:
            return False
        free_records = self.limits.queue_records - self._flowing_records
        free_bytes = min(self.limits.queue_bytes - self._flowing_bytes, self._share.room_bytes)
        if len(records) > free_records or size_bytes > free_bytes:
            return False
        if self._vehicles is None:
            return True
        holding = self._vehicles.of(records[0].vehicle.vin)
        return not self._is_beyond_half(holding, len(records), size_bytes, free_records, free_bytes)

    @staticmethod
    def _is_beyond_half(holding: Holding[OriginT], count: int, size_bytes: int, free_records: int, free_bytes: int) -> bool:
        """Whether a vehicle would hold more than what is left for the others."""
        return holding.records + 2 * count > free_records or holding.cost_bytes + 2 * size_bytes > free_bytes

    def _fitting(self, records: Sequence[Record]) -> tuple[int, int]:
        """How many there is room for, from the first on, and what they cost."""
        room_records = self.limits.queue_records - self._flowing_records
        room_bytes = self.limits.queue_bytes - self._flowing_bytes
        if records:
            held_for_retry = self._retry_queue.held_of(records[0].record_type)
            room_records -= held_for_retry.records
            room_bytes -= held_for_retry.size_bytes
        share_bytes = self._share.room_bytes
        self.short_of_memory = False
        count = size_bytes = 0
        most_records, most_bytes = room_records, min(room_bytes, share_bytes)
        if self._vehicles is not None and records:
            # no more than it leaves for the others, but always one
            holding = self._vehicles.of(records[0].vehicle.vin)
            most_bytes = max((most_bytes - holding.cost_bytes) // 2, 0 if holding.records else records[0].cost_bytes)
            most_records = min(most_records, max((most_records - holding.records) // 2, 0 if holding.records else 1))
        for record in records[: max(0, most_records)]:
            if size_bytes + record.cost_bytes > min(most_bytes, room_bytes, share_bytes):
                self.short_of_memory = share_bytes < room_bytes
                break
            count += 1
            size_bytes += record.cost_bytes
        return count, size_bytes

    def end_pauses(self, now_s: float) -> None:
        """Let the records be retried whose pause is over at ``now_s``."""
        self._retry_queue.end_pauses(now_s)

    def retry_now(self) -> None:
        """Let all records of the retry queue be retried, whatever their pause."""
        self._retry_queue.retry_now()

    def next_batch(self) -> Batch[OriginT] | None:
        """The next records to be handed to the sink now; None when there are none or the window is full."""
        room = min(self.limits.batch_records, self.limits.in_flight_records - self.in_flight_records)
        if room <= 0:
            return None
        # The retry queue takes turns with the waiting records, so that neither has to wait for all of the other.
        turns = (self._from_retry_queue, self._from_waiting)
        if self._last_from_retry_queue:
            turns = turns[::-1]
        for source in (self._from_retries, *turns):
            batch = source(room)
            if batch is not None:
                self._last_from_retry_queue = batch.from_retry_queue
                self.in_flight_records += len(batch.records)
                self._in_flight.add(batch)
                return batch
        return None

    def _from_retries(self, room: int) -> Batch[OriginT] | None:
        while self._retries:
            batch = self._retries[0]
            if len(batch.records) <= room:
                del self._retries[0]
            else:
                entries = batch.entries()
                batch, self._retries[0] = batch_of(entries[:room]), batch_of(entries[room:])
            batch = self._without_blocked(batch)
            if batch.records:
                return batch
        return None

    def _from_retry_queue(self, room: int) -> Batch[OriginT] | None:
        if not self._retry_queue.has_due:
            return None
        return batch_of(self._retry_queue.take(room, self.limits.batch_bytes), from_retry_queue=True)

    def _from_waiting(self, room: int) -> Batch[OriginT] | None:
        while self._waiting_records:
            records, origins, start = self._waiting_records, self._waiting_origins, self._waiting_from
            if len(records) <= room and self._waiting_bytes <= self.limits.batch_bytes:
                count = len(records)
            else:
                count = count_within(records, room, self.limits.batch_bytes)
            if count == len(records):
                self._waiting_records, self._waiting_origins, self._waiting_bytes = [], [], 0
            else:
                records, origins = records[:count], origins[:count]
                del self._waiting_records[:count], self._waiting_origins[:count]
                self._waiting_bytes -= sum(record.cost_bytes for record in records)
            self._waiting_from = start + count
            batch = self._without_blocked(Batch(records, origins, range(start, start + count)))
            if batch.records:
                return batch
        return None

    def _without_blocked(self, batch: Batch[OriginT]) -> Batch[OriginT]:
        """Move records with a blocked ordering key to the retry queue; returns the rest."""
        if not self._held_for_retry.records:
            return batch
        free = []
        for entry in batch.entries():
            if self._retry_queue.blocks(entry.record):
                self._flows_no_more(entry.record)
                if self._vehicles is not None:
                    self._vehicles.leave_flow(entry.record)
                self._retry_queue.add_blocked(entry)
            else:
                free.append(entry)
        self._let_flow()
        return batch if len(free) == len(batch.records) else batch_of(free)

    def _flows_no_more(self, record: Record) -> None:
        self._flowing_records -= 1
        self._flowing_bytes -= record.cost_bytes

    def settle(self, batch: Batch[OriginT], outcomes: Sequence[Outcome], now_s: float, chance: float) -> Settlement[OriginT]:
        """Take a batch's outcomes: free what is done, keep what is to be tried again.

        An outcome that is none (a sink that breaks its contract) counts as one to be tried again. A batch that was given up
        on settles nothing any more.

        :param outcomes: one for each record of ``batch``, in order.
        :param now_s: on the clock of ``end_pauses``.
        :param chance: a random number in [0, 1).
        :raises ValueError: there are more or fewer outcomes than records; nothing is settled.
        """
        count = len(batch.records)
        if len(outcomes) != count:
            raise ValueError(f"{len(outcomes)} outcomes for {count} records")
        settlement: Settlement[OriginT] = Settlement()
        if batch not in self._in_flight:
            return settlement
        self._in_flight.remove(batch)
        self.in_flight_records -= count
        if not batch.from_retry_queue and outcomes.count(RECEIPT) == count:
            self._confirm(batch, settlement)
        else:
            self._settle_each(batch, outcomes, now_s, chance, settlement)
        self._let_flow()
        return settlement

    def _confirm(self, batch: Batch[OriginT], settlement: Settlement[OriginT]) -> None:
        """Forget a batch, not from the retry queue, of which every record is confirmed."""
        due = settlement.due
        size_bytes = 0
        for record, origin in zip(batch.records, batch.origins, strict=True):
            size_bytes += record.cost_bytes
            if origin is not None:
                if origin in due:
                    due[origin].append(record)
                else:
                    due[origin] = [record]
        self._flowing_records -= len(batch.records)
        self._flowing_bytes -= size_bytes
        self._share.give_back(size_bytes)
        if self._vehicles is not None:
            self._vehicles.gone(batch.records, flowed=True)

    def _settle_each(
        self,
        batch: Batch[OriginT],
        outcomes: Sequence[Outcome],
        now_s: float,
        chance: float,
        settlement: Settlement[OriginT],
    ) -> None:
        retry_queue = self._retry_queue
        again: list[Entry[OriginT]] = []
        for entry, outcome in zip(batch.entries(), outcomes, strict=True):
            record, origin = entry.record, entry.origin
            if isinstance(outcome, BaseException):
                forget_frames(outcome)
            if isinstance(outcome, (Receipt, Rejected)):
                if isinstance(outcome, Rejected):
                    settlement.refused.append(Refusal(record, origin, outcome))
                elif origin is not None:
                    settlement.due.setdefault(origin, []).append(record)
                self._share.give_back(record.cost_bytes)
                if self._vehicles is not None:
                    self._vehicles.gone((record,), flowed=not batch.from_retry_queue)
                if batch.from_retry_queue:
                    retry_queue.settled(entry.position, record)
                else:
                    self._flows_no_more(record)
                continue
            reason = outcome if isinstance(outcome, Retryable) else Retryable(f"the sink's outcome was {outcome!r}")
            settlement.retried_records += 1
            settlement.retry_reason = reason
            if isinstance(reason, NotConnected):
                settlement.not_connected = reason
                if not batch.from_retry_queue:
                    again.append(entry)
                    continue
            if not batch.from_retry_queue:
                self._flows_no_more(record)
                if self._vehicles is not None:
                    self._vehicles.leave_flow(record)
            pause_s = retry_queue.failed(entry, now_s, chance, is_new=not batch.from_retry_queue)
            if pause_s is not None:
                settlement.pause_s = max(pause_s, settlement.pause_s or 0)
        if again:
            insort(self._retries, batch_of(again), key=_first_position)

    def close(self) -> None:
        """Take nothing more and hand nothing out; what is in flight may still settle."""
        self.limits = BacklogLimits(0, 0, 0, 0)
        self._unchecked_records = -1

    def abandon(self) -> list[tuple[Record, OriginT | None]]:
        """Give up on everything, in flight too: returns it with its origins, oldest first. For after ``close``."""
        self._share.give_back(self.held_bytes)
        if self._vehicles is not None:
            self._wait(*self._vehicles.abandon())
        until = self._waiting_from + len(self._waiting_records)
        waiting = Batch(self._waiting_records, self._waiting_origins, range(self._waiting_from, until))
        entries = [*self._retry_queue.abandon()]
        for batch in (*self._in_flight, *self._retries, waiting):
            entries += batch.entries()
        self._in_flight, self._retries, self._waiting_records, self._waiting_origins = set(), [], [], []
        self._flowing_records = self._flowing_bytes = self._waiting_bytes = self.in_flight_records = 0
        entries.sort(key=_position)
        return [(entry.record, entry.origin) for entry in entries]


def _position(entry: Entry[OriginT]) -> int:
    return entry.position


def _first_position(batch: Batch[OriginT]) -> int:
    return batch.positions[0]
