"""Waiting runs: records that a full lane has not taken, although their acknowledgement needs it (backpressure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.ledger import Unacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.app.pipeline.routes import TypeRoute
    from fleetgw.app.pipeline.shortfall import Shortfall
    from fleetgw.domain.records import Record


class WaitingRun:
    """The rest of a run of records of one type that some lanes have not taken.

    A record waits while its policy cannot do without the lanes that have not taken it. Where the policy can, the copies for
    these lanes are refused. A record that such a lane could not hold even when empty does not wait: it is refused, and
    stays unacknowledged.

    :ivar route: of the records' type.
    :ivar records: those that wait, in order.
    """

    def __init__(self, route: TypeRoute, records: Sequence[Record], shortfalls: list[Shortfall]) -> None:
        """Begin, after the records were offered to each lane of their route.

        :param shortfalls: one for each lane that has not taken all of them.
        """
        self.route = route
        self.records = [*records]
        self._shortfalls = shortfalls
        self._can_do_without = route.can_do_without

    def offer(self) -> None:
        """Offer the records again, in order, to each lane that has not taken them."""
        for shortfall in self._shortfalls:
            rest = self.records[shortfall.taken :]
            if rest:
                size_bytes = sum([record.cost_bytes for record in rest])
                shortfall.taken += shortfall.lane.take(rest, size_bytes, shortfall.origin)

    def remove_placed(self) -> list[Record]:
        """Remove the records, from the first on, that do not wait, and refuse their copies that lanes have not taken.

        :return: those of them that every lane has taken.
        """
        complete: list[Record] = []
        while self.records:
            short = [each for each in self._shortfalls if not each.taken]
            count = min([each.taken for each in self._shortfalls if each.taken], default=len(self.records))
            if not short:
                complete += self.records[:count]
                self._remove(count, short)
            elif self._can_do_without(_bits(short)):
                self._remove(count, short)
            elif not self._can_do_without(_bits([each for each in short if not each.lane.can_hold(self.records[0])])):
                self._count_unacked(1, Unacked.FULL)
                self._remove(1, short)
                self.offer()  # the lanes may have room for the next one
            else:
                break
        return complete

    def _remove(self, count: int, short: list[Shortfall]) -> None:
        """Remove the first records, and refuse the copies for the lanes ``short`` of them; the others have taken them."""
        for shortfall in short:
            shortfall.refuse(self.records[:count], Unacked.FULL)
        for shortfall in self._shortfalls:
            shortfall.taken = max(0, shortfall.taken - count)
        del self.records[:count]

    def refuse(self, reason: Unacked) -> None:
        """Give up all records."""
        self._count_unacked(len(self.records), reason)
        for shortfall in self._shortfalls:
            shortfall.refuse(self.records[shortfall.taken :], reason)

    def _count_unacked(self, count: int, reason: Unacked) -> None:
        """Count records that wait for room alone; those that wait for sinks as well have origins, which count them."""
        if self.route.awaits is None:
            self.route.metrics.account.refuse(count, reason)

    def wait(self, callback: Callable[[], None]) -> list[Lane]:
        """Have the lanes for which the first record waits call back once they may have room; returns these lanes."""
        first = self.records[0]
        lanes = [each.lane for each in self._shortfalls if each.bit and not each.taken and each.lane.can_hold(first)]
        for lane in lanes:
            lane.when_room(self.route.record_type, callback)
        return lanes

    def leave(self, callback: Callable[[], None]) -> None:
        """Wait for no lane any more."""
        for shortfall in self._shortfalls:
            shortfall.lane.forget_waiter(self.route.record_type, callback)


def _bits(shortfalls: Sequence[Shortfall]) -> int:
    bits = 0
    for shortfall in shortfalls:
        bits |= shortfall.bit
    return bits
