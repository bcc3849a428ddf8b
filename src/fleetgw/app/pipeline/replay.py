"""Replaying: to have a sink get records again that are settled for it, and that the spool still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from fleetgw.app.pipeline.reoffering import PAGE_BYTES, PAGE_RECORDS, Reoffering
from fleetgw.domain.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.ports import ISpool
    from fleetgw.domain.records import Record


@define
class Replayed:
    """Numbers of records.

    :ivar offered: to the sink.
    :ivar settled: confirmed by it, or stored as dead letters.
    """

    offered: int = 0
    settled: int = 0


class Replay:
    """Replays records of the spool to one sink. Its cursor stays where it is: what is behind it gets there anyway."""

    def __init__(self, spool: ISpool, lane: Lane) -> None:
        """Replay nothing yet."""
        self.lane = lane
        self._spool = spool
        self._sink = lane.sink.name
        self._replayed = Replayed()
        self._reoffering = Reoffering(lane, self._count)

    @property
    def is_busy(self) -> bool:
        """Whether records are with the lane, perhaps of a replay that was given up."""
        return self._reoffering.is_busy

    async def run(self, position: int, since_ms: int, progress: Callable[[Replayed], None]) -> Replayed:
        """Offer the records below the sink's cursor, oldest first, and wait until all of them are settled.

        Cancelling the wait offers no more; those with the lane are settled all the same.

        :param position: where to begin.
        :param since_ms: only records received since then, epoch milliseconds.
        :param progress: called after each page.
        :raises StorageError: the spool cannot be read.
        """
        replayed = self._replayed = Replayed()
        end = self._spool.cursors[self._sink]
        while position < end:
            page = await self._spool.read(self._sink, position, PAGE_RECORDS, PAGE_BYTES)
            if isinstance(page, StorageError):
                raise page
            records = [
                record
                for at, record in zip(page.positions, page.records, strict=True)
                if at < end and record.received_at_ms >= since_ms
            ]
            replayed.offered += len(records)
            await self._reoffering.offer(records)
            progress(replayed)
            if page.next_position == position:
                break
            position = page.next_position
        return replayed

    def _count(self, records: Sequence[Record]) -> None:
        self._replayed.settled += len(records)
