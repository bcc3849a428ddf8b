"""Records that wait for one destination, vehicle by vehicle."""

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
    """How requests may be, and how long a record goes into them.

    :ivar records: in one request, at most.
    :ivar size_bytes: of one request, at most, each record counted with ``record_overhead_bytes`` on top of its payload.
    :ivar record_overhead_bytes: what a record takes in a request besides its payload.
    :ivar requests: under way at a time for one destination.
    :ivar payload_bytes: of a record; a larger one is refused, alone.
    :ivar retries: how often a record is sent again.
    :ivar timeout_s: how long after ``dispatch`` a record has its outcome at the latest.
    :ivar one_vehicle: a request holds records of one vehicle only.
    """

    records: int
    size_bytes: int
    record_overhead_bytes: int
    requests: int
    payload_bytes: int
    retries: int
    timeout_s: float
    one_vehicle: bool = False


class Entry:
    """One record of a batch, until it has its outcome.

    :ivar attempts: how often it was sent and came back.
    :ivar company: how many records a request with it may hold, at most.
    """

    __slots__ = ("attempts", "batch", "company", "index", "record")

    def __init__(self, batch: Dispatch, index: int, record: Record, company: int) -> None:
        self.batch = batch
        self.index = index
        self.record = record
        self.attempts = 0
        self.company = company


class VehicleQueues:
    """Makes requests of what waits. While a vehicle's records are under way it has no others under way: that keeps order.

    :ivar free_records: how many may be under way now.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._waiting: dict[str, deque[Entry]] = {}
        self._free: dict[str, None] = {}  # vehicles that wait and have nothing under way; longest waiting first
        self._busy: set[str] = set()
        self.free_records = 0

    @property
    def has_free(self) -> bool:
        """Whether there is a request to be made."""
        return bool(self._free)

    @property
    def fills_request(self) -> bool:
        """Whether one of several vehicles can be made that holds as many records as it may."""
        return not self._limits.one_vehicle and self.free_records >= self._limits.records

    def add(self, entry: Entry) -> None:
        """Let a record wait, after the others of its vehicle."""
        vin = entry.record.vehicle.vin
        queue = self._waiting.get(vin)
        if queue is None:
            queue = self._waiting[vin] = deque()
        queue.append(entry)
        if vin not in self._busy:
            self._free[vin] = None
            self.free_records += 1

    def take(self) -> list[Entry]:
        """The next request's records, which are under way from now on; at least one where ``has_free``."""
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
                room_records = min(room_records, entry.company - len(request))
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
        """Let records of a request wait again, before the others of their vehicles, which stay under way until ``free``."""
        for entry in reversed(entries):
            self._waiting.setdefault(entry.record.vehicle.vin, deque()).appendleft(entry)

    def free(self, vins: Iterable[str]) -> None:
        """Nothing of these vehicles is under way any more."""
        for vin in vins:
            self._busy.discard(vin)
            queue = self._waiting.get(vin)
            if queue is not None and vin not in self._free:
                self._free[vin] = None
                self.free_records += len(queue)

    def forget(self, entry: Entry) -> None:
        """Let a record wait no longer, if it does."""
        vin = entry.record.vehicle.vin
        queue = self._waiting.get(vin)
        if queue is None or entry not in queue:
            return
        queue.remove(entry)
        if vin in self._free:
            self.free_records -= 1
        if not queue:
            del self._waiting[vin]
            self._free.pop(vin, None)
