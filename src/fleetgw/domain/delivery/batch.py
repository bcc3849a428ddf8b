"""Batches that a lane hands to its sink, and the meaning of the sink's outcomes."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from attrs import define, field, frozen

from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.records import Record
from fleetgw.domain.retry_queue import Entry

OriginT = TypeVar("OriginT")


@define(eq=False)
class Batch(Generic[OriginT]):
    """Records to be handed to the sink together; ``origins[i]`` waits for ``records[i]``, None when no origin does.

    :ivar positions: where each record stands in the order of all records ever taken.
    :ivar from_retry_queue: the records are retries, or follow one.
    """

    records: list[Record] = field(factory=list)
    origins: list[OriginT | None] = field(factory=list)
    positions: Sequence[int] = ()
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
        from_retry_queue,
    )


@frozen(eq=False)
class Refusal(Generic[OriginT]):
    """A record that its sink refuses for good."""

    record: Record
    origin: OriginT | None
    reason: Rejected


@define(eq=False)
class Settlement(Generic[OriginT]):
    """The meaning of a batch's outcomes.

    :ivar due: the confirmed records that each origin waits for, in order.
    :ivar refused: the records that become dead letters.
    :ivar retried_records: number of records to retry.
    :ivar retry_reason: why the last of those is, None when none is.
    :ivar not_connected: why the sink as a whole gets nothing now, None when it may get more.
    :ivar pause_s: the longest pause in seconds that began for an ordering key, None when none began.
    """

    due: dict[OriginT, list[Record]] = field(factory=dict)
    refused: list[Refusal[OriginT]] = field(factory=list)
    retried_records: int = 0
    retry_reason: Retryable | None = None
    not_connected: NotConnected | None = None
    pause_s: float | None = None
