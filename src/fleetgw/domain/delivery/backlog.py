"""The backlog: all records that wait for one sink or are in flight to it, until each has a final outcome."""

from bisect import insort
from collections.abc import Sequence
from itertools import groupby
from typing import Generic, Protocol, TypeVar

from fleetgw.domain.delivery.admission import LOW_WATER, Admission
from fleetgw.domain.delivery.batch import Batch, Entry, Rejection, Settlement, batch_of
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.delivery.retry_queue import Occupancy, RetryQueue
from fleetgw.domain.delivery.vehicle_shares import VehicleShares
from fleetgw.domain.delivery.waiting_queue import WaitingQueue
from fleetgw.domain.errors import NotConnected, Rejected, Retryable, forget_frames
from fleetgw.domain.memory_budget import Share, unbounded_share
from fleetgw.domain.ports import RECEIPT, Outcome, Receipt
from fleetgw.domain.records import Record


class Origin(Protocol):
    """The party that waits for a record's confirmation. Compared by identity."""

    def __hash__(self) -> int: ...


OriginT = TypeVar("OriginT", bound=Origin)


class Backlog(Generic[OriginT]):
    """One sink's records, oldest first, within ``BacklogLimits``.

    A record is *waiting* until it is handed out in a batch, then *in flight* until the batch is settled. Both together are
    the *flow*. A record that could not reach the destination (``NotConnected``) returns to the front of the flow. A record
    with another retryable outcome goes to the retry queue, and blocks only later records with its ordering key.

    :param retry_initial_s: the first pause of a blocked ordering key, in seconds; doubled at each further failure.
    :param retry_max_s: the longest pause, in seconds.
    :param share: the sink's part of the memory of all queues; by default without a bound.
    :ivar in_flight_records: number of records in flight.
    :ivar waiting: the records that were never handed out, without those in the retry queue.
    """

    def __init__(
        self, limits: BacklogLimits, retry_initial_s: float, retry_max_s: float, share: Share | None = None
    ) -> None:
        self.in_flight_records = 0
        self._limits = limits
        self._share = share or unbounded_share()
        self._flow = Occupancy()
        self.waiting: WaitingQueue[OriginT] = WaitingQueue()
        self._in_flight: set[Batch[OriginT]] = set()
        self._returned: list[Batch[OriginT]] = []  # could not reach the destination; oldest first
        self._retry_queue: RetryQueue[OriginT] = RetryQueue(retry_initial_s, retry_max_s)
        self._in_retry_queue = self._retry_queue.held
        self._last_from_retry_queue = False
        self._admission = Admission(limits, self._share, self._flow, self._retry_queue)
        self._vehicles: VehicleShares[OriginT] | None = None  # kept while several vehicles are connected
        self._is_shared = False
        # While less than half is held, no bound can be reached: neither of the queue, nor of the memory, nor of a vehicle.
        self._unchecked_records = limits.queue_records // 2
        self._unchecked_bytes = min(limits.queue_bytes, self._share.own_bytes) // 2

    @property
    def held_records(self) -> int:
        """Number of records waiting, in flight and in the retry queue."""
        return self._flow.records + self._in_retry_queue.records

    @property
    def held_bytes(self) -> int:
        """The memory that they take (``Record.cost_bytes``)."""
        return self._flow.size_bytes + self._in_retry_queue.size_bytes

    @property
    def retry_queue_records(self) -> int:
        """Number of records in the retry queue: retryable ones, and those blocked behind them."""
        return self._in_retry_queue.records

    @property
    def short_of_memory(self) -> bool:
        """Whether the memory of all queues, not a limit of this one, stopped the last incomplete ``offer``."""
        return self._admission.short_of_memory

    @property
    def has_more(self) -> bool:
        """Whether records are to be handed out as soon as the in-flight window has room."""
        return bool(self.waiting.records or self._returned or self._retry_queue.has_due)

    def has_room(self, record_type: str, one_in: int = LOW_WATER) -> bool:
        """Whether one in so many parts is free for records of a type; by default, so that those who wait are tried again."""
        return self._admission.has_room(record_type, one_in)

    def can_hold(self, record: Record) -> bool:
        """Whether an empty queue has room for a record, also when other queues use all memory that is not guaranteed."""
        return record.cost_bytes <= min(self._limits.queue_bytes, self._share.own_bytes)

    @property
    def next_due_s(self) -> float | None:
        """The time for the next ``end_pauses``, None when no ordering key pauses."""
        return self._retry_queue.next_due_s

    def share_among_vehicles(self, *, is_shared: bool) -> None:
        """Set whether several vehicles are connected.

        While they are, each has a share of the flow (``VehicleShares``), and may hold as much as stays free. A single
        vehicle has all of both. Shares last until no record is held.
        """
        self._is_shared = is_shared
        if is_shared and self._vehicles is None:
            self._begin_sharing()
        elif not self.held_records:
            self._vehicles = VehicleShares(self._limits.vehicle_bytes) if is_shared else None

    def _begin_sharing(self) -> None:
        vehicles: VehicleShares[OriginT] = VehicleShares(self._limits.vehicle_bytes)
        self._vehicles = vehicles
        for record in self._retry_queue.records():
            vehicles.count(record, flows=False)
        for batch in (*self._in_flight, *self._returned):
            for record in batch.records:
                vehicles.count(record, flows=not batch.from_retry_queue)
        waiting = self.waiting.take_all()
        pairs = zip(waiting.records, waiting.origins, strict=True)
        for (_, origin), run in groupby(pairs, lambda pair: (pair[0].vehicle.vin, pair[1])):
            records = [record for record, _ in run]
            self._append_share(vehicles, records, sum([record.cost_bytes for record in records]), origin)

    def _append_share(
        self, vehicles: VehicleShares[OriginT], records: Sequence[Record], size_bytes: int, origin: OriginT | None
    ) -> None:
        """Let as many records of one vehicle wait for the sink as its share allows; the others wait for the share."""
        count = vehicles.take(records, size_bytes, origin)
        if count < len(records):
            records = records[:count]
            size_bytes = sum([record.cost_bytes for record in records])
        self.waiting.append(records, [origin] * count, size_bytes)

    def _release_overflow(self) -> None:
        """Let records wait for the sink that waited for their vehicle's share of the flow."""
        if self._vehicles is not None:
            self.waiting.append(*self._vehicles.released())
            if not self._is_shared and not self.held_records:
                self._vehicles = None

    def offer(self, records: Sequence[Record], size_bytes: int, origin: OriginT | None) -> int:
        """Take as many of ``records`` as there is room for, from the first on.

        :param records: of one vehicle and record type.
        :param size_bytes: the sum of their ``Record.cost_bytes``.
        :param origin: the party that waits for their confirmation, None for none.
        :return: the number of records taken.
        """
        count = len(records)
        flow = self._flow
        flow_records = flow.records + count
        flow_bytes = flow.size_bytes + size_bytes
        if flow_records > self._unchecked_records or flow_bytes > self._unchecked_bytes or self._in_retry_queue.records:
            count, size_bytes = self._admission.admit(records, size_bytes, self._vehicles)
            if count < len(records):
                records = records[:count]
                flow_records = flow.records + count
                flow_bytes = flow.size_bytes + size_bytes
        flow.records = flow_records
        flow.size_bytes = flow_bytes
        self._share.take(size_bytes)
        if self._vehicles is None or not count:
            self.waiting.append(records, [origin] * count, size_bytes)
        else:
            self._append_share(self._vehicles, records, size_bytes, origin)
        return count

    def end_pauses(self, now_s: float) -> None:
        """Let the records be retried whose pause is over at ``now_s``."""
        self._retry_queue.end_pauses(now_s)

    def retry_now(self) -> None:
        """Let all records of the retry queue be retried, whatever their pause."""
        self._retry_queue.retry_now()

    def next_batch(self) -> Batch[OriginT] | None:
        """The next records to be handed to the sink now; None when there are none or the in-flight window is full."""
        room = min(self._limits.batch_records, self._limits.in_flight_records - self.in_flight_records)
        if room <= 0:
            return None
        # The retry queue takes turns with the waiting records, so that neither has to wait for all of the other.
        turns = (self._from_retry_queue, self._from_waiting)
        if self._last_from_retry_queue:
            turns = turns[::-1]
        for source in (self._from_returned, *turns):
            batch = source(room)
            if batch is not None:
                self._last_from_retry_queue = batch.from_retry_queue
                self.in_flight_records += len(batch.records)
                self._in_flight.add(batch)
                return batch
        return None

    def _from_returned(self, room: int) -> Batch[OriginT] | None:
        while self._returned:
            batch = self._returned[0]
            if len(batch.records) <= room:
                del self._returned[0]
            else:
                entries = batch.entries()
                batch, self._returned[0] = batch_of(entries[:room]), batch_of(entries[room:])
            batch = self._without_blocked(batch)
            if batch.records:
                return batch
        return None

    def _from_retry_queue(self, room: int) -> Batch[OriginT] | None:
        if not self._retry_queue.has_due:
            return None
        return batch_of(self._retry_queue.take(room, self._limits.batch_bytes), from_retry_queue=True)

    def _from_waiting(self, room: int) -> Batch[OriginT] | None:
        while self.waiting.records:
            batch = self._without_blocked(self.waiting.take(room, self._limits.batch_bytes))
            if batch.records:
                return batch
        return None

    def _without_blocked(self, batch: Batch[OriginT]) -> Batch[OriginT]:
        """Move records with a blocked ordering key to the retry queue; returns the others."""
        if not self._in_retry_queue.records:
            return batch
        free = []
        for entry in batch.entries():
            if self._retry_queue.blocks(entry.record):
                self._leave_flow_for_retry_queue(entry.record)
                self._retry_queue.add_blocked(entry)
            else:
                free.append(entry)
        self._release_overflow()
        return batch if len(free) == len(batch.records) else batch_of(free)

    def settle(self, batch: Batch[OriginT], outcomes: Sequence[Outcome], now_s: float, chance: float) -> Settlement[OriginT]:
        """Take a batch's outcomes: forget the records with a final one, keep those to retry.

        A value that is no outcome (of a sink that breaks its contract) counts as retryable. A batch that was abandoned
        settles nothing any more.

        :param outcomes: one for each record of ``batch``, in order.
        :param now_s: on the clock of ``end_pauses``.
        :param chance: a random number in [0, 1), for the jitter.
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
        self._release_overflow()
        return settlement

    def _confirm(self, batch: Batch[OriginT], settlement: Settlement[OriginT]) -> None:
        """Forget a batch of the flow of which every record is confirmed."""
        settlement.delivered = batch.records
        if batch.origins.count(None) != len(batch.origins):
            confirmed = settlement.confirmed
            for record, origin in zip(batch.records, batch.origins, strict=True):
                if origin is not None:
                    if origin in confirmed:
                        confirmed[origin].append(record)
                    else:
                        confirmed[origin] = [record]
        self._flow.records -= len(batch.records)
        self._flow.size_bytes -= batch.cost_bytes
        self._share.give_back(batch.cost_bytes)
        if self._vehicles is not None:
            self._vehicles.remove(batch.records, flowed=True)

    def _settle_each(
        self,
        batch: Batch[OriginT],
        outcomes: Sequence[Outcome],
        now_s: float,
        chance: float,
        settlement: Settlement[OriginT],
    ) -> None:
        returned: list[Entry[OriginT]] = []
        for entry, outcome in zip(batch.entries(), outcomes, strict=True):
            if isinstance(outcome, BaseException):
                forget_frames(outcome)
            match outcome:
                case Receipt():
                    settlement.delivered.append(entry.record)
                    if entry.origin is not None:
                        settlement.confirmed.setdefault(entry.origin, []).append(entry.record)
                    self._forget(entry, batch)
                case Rejected():
                    settlement.rejected.append(Rejection(entry.record, entry.origin, outcome))
                    self._forget(entry, batch)
                case _:
                    reason = outcome if isinstance(outcome, Retryable) else Retryable(f"the sink's outcome was {outcome!r}")
                    settlement.retried.append(entry.record)
                    settlement.retry_reason = reason
                    if isinstance(reason, NotConnected):
                        settlement.not_connected = reason
                    if isinstance(reason, NotConnected) and not batch.from_retry_queue:
                        returned.append(entry)
                    else:
                        self._retry(entry, batch, now_s, chance, settlement)
        if returned:
            insort(self._returned, batch_of(returned), key=_first_position)

    def _forget(self, entry: Entry[OriginT], batch: Batch[OriginT]) -> None:
        """Forget a record of a batch that has a final outcome."""
        record = entry.record
        self._share.give_back(record.cost_bytes)
        if self._vehicles is not None:
            self._vehicles.remove((record,), flowed=not batch.from_retry_queue)
        if batch.from_retry_queue:
            self._retry_queue.settled(entry.position, record)
        else:
            self._flow.records -= 1
            self._flow.size_bytes -= record.cost_bytes

    def _retry(
        self, entry: Entry[OriginT], batch: Batch[OriginT], now_s: float, chance: float, settlement: Settlement[OriginT]
    ) -> None:
        """Keep a record of a batch in the retry queue."""
        if not batch.from_retry_queue:
            self._leave_flow_for_retry_queue(entry.record)
        pause_s = self._retry_queue.failed(entry, now_s, chance, is_new=not batch.from_retry_queue)
        if pause_s is not None:
            settlement.pause_s = max(pause_s, settlement.pause_s or 0)

    def _leave_flow_for_retry_queue(self, record: Record) -> None:
        self._flow.records -= 1
        self._flow.size_bytes -= record.cost_bytes
        if self._vehicles is not None:
            self._vehicles.move_to_retry_queue(record)

    def close(self) -> None:
        """Take no more records and hand none out; those in flight may still settle."""
        self._limits = self._admission.limits = BacklogLimits(0, 0, 0, 0)
        self._unchecked_records = -1

    def abandon(self) -> list[tuple[Record, OriginT | None]]:
        """Give up on all records, also those in flight; for after ``close``.

        :return: each record and its origin, oldest first.
        """
        self._share.give_back(self.held_bytes)
        if self._vehicles is not None:
            self.waiting.append(*self._vehicles.abandon())
        entries = [*self._retry_queue.abandon()]
        for batch in (*self._in_flight, *self._returned, self.waiting.take_all()):
            entries += batch.entries()
        self._in_flight, self._returned = set(), []
        self._flow.records = self._flow.size_bytes = self.in_flight_records = 0
        entries.sort(key=_position)
        return [(entry.record, entry.origin) for entry in entries]


def _position(entry: Entry[OriginT]) -> int:
    return entry.position


def _first_position(batch: Batch[OriginT]) -> int:
    return batch.positions[0]
