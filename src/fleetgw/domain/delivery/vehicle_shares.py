"""Fair shares: bounds each vehicle's part of one sink's queue and of the flow to the sink. Pure."""

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from attrs import define, field

from fleetgw.domain.records import Record

OriginT = TypeVar("OriginT")

VEHICLE_BYTES = 96 * 1024
"""Cost of the records (``Record.cost_bytes``) that one vehicle may have in the flow to a sink: others' records wait for no
more of it. That is about 30 ordinary records, or 550 signals; with 10 ms from hand-over to outcome, 50,000 a second."""

_HOLDINGS_KEPT = 10_000
"""Vehicles that hold nothing are forgotten once there are so many, and then once there are twice as many as hold something:
forgetting each at once costs more than keeping it."""


@define(eq=False)
class Holding(Generic[OriginT]):
    """The records of one vehicle in a sink's queue.

    :ivar flowing_records: waiting for the sink or handed to it.
    :ivar flowing_bytes: their cost.
    :ivar retry_records: in the retry queue.
    :ivar retry_bytes: their cost.
    :ivar overflow: what may not flow yet, oldest first.
    :ivar overflow_bytes: its cost.
    """

    flowing_records: int = 0
    flowing_bytes: int = 0
    retry_records: int = 0
    retry_bytes: int = 0
    overflow: deque[tuple[Record, OriginT | None]] = field(factory=deque)
    overflow_bytes: int = 0

    @property
    def records(self) -> int:
        """All records held."""
        return self.flowing_records + self.retry_records + len(self.overflow)

    @property
    def cost_bytes(self) -> int:
        """Their cost."""
        return self.flowing_bytes + self.retry_bytes + self.overflow_bytes

    def may_flow(self, cost_bytes: int, most_bytes: int) -> bool:
        """Whether a record may join what flows: never more than the share, but always one."""
        return not self.flowing_records or self.flowing_bytes + cost_bytes <= most_bytes


class VehicleShares(Generic[OriginT]):
    """Bounds what each vehicle has in the flow; the rest waits in an overflow queue of its own and follows in order.

    :param most_bytes: the share of each vehicle.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._holdings: dict[str, Holding[OriginT]] = {}
        self._forget_at = _HOLDINGS_KEPT
        self._changed: set[str] = set()

    def of(self, vin: str) -> Holding[OriginT]:
        """The records that a vehicle holds."""
        holding = self._holdings.get(vin)
        if holding is None:
            if len(self._holdings) >= self._forget_at:
                self._holdings = {vin: holding for vin, holding in self._holdings.items() if holding.records}
                self._forget_at = max(_HOLDINGS_KEPT, 2 * len(self._holdings))
            holding = self._holdings[vin] = Holding()
        return holding

    def take(self, records: Sequence[Record], cost_bytes: int, origin: OriginT | None) -> int:
        """Count new records of one vehicle; how many of them may flow, from the first on. The rest is kept here."""
        holding = self.of(records[0].vehicle.vin)
        if not holding.overflow and holding.flowing_bytes + cost_bytes <= self._most_bytes:
            holding.flowing_records += len(records)
            holding.flowing_bytes += cost_bytes
            return len(records)
        count = 0
        if not holding.overflow:
            for record in records:
                if not holding.may_flow(record.cost_bytes, self._most_bytes):
                    break
                holding.flowing_records += 1
                holding.flowing_bytes += record.cost_bytes
                cost_bytes -= record.cost_bytes
                count += 1
        holding.overflow.extend((record, origin) for record in records[count:])
        holding.overflow_bytes += cost_bytes
        return count

    def count(self, record: Record, *, flows: bool) -> None:
        """Count a record that was taken before shares were kept; ``flows`` when it is not in the retry queue."""
        holding = self.of(record.vehicle.vin)
        if flows:
            holding.flowing_records += 1
            holding.flowing_bytes += record.cost_bytes
        else:
            holding.retry_records += 1
            holding.retry_bytes += record.cost_bytes

    def leave_flow(self, record: Record) -> None:
        """A record has left the flow for the retry queue."""
        self.gone((record,), flowed=True)
        self.count(record, flows=False)

    def gone(self, records: Sequence[Record], *, flowed: bool) -> None:
        """Records are held no more; ``flowed`` when they were not in the retry queue."""
        vehicle = None
        for record in records:
            if record.vehicle is not vehicle:
                vehicle = record.vehicle
                holding = self._holdings[vehicle.vin]
                if holding.overflow:
                    self._changed.add(vehicle.vin)
            if flowed:
                holding.flowing_records -= 1
                holding.flowing_bytes -= record.cost_bytes
            else:
                holding.retry_records -= 1
                holding.retry_bytes -= record.cost_bytes

    def released(self) -> tuple[list[Record], list[OriginT | None]]:
        """Part with what may flow by now, each vehicle's in order; with who waits for it."""
        records: list[Record] = []
        origins: list[OriginT | None] = []
        for vin in self._changed:
            holding = self._holdings[vin]
            while holding.overflow:
                record, origin = holding.overflow[0]
                if not holding.may_flow(record.cost_bytes, self._most_bytes):
                    break
                holding.overflow.popleft()
                holding.overflow_bytes -= record.cost_bytes
                holding.flowing_records += 1
                holding.flowing_bytes += record.cost_bytes
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
