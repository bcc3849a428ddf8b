"""Redriving: to offer the dead letters of a sink to it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from fleetgw.app.pipeline.reoffering import PAGE_BYTES, PAGE_RECORDS, Reoffering
from fleetgw.domain.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.ports import IDeadLetters
    from fleetgw.domain.records import Record


@define
class Redriven:
    """Numbers of letters.

    :ivar offered: to the sink.
    :ivar delivered: confirmed by it, and removed.
    :ivar refused_again: refused by it again, and stored with the new reason.
    :ivar kept: neither delivered nor stored anew, so that they are left as they were.
    """

    offered: int = 0
    delivered: int = 0
    refused_again: int = 0
    kept: int = 0


class Redrive:
    """Redrives the letters of one sink.

    A letter leaves the store once its record is settled: the sink has confirmed it, or it is stored again with a new reason.
    """

    def __init__(self, letters: IDeadLetters, lane: Lane) -> None:
        """:param letters: of the lane's sink."""
        self.lane = lane
        self._letters = letters
        self._positions: dict[Record, int] = {}
        self._reoffering = Reoffering(lane, self._remove)

    @property
    def is_busy(self) -> bool:
        """Whether letters are with the lane, perhaps of a redrive that was given up."""
        return self._reoffering.is_busy

    async def run(self, positions: Collection[int] | None, progress: Callable[[Redriven], None]) -> Redriven:
        """Offer letters, oldest first, and wait until all of them are settled.

        Cancelling the wait offers no more; those with the lane are settled all the same.

        :param positions: of the letters; None for all that are stored when the redrive begins.
        :param progress: called after each page.
        :raises StorageError: letters cannot be read, or their removal is not durable.
        """
        letters, reoffering = self._letters, self._reoffering
        redriven = Redriven()
        end, again_before, kept_before = letters.next_position, letters.stored_again, reoffering.kept
        position = 1
        while position < end:
            page = await letters.read(position, PAGE_RECORDS, PAGE_BYTES)
            if isinstance(page, StorageError):
                raise page
            self._positions = {
                record: at
                for at, record in zip(page.positions, page.records, strict=True)
                if at < end and (positions is None or at in positions)
            }
            redriven.offered += len(self._positions)
            await reoffering.offer([*self._positions])
            redriven.refused_again = letters.stored_again - again_before
            redriven.kept = reoffering.kept - kept_before
            redriven.delivered = redriven.offered - redriven.refused_again - redriven.kept
            progress(redriven)
            if page.next_position == position:
                break
            position = page.next_position
        if redriven.kept < redriven.offered and (failure := await letters.remove(())) is not None:
            raise failure
        return redriven

    def _remove(self, records: Sequence[Record]) -> None:
        positions = [self._positions[record] for record in records]
        self._letters.remove([range(position, position + 1) for position in positions])
