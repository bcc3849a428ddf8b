"""Admission: how many records of an offer one sink's queue has room for."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from attrs import define, field

from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.delivery.retry_queue import Occupancy, RetryQueue
from fleetgw.domain.delivery.vehicle_shares import VehicleShares
from fleetgw.domain.memory_budget import Share
from fleetgw.domain.records import Record

OriginT = TypeVar("OriginT")

LOW_WATER = 16
"""The part of a queue that must be free before those who wait for room are tried again: one in so many."""


@define(eq=False)
class Admission(Generic[OriginT]):
    """Admits records within the queue's limits, the memory of all queues, and the part that a vehicle leaves for others.

    A vehicle may hold as much as stays free beside it; one that holds nothing is admitted with one record.

    :ivar flow: the records waiting and in flight.
    :ivar short_of_memory: ``share``, and not ``limits``, stopped the last offer that was not admitted as a whole.
    """

    limits: BacklogLimits
    share: Share
    flow: Occupancy
    retry_queue: RetryQueue[OriginT]
    short_of_memory: bool = field(default=False, init=False)

    def has_room(self, record_type: str, one_in: int = LOW_WATER) -> bool:
        """Whether one in so many parts of the queue is free for records of a type.

        By default as much as must be free before those who wait are tried again. With a lower mark many vehicles would be
        tried without success: none may hold more than stays free. An empty queue has room.
        """
        free_records, queue_bytes = self._free(record_type)
        free_bytes = min(queue_bytes, self.share.room_bytes)
        most_bytes = min(self.limits.queue_bytes, self.share.own_bytes)
        return free_records * one_in >= self.limits.queue_records > 0 and free_bytes * one_in >= most_bytes

    def _free(self, record_type: str) -> tuple[int, int]:
        """Number of further records of a type within the queue's limits, and their bytes."""
        retrying = self.retry_queue.held_of(record_type)
        return (
            self.limits.queue_records - self.flow.records - retrying.records,
            self.limits.queue_bytes - self.flow.size_bytes - retrying.size_bytes,
        )

    def admit(self, records: Sequence[Record], size_bytes: int, vehicles: VehicleShares[OriginT] | None) -> tuple[int, int]:
        """Decide on records of one vehicle and record type.

        :param size_bytes: the sum of their costs.
        :param vehicles: None while the queue is not shared.
        :return: the number of records that are admitted, from the first on, and the sum of their costs.
        """
        if self._admits_all(records, size_bytes, vehicles):
            return len(records), size_bytes
        return self._count(records, vehicles)

    def _admits_all(self, records: Sequence[Record], size_bytes: int, vehicles: VehicleShares[OriginT] | None) -> bool:
        """Whether all records surely fit, without a look at each."""
        if self.retry_queue.held.records or not records:
            return False
        free_records = self.limits.queue_records - self.flow.records
        free_bytes = min(self.limits.queue_bytes - self.flow.size_bytes, self.share.room_bytes)
        if len(records) > free_records or size_bytes > free_bytes:
            return False
        if vehicles is None:
            return True
        holding = vehicles.of(records[0].vehicle.vin)
        return holding.records + 2 * len(records) <= free_records and holding.cost_bytes + 2 * size_bytes <= free_bytes

    def _count(self, records: Sequence[Record], vehicles: VehicleShares[OriginT] | None) -> tuple[int, int]:
        self.short_of_memory = False
        if not records:
            return 0, 0
        most_records, queue_bytes = self._free(records[0].record_type)
        share_bytes = self.share.room_bytes
        most_bytes = min(queue_bytes, share_bytes)
        if vehicles is not None:
            holding = vehicles.of(records[0].vehicle.vin)
            at_least = (0, 0) if holding.records else (1, records[0].cost_bytes)
            most_records = min(most_records, max((most_records - holding.records) // 2, at_least[0]))
            most_bytes = min(most_bytes, max((most_bytes - holding.cost_bytes) // 2, at_least[1]))
        count = admitted_bytes = 0
        for record in records[: max(0, most_records)]:
            if admitted_bytes + record.cost_bytes > most_bytes:
                self.short_of_memory = share_bytes < queue_bytes
                break
            count += 1
            admitted_bytes += record.cost_bytes
        return count, admitted_bytes
