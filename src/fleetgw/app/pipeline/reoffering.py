"""Reoffering: to have a lane deliver records again that are stored somewhere."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from fleetgw.domain.records import ordering_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.records import Record

PAGE_RECORDS = 500
PAGE_BYTES = 8 * 1024 * 1024
"""Most records to offer together: vehicles' records need the lane's room."""


class Reoffering:
    """Offers records to one lane, and waits until each of them is settled.

    :ivar kept: number of records that were refused and not stored as dead letters, and of those for which the lane never
        has room: they are only where they came from.
    """

    def __init__(self, lane: Lane, settled: Callable[[Sequence[Record]], None]) -> None:
        """:param settled: takes the records that the sink has confirmed, or whose dead letters are stored."""
        self.kept = 0
        self._lane = lane
        self._settled = settled
        self._with_lane: set[Record] = set()
        self._all_settled: Deferred[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether records are with the lane, perhaps of an ``offer`` that was given up."""
        return bool(self._with_lane)

    async def offer(self, records: Sequence[Record]) -> None:
        """Have the lane take records in their order, as it has room for them, and wait until all of them are settled.

        Cancelling the wait offers no more; those with the lane are settled all the same. Only one call at a time.
        """
        for _, group in groupby(records, ordering_key):
            await self._offer_run([*group])
        if self._with_lane:
            self._all_settled = Deferred()
            await self._all_settled

    async def _offer_run(self, run: list[Record]) -> None:
        """Offer records of one vehicle and record type."""
        while run:
            self._with_lane.update(run)
            taken = self._lane.take(run, sum([record.cost_bytes for record in run]), self)
            del run[:taken]
            self._with_lane.difference_update(run)
            if run and not self._lane.held_records:  # there is never room for the first one
                self.kept += 1
                del run[0]
            elif run:
                room: Deferred[None] = Deferred()
                self._lane.when_room(run[0].record_type, partial(room.callback, None))
                await room

    def confirmed(self, records: Sequence[Record]) -> None:
        """See ``AwaitsConfirmation``."""
        self._with_lane.difference_update(records)
        self._settled(records)
        self._fire_if_all_settled()

    def refused(self, record: Record) -> bool:
        """See ``AwaitsConfirmation``: this is not the last copy."""
        self._with_lane.discard(record)
        self.kept += 1
        self._fire_if_all_settled()
        return True

    def _fire_if_all_settled(self) -> None:
        if not self._with_lane and self._all_settled is not None:
            all_settled, self._all_settled = self._all_settled, None
            all_settled.callback(None)
