"""Records that wait for requests to one destination, in a queue for each vehicle."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.records import Record


@frozen
class RequestLimits:
    """Bounds of requests, and of the tries for a record.

    :ivar records: most records in a request.
    :ivar size_bytes: largest request, each record counted with its payload and ``record_overhead_bytes``.
    :ivar record_overhead_bytes: size of a record in a request, besides its payload.
    :ivar requests: most requests in flight for one destination.
    :ivar payload_bytes: largest payload; a record with a larger one is rejected.
    :ivar retries: number of times that a record is sent again.
    :ivar one_vehicle: a request holds records of one vehicle only.
    """

    records: int
    size_bytes: int
    record_overhead_bytes: int
    requests: int
    payload_bytes: int
    retries: int
    one_vehicle: bool = False


class Entry:
    """One record of a dispatch, until it has its outcome.

    :ivar attempts: number of times that the destination was too busy for it.
    :ivar batch_limit: most records in a request with this one; halved while a bad record is isolated.
    """

    __slots__ = ("attempts", "batch_limit", "dispatch", "index", "record")

    def __init__(self, dispatch: Dispatch, index: int, record: Record, batch_limit: int) -> None:
        self.dispatch = dispatch
        self.index = index
        self.record = record
        self.attempts = 0
        self.batch_limit = batch_limit


class VehicleQueues:
    """Makes requests of waiting records. A vehicle has records in one request at a time, which keeps their order.

    :ivar free_records: number of waiting records whose vehicles have none in flight.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._waiting: dict[str, deque[Entry]] = {}
        self._free: dict[str, None] = {}  # waiting vehicles with nothing in flight; the longest waiting first
        self._busy: set[str] = set()
        self.free_records = 0

    @property
    def has_free(self) -> bool:
        """Whether ``take`` has records for a request."""
        return bool(self._free)

    @property
    def fills_request(self) -> bool:
        """Whether there are enough records for a full request of several vehicles."""
        return not self._limits.one_vehicle and self.free_records >= self._limits.records

    def add(self, entry: Entry) -> None:
        """Queue a record behind the others of its vehicle."""
        vin = entry.record.vehicle.vin
        queue = self._waiting.get(vin)
        if queue is None:
            queue = self._waiting[vin] = deque()
        queue.append(entry)
        if vin not in self._busy:
            self._free[vin] = None
            self.free_records += 1

    def take(self) -> list[Entry]:
        """Remove the next request's records, which are in flight from now on; at least one where ``has_free``."""
        limits = self._limits
        room_records, room_bytes = limits.records, limits.size_bytes
        request: list[Entry] = []
        while self._free and room_records > 0:
            vin = next(iter(self._free))
            queue = self._waiting[vin]
            before = len(request)
            self.free_records -= len(queue)
            while queue and room_records > 0:
                entry = queue[0]
                room_bytes -= len(entry.record.payload) + limits.record_overhead_bytes
                room_records = min(room_records, entry.batch_limit - len(request))
                if request and (room_bytes < 0 or room_records < 1):
                    room_records = 0
                    break
                request.append(queue.popleft())
                room_records -= 1
            if len(request) == before:
                self.free_records += len(queue)
                break
            del self._free[vin]
            self._busy.add(vin)
            if not queue:
                del self._waiting[vin]
            if limits.one_vehicle:
                break
        return request

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Queue records of a request again, before the others of their vehicles, which stay busy until ``free``."""
        for entry in reversed(entries):
            self._waiting.setdefault(entry.record.vehicle.vin, deque()).appendleft(entry)

    def free(self, vins: Iterable[str]) -> None:
        """Vehicles have nothing in flight any more."""
        for vin in vins:
            self._busy.discard(vin)
            queue = self._waiting.get(vin)
            if queue is not None and vin not in self._free:
                self._free[vin] = None
                self.free_records += len(queue)

    def drop(self, dispatch: Dispatch) -> None:
        """Remove the waiting records of a dispatch."""
        for vin in {record.vehicle.vin for record in dispatch.batch}:
            queue = self._waiting.get(vin)
            if queue is None:
                continue
            kept = deque(entry for entry in queue if entry.dispatch is not dispatch)
            if vin in self._free:
                self.free_records -= len(queue) - len(kept)
            if kept:
                self._waiting[vin] = kept
            else:
                del self._waiting[vin]
                self._free.pop(vin, None)
