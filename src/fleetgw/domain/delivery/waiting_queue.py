"""The waiting queue: records that were never handed to the sink, in the order taken."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from fleetgw.domain.delivery.batch import Batch
from fleetgw.domain.records import Record, count_within

OriginT = TypeVar("OriginT")


class WaitingQueue(Generic[OriginT]):
    """Records in order, each with its origin. Gives each a position when it leaves.

    :ivar records: oldest first; changed by this class alone.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._origins: list[OriginT | None] = []
        self._cost_bytes = 0
        self._first_position = 0

    def append(self, records: Sequence[Record], origins: Sequence[OriginT | None], cost_bytes: int) -> None:
        """Add records; ``origins[i]`` waits for ``records[i]``, and ``cost_bytes`` is the sum of their costs."""
        self.records += records
        self._origins += origins
        self._cost_bytes += cost_bytes

    def take(self, most_records: int, most_bytes: int) -> Batch[OriginT]:
        """Remove the oldest records, bounded as by ``count_within``."""
        records, cost_bytes = self.records, self._cost_bytes
        if len(records) <= most_records and cost_bytes <= most_bytes:
            return self.take_all()
        count = count_within(records, most_records, most_bytes)
        batch_records, batch_origins = records[:count], self._origins[:count]
        del records[:count], self._origins[:count]
        batch_bytes = sum([record.cost_bytes for record in batch_records])
        self._cost_bytes -= batch_bytes
        return self._batch(batch_records, batch_origins, batch_bytes)

    def take_all(self) -> Batch[OriginT]:
        """Remove all records."""
        records, origins, cost_bytes = self.records, self._origins, self._cost_bytes
        self.records, self._origins, self._cost_bytes = [], [], 0
        return self._batch(records, origins, cost_bytes)

    def _batch(self, records: list[Record], origins: list[OriginT | None], cost_bytes: int) -> Batch[OriginT]:
        first = self._first_position
        self._first_position = until = first + len(records)
        return Batch(records, origins, range(first, until), cost_bytes)
