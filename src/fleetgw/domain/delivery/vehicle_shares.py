"""Vehicle shares: fairness between the vehicles that share a sink's queue.

While several vehicles are connected, each has only a share of the flow to the sink (its records waiting and in flight). Its
other records wait in an overflow queue of its own, and follow in order as the earlier ones leave the flow.
"""

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from attrs import define, field

from fleetgw.domain.records import Record

OriginT = TypeVar("OriginT")

_HOLDINGS_KEPT = 10_000
"""Number of vehicles from which on those that hold nothing are forgotten; at least twice the number that hold something.

Forgetting each at once costs more than keeping it.
"""


@define(eq=False)
class Holding(Generic[OriginT]):
    """The records of one vehicle in a sink's queue. Bytes are the memory that they take (``Record.cost_bytes``).

    :ivar flowing_records: number of records waiting and in flight.
    :ivar retry_records: number of records in the retry queue.
    :ivar overflow: the records beyond the vehicle's share, oldest first, each with its origin.
    """

    flowing_records: int = 0
    flowing_bytes: int = 0
    retry_records: int = 0
    retry_bytes: int = 0
    overflow: deque[tuple[Record, OriginT | None]] = field(factory=deque)
    overflow_bytes: int = 0

    @property
    def records(self) -> int:
        """Number of records in the queue."""
        return self.flowing_records + self.retry_records + len(self.overflow)

    @property
    def cost_bytes(self) -> int:
        """The same in bytes."""
        return self.flowing_bytes + self.retry_bytes + self.overflow_bytes

    def may_flow(self, cost_bytes: int, most_bytes: int) -> bool:
        """Whether a record may join the flow: within the share, or alone."""
        return not self.flowing_records or self.flowing_bytes + cost_bytes <= most_bytes


class VehicleShares(Generic[OriginT]):
    """The share of each vehicle in the flow to one sink, and the records that wait for a share.

    :param most_bytes: the share of a vehicle.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._holdings: dict[str, Holding[OriginT]] = {}
        self._forget_at = _HOLDINGS_KEPT
        self._changed: dict[str, None] = {}  # in order, so that the same offers give the same turns

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
        """Take new records of one vehicle. Those beyond its share stay here.

        :param cost_bytes: the sum of their costs.
        :return: the number of records that may flow, from the first on.
        """
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
        """Count a record of the flow or of the retry queue."""
        holding = self.of(record.vehicle.vin)
        if flows:
            holding.flowing_records += 1
            holding.flowing_bytes += record.cost_bytes
        else:
            holding.retry_records += 1
            holding.retry_bytes += record.cost_bytes

    def move_to_retry_queue(self, record: Record) -> None:
        """Count a record as part of the retry queue, no longer of the flow."""
        self.remove((record,), flowed=True)
        self.count(record, flows=False)

    def remove(self, records: Sequence[Record], *, flowed: bool) -> None:
        """Count records no more; ``flowed`` tells the flow from the retry queue."""
        vehicle = None
        for record in records:
            if record.vehicle is not vehicle:
                vehicle = record.vehicle
                holding = self._holdings[vehicle.vin]
                if holding.overflow:
                    self._changed[vehicle.vin] = None
            if flowed:
                holding.flowing_records -= 1
                holding.flowing_bytes -= record.cost_bytes
            else:
                holding.retry_records -= 1
                holding.retry_bytes -= record.cost_bytes

    def released(self) -> tuple[list[Record], list[OriginT | None], int]:
        """Remove the records for which a share has become free: returns them, their origins, and the sum of their costs.

        Records of one vehicle are in order.
        """
        records: list[Record] = []
        origins: list[OriginT | None] = []
        cost_bytes = 0
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
                cost_bytes += record.cost_bytes
        self._changed.clear()
        return records, origins, cost_bytes

    def abandon(self) -> tuple[list[Record], list[OriginT | None], int]:
        """Remove the records of all overflow queues, as ``released`` does, and forget the others."""
        overflow = [each for holding in self._holdings.values() for each in holding.overflow]
        cost_bytes = sum(holding.overflow_bytes for holding in self._holdings.values())
        self._holdings.clear()
        self._changed.clear()
        return [record for record, _ in overflow], [origin for _, origin in overflow], cost_bytes
