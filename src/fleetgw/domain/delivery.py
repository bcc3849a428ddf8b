"""The delivery state of a sink's records: waiting, in flight, settled. Pure: driven by calls, told the outcomes."""

from bisect import insort
from collections.abc import Sequence
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen

from fleetgw.domain.errors import Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, Outcome, Receipt
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
    """Records of one stretch of the queue; ``origins[i]`` waits for ``records[i]``, None when nobody does.

    :ivar position: where in the order of all records ever taken the first one stands, or a little before.
    """

    records: list[Record] = field(factory=list)
    origins: list[OriginT | None] = field(factory=list)
    position: int = 0

    def take_first(self, count: int) -> "Batch[OriginT]":
        """Part with the first ``count`` records."""
        first = Batch(self.records[:count], self.origins[:count], self.position)
        del self.records[:count], self.origins[:count]
        self.position += count
        return first


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
    :ivar retried_records: how many went back to the queue.
    :ivar retry_reason: why the last of those did, None when none did.
    """

    due: dict[OriginT, list[Record]] = field(factory=dict)
    refused: list[Refusal[OriginT]] = field(factory=list)
    retried_records: int = 0
    retry_reason: Retryable | None = None


class Backlog(Generic[OriginT]):
    """One sink's records, oldest first, within ``BacklogLimits``.

    What is to be tried again goes before all that was taken later, in the order in which it was taken, whatever the order in
    which batches settle.

    :ivar held_records: waiting and in flight.
    :ivar held_bytes: their payloads.
    """

    def __init__(self, limits: BacklogLimits) -> None:
        self.limits = limits
        self.held_records = 0
        self.held_bytes = 0
        self.in_flight_records = 0
        self._in_flight: set[Batch[OriginT]] = set()
        self._retries: list[Batch[OriginT]] = []
        self._waiting: Batch[OriginT] = Batch()

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
        for record in records[: max(0, self.limits.queue_records - self.held_records)]:
            if self.held_bytes + size_bytes + len(record.payload) > self.limits.queue_bytes:
                break
            count += 1
            size_bytes += len(record.payload)
        return count, size_bytes

    def next_batch(self) -> Batch[OriginT] | None:
        """The oldest waiting records, to be handed to the sink now; None when there are none or the window is full."""
        source = self._retries[0] if self._retries else self._waiting
        limits = self.limits
        count = min(len(source.records), limits.batch_records, limits.in_flight_records - self.in_flight_records)
        if count <= 0:
            return None
        batch = source
        if count < len(source.records):
            batch = source.take_first(count)
        elif self._retries:
            del self._retries[0]
        else:
            self._waiting = Batch(position=source.position + count)
        self.in_flight_records += count
        self._in_flight.add(batch)
        return batch

    def settle(self, batch: Batch[OriginT], outcomes: Sequence[Outcome]) -> Settlement[OriginT]:
        """Take a batch's outcomes: free what is done, put back what is to be tried again.

        An outcome that is none (a sink that breaks its contract) counts as one to be tried again. A batch that was given up
        on settles nothing any more.

        :param outcomes: one for each record of ``batch``, in order.
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
        if outcomes.count(RECEIPT) == count:
            self._confirm(batch, settlement)
            return settlement
        confirmed: Batch[OriginT] = Batch()
        again: Batch[OriginT] = Batch(position=batch.position)
        for record, origin, outcome in zip(batch.records, batch.origins, outcomes, strict=True):
            if isinstance(outcome, Rejected):
                settlement.refused.append(Refusal(record, origin, outcome))
                self.held_records -= 1
                self.held_bytes -= len(record.payload)
                continue
            part = again
            if isinstance(outcome, Receipt):
                part = confirmed
            elif isinstance(outcome, Retryable):
                settlement.retry_reason = outcome
            else:
                settlement.retry_reason = Retryable(f"the sink's outcome was {outcome!r}")
            part.records.append(record)
            part.origins.append(origin)
        self._confirm(confirmed, settlement)
        if again.records:
            settlement.retried_records = len(again.records)
            insort(self._retries, again, key=attrgetter("position"))
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

    def close(self) -> None:
        """Take nothing more and hand nothing out; what is in flight may still settle."""
        self.limits = BacklogLimits(0, 0, 0, 0)

    def abandon(self) -> list[tuple[Record, OriginT | None]]:
        """Give up on everything, in flight too: returns it with its origins, oldest first. For after ``close``."""
        parts = sorted([*self._in_flight, *self._retries, self._waiting], key=attrgetter("position"))
        self._in_flight, self._retries, self._waiting = set(), [], Batch()
        self.held_records = self.held_bytes = self.in_flight_records = 0
        return [pair for part in parts for pair in zip(part.records, part.origins, strict=True)]


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
