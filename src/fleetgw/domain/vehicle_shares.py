"""Fair shares of one sink's queue: how much of it, and of what flows to the sink, each vehicle has. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from attrs import define, field

from fleetgw.domain.records import Record, work_of

OriginT = TypeVar("OriginT")

VEHICLE_WORK = 512
"""Units of work (``work_of``) that one vehicle may have in the flow to a sink: others' records wait for no more of it.
With 10 ms from hand-over to outcome that is 50,000 units a second, far more than a vehicle sends."""


@define(eq=False)
class Holding(Generic[OriginT]):
    """What one vehicle has in a sink's queue.

    :ivar work: in the flow: waiting for the sink or handed to it, without what is set aside.
    :ivar records: held in all.
    :ivar cost_bytes: the memory that they take.
    :ivar overflow: what may not flow yet, oldest first.
    """

    work: int = 0
    records: int = 0
    cost_bytes: int = 0
    overflow: deque[tuple[Record, OriginT | None]] = field(factory=deque)

    def may_flow(self, work: int, most: int) -> bool:
        """Whether a record may join what flows: never more than the share, but always one."""
        return not self.work or self.work + work <= most


class VehicleShares(Generic[OriginT]):
    """Bounds what each vehicle has in the flow; the rest waits in an overflow queue of its own and follows in order.

    :param most_work: the share of each vehicle.
    """

    def __init__(self, most_work: int) -> None:
        self._most_work = most_work
        self._holdings: dict[str, Holding[OriginT]] = {}
        self._changed: set[str] = set()

    def held_by(self, vin: str) -> Holding[OriginT]:
        """What a vehicle holds; not to be changed."""
        return self._holdings.get(vin) or Holding()

    def take(self, records: Sequence[Record], cost_bytes: int, origin: OriginT | None) -> int:
        """Count new records of one vehicle; how many of them may flow, from the first on. The rest is kept here."""
        vin = records[0].vehicle.vin
        holding = self._holdings.get(vin)
        if holding is None:
            holding = self._holdings[vin] = Holding()
        count = len(records)
        holding.records += count
        holding.cost_bytes += cost_bytes
        if not holding.overflow:
            work = sum([record.elements + (record.cost_bytes >> 10) for record in records]) + count  # ``work_of``
            if holding.work + work <= self._most_work:
                holding.work += work
                return count
        return self._take_some(holding, records, origin)

    def _take_some(self, holding: Holding[OriginT], records: Sequence[Record], origin: OriginT | None) -> int:
        count = 0
        if not holding.overflow:
            for record in records:
                work = work_of(record)
                if not holding.may_flow(work, self._most_work):
                    break
                holding.work += work
                count += 1
        holding.overflow.extend((record, origin) for record in records[count:])
        return count

    def count(self, record: Record, *, flows: bool) -> None:
        """Count a record that was taken before shares were kept; ``flows`` when it is in the flow and stays there."""
        holding = self._holdings.setdefault(record.vehicle.vin, Holding())
        holding.records += 1
        holding.cost_bytes += record.cost_bytes
        if flows:
            holding.work += work_of(record)

    def flows_no_more(self, record: Record) -> None:
        """A record was set aside: it is held, but not in the flow."""
        vin = record.vehicle.vin
        holding = self._holdings[vin]
        holding.work -= work_of(record)
        if holding.overflow:
            self._changed.add(vin)

    def gone(self, records: Iterable[Record], *, flowed: bool) -> None:
        """Records are held no more; ``flowed`` when they were in the flow until now."""
        holdings = self._holdings
        for record in records:
            vin = record.vehicle.vin
            holding = holdings[vin]
            holding.cost_bytes -= record.cost_bytes
            if flowed:
                holding.work -= record.elements + 1 + (record.cost_bytes >> 10)  # ``work_of``
            if holding.records == 1:
                del holdings[vin]
                continue
            holding.records -= 1
            if holding.overflow:
                self._changed.add(vin)

    def released(self) -> tuple[list[Record], list[OriginT | None]]:
        """Part with what may flow by now, each vehicle's in order; with who waits for it."""
        records: list[Record] = []
        origins: list[OriginT | None] = []
        for vin in self._changed:
            holding = self._holdings.get(vin)
            while holding is not None and holding.overflow:
                record, origin = holding.overflow[0]
                work = work_of(record)
                if not holding.may_flow(work, self._most_work):
                    break
                holding.overflow.popleft()
                holding.work += work
                records.append(record)
                origins.append(origin)
        self._changed.clear()
        return records, origins

    def abandon(self) -> tuple[list[Record], list[OriginT | None]]:
        """Part with everything that waits here, each vehicle's in order, and forget the rest."""
        waiting = [each for holding in self._holdings.values() for each in holding.overflow]
        self._holdings.clear()
        self._changed.clear()
        return [record for record, _ in waiting], [origin for _, origin in waiting]
