"""The delivery state of a sink's records: waiting, in flight, settled. Pure: driven by calls, told the outcomes."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen

from fleetgw.domain.errors import DeliveryError, Rejected
from fleetgw.domain.ports import RECEIPT, Outcome
from fleetgw.domain.records import Record


class Origin(Protocol):
    """Whoever waits for a record's confirmation. Compared by identity."""

    def __hash__(self) -> int: ...


OriginT = TypeVar("OriginT", bound=Origin)


@frozen
class BacklogLimits:
    """How much a sink may hold.

    :ivar queue_records: records waiting and in flight together.
    :ivar queue_bytes: their payload bytes together.
    :ivar in_flight_records: records handed to the sink and not settled.
    :ivar batch_records: records in one batch.
    """

    queue_records: int
    queue_bytes: int
    in_flight_records: int
    batch_records: int


@define(eq=False)
class Batch(Generic[OriginT]):
    """Records handed to the sink together; ``origins[i]`` waits for ``records[i]``, None when nobody does."""

    records: list[Record]
    origins: list[OriginT | None]


@frozen(eq=False)
class Refusal(Generic[OriginT]):
    """A record that its sink refuses for good."""

    record: Record
    origin: OriginT | None
    reason: Rejected


@define(eq=False)
class Settlement(Generic[OriginT]):
    """What a batch's outcomes mean.

    :ivar due: the confirmed records that each origin waits for, in order.
    :ivar refused: the records to put aside for good.
    :ivar retry_reason: why records went back to the queue, None when none did.
    """

    due: dict[OriginT, list[Record]] = field(factory=dict)
    refused: list[Refusal[OriginT]] = field(factory=list)
    retry_reason: DeliveryError | None = None


class Backlog(Generic[OriginT]):
    """One sink's records, oldest first, within ``BacklogLimits``."""

    def __init__(self, limits: BacklogLimits) -> None:
        self.limits = limits
        self.held_records = 0
        self.held_bytes = 0
        self.in_flight_records = 0
        self._waiting: Batch[OriginT] = Batch([], [])

    @property
    def waiting_records(self) -> int:
        """How many records are not in flight."""
        return len(self._waiting.records)

    def offer(self, records: Sequence[Record], size_bytes: int, origin: OriginT | None) -> int:
        """Take as many of ``records`` as there is room for, from the first on.

        :param size_bytes: the payload bytes of all of them.
        :param origin: who waits for their confirmation.
        :return: how many were taken.
        """
        count = len(records)
        limits = self.limits
        if self.held_records + count > limits.queue_records or self.held_bytes + size_bytes > limits.queue_bytes:
            count, size_bytes = self._room_for(records)
            records = records[:count]
        self.held_records += count
        self.held_bytes += size_bytes
        waiting = self._waiting
        waiting.records += records
        waiting.origins += [origin] * count
        return count

    def _room_for(self, records: Sequence[Record]) -> tuple[int, int]:
        count = size_bytes = 0
        for record in records[: self.limits.queue_records - self.held_records]:
            if self.held_bytes + size_bytes + len(record.payload) > self.limits.queue_bytes:
                break
            count += 1
            size_bytes += len(record.payload)
        return count, size_bytes

    def next_batch(self) -> Batch[OriginT] | None:
        """The oldest waiting records, to be handed to the sink now; None when there are none or the window is full."""
        count = min(
            len(self._waiting.records),
            self.limits.batch_records,
            self.limits.in_flight_records - self.in_flight_records,
        )
        if count <= 0:
            return None
        waiting = self._waiting
        if count == len(waiting.records):
            batch, self._waiting = waiting, Batch([], [])
        else:
            batch = Batch(waiting.records[:count], waiting.origins[:count])
            del waiting.records[:count], waiting.origins[:count]
        self.in_flight_records += count
        return batch

    def settle(self, batch: Batch[OriginT], outcomes: Sequence[Outcome]) -> Settlement[OriginT]:
        """Take a batch's outcomes: free what is done, put back what is to be tried again, before all that waits.

        :param outcomes: one for each record of ``batch``, in order.
        :raises ValueError: there are more or fewer outcomes than records; nothing is settled.
        """
        count = len(batch.records)
        if len(outcomes) != count:
            raise ValueError(f"{len(outcomes)} outcomes for {count} records")
        self.in_flight_records -= count
        settlement: Settlement[OriginT] = Settlement()
        if list(outcomes).count(RECEIPT) == count:
            self._confirm(batch, settlement)
            return settlement
        confirmed: Batch[OriginT] = Batch([], [])
        again: Batch[OriginT] = Batch([], [])
        for record, origin, outcome in zip(batch.records, batch.origins, outcomes, strict=True):
            if isinstance(outcome, Rejected):
                settlement.refused.append(Refusal(record, origin, outcome))
                self.held_records -= 1
                self.held_bytes -= len(record.payload)
            elif isinstance(outcome, DeliveryError):
                settlement.retry_reason = outcome
                again.records.append(record)
                again.origins.append(origin)
            else:
                confirmed.records.append(record)
                confirmed.origins.append(origin)
        self._confirm(confirmed, settlement)
        self._waiting.records[:0] = again.records
        self._waiting.origins[:0] = again.origins
        return settlement

    def _confirm(self, batch: Batch[OriginT], settlement: Settlement[OriginT]) -> None:
        due = settlement.due
        size_bytes = 0
        for record, origin in zip(batch.records, batch.origins, strict=True):
            size_bytes += len(record.payload)
            if origin is not None:
                if origin in due:
                    due[origin].append(record)
                else:
                    due[origin] = [record]
        self.held_records -= len(batch.records)
        self.held_bytes -= size_bytes

    def abandon(self) -> list[Record]:
        """Give up on everything that waits (not on what is in flight); returns it, oldest first."""
        batch, self._waiting = self._waiting, Batch([], [])
        self.held_records -= len(batch.records)
        self.held_bytes -= sum(len(record.payload) for record in batch.records)
        return batch.records


@define
class Backoff:
    """Growing pauses between attempts: doubled each time up to a maximum, each shortened by up to half at random.

    :ivar initial_s: the first pause, seconds.
    :ivar max_s: the longest, seconds.
    """

    initial_s: float
    max_s: float
    failures: int = 0

    def failed(self, chance: float) -> float:
        """Seconds to wait before the next attempt. ``chance`` is a random number in [0, 1)."""
        pause = min(self.max_s, self.initial_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return pause * (1 - chance / 2)

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0
