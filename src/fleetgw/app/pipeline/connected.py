"""The connected vehicles: their number, their connectivity records, their rate limits, and whether lanes are shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from fleetgw.app.pipeline.known import KnownVehicles
from fleetgw.domain.metrics import NUM_CONNECTIONS
from fleetgw.domain.ports import ConnectivityStatus
from fleetgw.domain.rate_limit import VehicleBuckets
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.app.pipeline.known import KnownSession
    from fleetgw.app.pipeline.routes import TypeRoutes
    from fleetgw.domain.ports import IGauge, ILog, IMetrics, IRecordCodec
    from fleetgw.domain.records import Vehicle

_NO_FIELD_OF_ITS_OWN = frozenset({"event", "self"})
"""Record types whose names cannot be fields of a log event; their bytes are in its total."""


SHARED_FROM = 2
"""Lanes are shared from this number of connected vehicles on."""


@frozen
class RateLimit:
    """Largest number of records of each vehicle in an interval, over all of its connections."""

    message_limit: int
    interval_s: float


@define(eq=False)
class ConnectedVehicles:
    """Counts the connections of each vehicle, and emits the connectivity records.

    Each connection emits CONNECTED. DISCONNECTED follows once, when the last connection of the vehicle has ended: an old
    socket that dies after the vehicle has reconnected says nothing about the vehicle.

    :ivar debounce_s: seconds that DISCONNECTED is held back; it is dropped when the vehicle reconnects by then.
    :ivar clock: its seconds never go back.
    :ivar wall_ns: epoch nanoseconds.
    :ivar buckets: the token buckets of the vehicles; None when there is no rate limit.
    :ivar connections: number of open connections.
    :ivar known: the connected vehicles with their sessions, and those that have left.
    """

    routes: TypeRoutes
    codec: IRecordCodec
    metrics: IMetrics
    log: ILog
    debounce_s: float
    clock: IReactorTime
    wall_ns: Callable[[], int]
    buckets: VehicleBuckets | None = field(default=None, init=False)
    known: KnownVehicles = field(factory=KnownVehicles, init=False)
    _vehicle_log: VehicleLog = field(init=False)
    _num_connections: IGauge = field(init=False)
    connections: int = field(default=0, init=False)
    _held_back: dict[str, tuple[Vehicle, IDelayedCall]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._vehicle_log = VehicleLog(self.log, self.clock.seconds)
        self._num_connections = self.metrics.gauge(NUM_CONNECTIONS)

    def limit_rate(self, limit: RateLimit | None) -> None:
        """Set the rate limit of each vehicle, None for no limit. Vehicles that have one keep their tokens."""
        if limit is None:
            self.buckets = None
        elif self.buckets is None:
            self.buckets = VehicleBuckets(limit.message_limit, limit.interval_s)
        else:
            self.buckets.change(limit.message_limit, limit.interval_s, self.clock.seconds())

    def share_lanes(self) -> None:
        """Tell every lane whether several vehicles are connected."""
        for lane in self.routes.lanes:
            lane.share_among_vehicles(is_shared=len(self.known.connected) >= SHARED_FROM)

    def add(self, session: KnownSession) -> None:
        """Count a new connection, and emit the CONNECTED record."""
        vehicle, known = session.vehicle, session.known
        known.sessions.append(session)
        self._count(1)
        if len(self.known.connected) == SHARED_FROM and len(known.sessions) == 1:
            self.share_lanes()
        if vehicle.vin in self._held_back:
            _, call = self._held_back.pop(vehicle.vin)
            call.cancel()
        self._announce(vehicle, ConnectivityStatus.CONNECTED)

    def remove(self, session: KnownSession) -> None:
        """Forget a connection that has ended; emit an event with the bytes received, and DISCONNECTED if it was the last."""
        vehicle = session.vehicle
        self._count(-1)
        if self.known.gone(session, self.wall_ns() // 1_000_000):
            if len(self.known.connected) == SHARED_FROM - 1:
                self.share_lanes()
            if self.buckets is not None:
                self.buckets.leave(vehicle.vin, self.clock.seconds())
            self._announce_end(vehicle)
        self._vehicle_log.info("socket_disconnected", vehicle.vin, lambda: self._end_fields(session))

    def _end_fields(self, session: KnownSession) -> dict[str, object]:
        size_bytes = {label: received.size_bytes for label, received in session.received_of.items()}
        return {
            **{name: str(size) for name, size in size_bytes.items() if name not in _NO_FIELD_OF_ITS_OWN},
            "total": str(sum(size_bytes.values())),
            "duration_sec": int(self.clock.seconds() - session.connected_at),
            **session.vehicle.log_context,
        }

    def _count(self, change: int) -> None:
        self.connections += change
        self._num_connections.set_to(self.connections)

    def announce_held_back(self) -> None:
        """Emit at once every DISCONNECTED record that is held back, and hold none back from now on: the gateway stops."""
        self.debounce_s = 0.0
        for vehicle, call in [*self._held_back.values()]:
            call.cancel()
            self._end_hold(vehicle)

    def _announce_end(self, vehicle: Vehicle) -> None:
        if self.debounce_s:
            call = self.clock.callLater(self.debounce_s, self._end_hold, vehicle)
            self._held_back[vehicle.vin] = vehicle, call
        else:
            self._announce(vehicle, ConnectivityStatus.DISCONNECTED)

    def _end_hold(self, vehicle: Vehicle) -> None:
        del self._held_back[vehicle.vin]
        self._announce(vehicle, ConnectivityStatus.DISCONNECTED)

    def _announce(self, vehicle: Vehicle, status: ConnectivityStatus) -> None:
        route = self.routes.find(b"connectivity")
        if route is None:
            return
        try:
            record = self.codec.connectivity(vehicle, status, self.wall_ns())
        except Exception as error:  # a request header that no record can hold must not keep the vehicle from connecting
            fields: dict[str, object] = {"vin": vehicle.vin, "status": status.name, "error": str(error)}
            self._vehicle_log.error("connectivity_failed", vehicle.vin, lambda: fields)
            return
        for dispatcher in route.offer_own(record):
            fields = {"vin": vehicle.vin, "dispatcher": dispatcher, "status": status.name}
            self._vehicle_log.error("connectivity_dropped", vehicle.vin, fields.copy)
