"""The order in which records are handed over: one record of a vehicle at a time, vehicles in turn."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.dispatch import Dispatch


class Call:
    """One record of a dispatch, to be handed over by a call of the receiver."""

    __slots__ = ("dispatch", "index", "record")

    def __init__(self, dispatch: Dispatch, index: int) -> None:
        self.dispatch = dispatch
        self.index = index
        self.record = dispatch.batch[index]


class VehicleTurns:
    """A queue for each vehicle. A vehicle's next call is due once its last one has ended. True while a call is due."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Call]] = {}  # an entry for each vehicle with a call that waits or has not ended
        self._due: deque[str] = deque()

    def __bool__(self) -> bool:
        return bool(self._due)

    def add(self, call: Call) -> None:
        """Queue a call behind those of its vehicle."""
        vin = call.record.vin
        queue = self._queues.get(vin)
        if queue is None:
            self._queues[vin] = queue = deque()
            self._due.append(vin)
        queue.append(call)

    def take(self) -> Call:
        """Take the next call that is due; ``end`` must follow."""
        return self._queues[self._due.popleft()].popleft()

    def end(self, call: Call) -> None:
        """Make the next call of the vehicle due."""
        vin = call.record.vin
        if self._queues.get(vin):
            self._due.append(vin)
        else:
            self._queues.pop(vin, None)
