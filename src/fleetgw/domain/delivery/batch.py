"""Batches that a lane hands to its sink, and the meaning of the sink's outcomes."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from attrs import define, field, frozen

from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.records import Record

OriginT = TypeVar("OriginT")


class Entry(NamedTuple, Generic[OriginT]):
    """A queued record, its position in the order of all records that the backlog has taken, and its origin."""

    position: int
    record: Record
    origin: OriginT | None


@define(eq=False)
class Batch(Generic[OriginT]):
    """Records to be handed to the sink together; ``origins[i]`` waits for ``records[i]``, None when no origin does.

    :ivar positions: of each record, see ``Entry``.
    :ivar cost_bytes: the sum of their ``Record.cost_bytes``.
    :ivar from_retry_queue: the records are retries, or follow one.
    """

    records: list[Record]
    origins: list[OriginT | None]
    positions: Sequence[int]
    cost_bytes: int
    from_retry_queue: bool = False

    def entries(self) -> list[Entry[OriginT]]:
        """Each record by itself."""
        return [Entry(*each) for each in zip(self.positions, self.records, self.origins, strict=True)]


def batch_of(entries: Sequence[Entry[OriginT]], *, from_retry_queue: bool = False) -> Batch[OriginT]:
    """Make a batch of entries."""
    return Batch(
        [entry.record for entry in entries],
        [entry.origin for entry in entries],
        [entry.position for entry in entries],
        sum([entry.record.cost_bytes for entry in entries]),
        from_retry_queue,
    )


@frozen(eq=False)
class Rejection(Generic[OriginT]):
    """A record that its sink has rejected for good."""

    record: Record
    origin: OriginT | None
    reason: Rejected


@define(eq=False)
class Settlement(Generic[OriginT]):
    """The meaning of a batch's outcomes.

    :ivar confirmed: those of ``delivered`` that each origin waits for, in order.
    :ivar rejected: the records that are not retried.
    :ivar delivered: the confirmed records.
    :ivar retried: the records to retry.
    :ivar retry_reason: the reason of the last of those, None when there is none.
    :ivar not_connected: the reason for which the destination as a whole is out of reach, None when it is not.
    :ivar pause_s: the longest pause in seconds that began for an ordering key, None when none began.
    """

    confirmed: dict[OriginT, list[Record]] = field(factory=dict)
    rejected: list[Rejection[OriginT]] = field(factory=list)
    delivered: list[Record] = field(factory=list)
    retried: list[Record] = field(factory=list)
    retry_reason: Retryable | None = None
    not_connected: NotConnected | None = None
    pause_s: float | None = None
