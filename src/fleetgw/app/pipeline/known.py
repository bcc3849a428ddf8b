"""The known vehicles: those that are connected, and a bounded number of those that have left since the start."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fleetgw.domain.records import Vehicle

MAX_LEFT = 10_000
"""Largest number of vehicles that have left and are still known; beyond it, the one that left first is forgotten."""

MAX_DATA_BYTES = 4096
"""Largest payload that is kept of a vehicle's last record with signals; a longer one is not kept."""


@define(eq=False)
class Received:
    """The records of one type that a session has received.

    :ivar records: their number.
    :ivar size_bytes: of their payloads.
    """

    records: int = 0
    size_bytes: int = 0


class KnownSession(Protocol):
    """A session, as seen from here.

    :ivar connected_at: monotonic seconds.
    :ivar received_of: the records received, by the record type's label.
    """

    vehicle: Vehicle
    known: KnownVehicle
    connected_at: float
    received_of: dict[str, Received]


@define(eq=False)
class KnownVehicle:
    """One vehicle, over all of its connections.

    :ivar vehicle: of the newest open connection; of the last one to end when none is.
    :ivar online_since_ms: epoch milliseconds; a further connection of a connected vehicle does not change it.
    :ivar offline_since_ms: epoch milliseconds; None while connected.
    :ivar sessions: the open ones, in the order of their connections.
    :ivar last_record_ms: epoch milliseconds at which the last record was received; None before the first one.
    :ivar last_data: the payload, as sinks get it, of the last ``V`` record with at most ``MAX_DATA_BYTES``.
    """

    vehicle: Vehicle
    online_since_ms: int
    offline_since_ms: int | None = None
    sessions: list[KnownSession] = field(factory=list, init=False)
    _ended: Counter[str] = field(factory=Counter, init=False)
    last_record_ms: int | None = field(default=None, init=False)
    last_data: bytes | None = field(default=None, init=False)

    @property
    def records(self) -> Mapping[str, int]:
        """Number of records received over all connections, by the record type's label."""
        records = self._ended.copy()
        for session in self.sessions:
            records.update(_records_of(session))
        return records

    def end(self, session: KnownSession) -> None:
        """One of the sessions has ended."""
        self._ended.update(_records_of(session))
        self.sessions.remove(session)
        self.vehicle = (self.sessions[-1] if self.sessions else session).vehicle


def _records_of(session: KnownSession) -> Mapping[str, int]:
    return {label: received.records for label, received in session.received_of.items()}


@define(eq=False)
class KnownVehicles:
    """Finds vehicles by VIN.

    :ivar connected: by VIN, in the order in which they have come.
    :ivar left: by VIN, in the order in which they have left.
    """

    connected: dict[str, KnownVehicle] = field(factory=dict, init=False)
    left: dict[str, KnownVehicle] = field(factory=dict, init=False)

    def get(self, vin: str) -> KnownVehicle | None:
        """Find a vehicle; None when it has not been connected, or is forgotten."""
        return self.connected.get(vin) or self.left.get(vin)

    def latest_first(self) -> Iterator[KnownVehicle]:
        """The connected vehicles, then those that have left; of both the last one to come, or to leave, first."""
        yield from reversed(self.connected.values())
        yield from reversed(self.left.values())

    def came(self, vehicle: Vehicle, now_ms: int) -> KnownVehicle:
        """A connection of a vehicle has been made; its session is to be appended to the result's ``sessions``."""
        known = self.connected.get(vehicle.vin)
        if known is None:
            known = self.left.pop(vehicle.vin, None) or KnownVehicle(vehicle, now_ms)
            known.online_since_ms, known.offline_since_ms = now_ms, None
            self.connected[vehicle.vin] = known
        known.vehicle = vehicle
        return known

    def gone(self, session: KnownSession, now_ms: int) -> bool:
        """A connection has ended; returns whether it was the vehicle's last one."""
        known = session.known
        known.end(session)
        if known.sessions:
            return False
        known.offline_since_ms = now_ms
        vin = known.vehicle.vin
        self.left[vin] = self.connected.pop(vin)
        if len(self.left) > MAX_LEFT:
            del self.left[next(iter(self.left))]
        return True
