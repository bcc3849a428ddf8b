"""The gateway: opens a session for each connected vehicle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from zope.interface import implementer

from fleetgw.app.pipeline.connected import ConnectedVehicles
from fleetgw.app.pipeline.refusals import Refusals
from fleetgw.app.pipeline.session import Session, SessionContext
from fleetgw.app.pipeline.signal_metrics import SignalMetrics
from fleetgw.app.pipeline.unrouted import UnroutedRecords
from fleetgw.domain.ports import IGateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.app.pipeline.connected import RateLimit
    from fleetgw.app.pipeline.routes import TypeRoutes
    from fleetgw.domain.ports import ILog, IMetrics, IRecordCodec, IVehicleLink
    from fleetgw.domain.records import Vehicle


@implementer(IGateway)
@define(eq=False)
class Gateway:
    """The core as ingress sees it.

    :ivar codec: decodes messages into records.
    :ivar max_message_bytes: a longer message is answered with the error reply.
    :ivar rate_limit: of each vehicle, None for no limit.
    :ivar tracked_vins: vehicles with time series of their own.
    :ivar refuse_unrouted: answer records of types without a route with the error reply, in place of an acknowledgement.
    :ivar debounce_s: see ``ConnectedVehicles``.
    :ivar clock: its seconds never go back.
    :ivar wall_ns: epoch nanoseconds.
    :ivar sessions: the state that all sessions share.
    """

    routes: TypeRoutes
    codec: IRecordCodec
    metrics: IMetrics
    log: ILog
    max_message_bytes: int
    rate_limit: RateLimit | None
    tracked_vins: frozenset[str]
    refuse_unrouted: bool
    debounce_s: float
    clock: IReactorTime
    wall_ns: Callable[[], int]
    sessions: SessionContext = field(init=False)

    def __attrs_post_init__(self) -> None:
        metrics, log, monotonic = self.metrics, self.log, self.clock.seconds
        self.sessions = SessionContext(
            self.routes,
            self.codec,
            Refusals(metrics, log, self.tracked_vins, monotonic),
            UnroutedRecords(metrics, log, monotonic, self.refuse_unrouted),
            SignalMetrics(metrics, log, self.tracked_vins, monotonic),
            ConnectedVehicles(
                self.routes, self.codec, metrics, log, self.rate_limit, self.debounce_s, self.clock, self.wall_ns
            ),
            self.max_message_bytes,
            monotonic,
            self.wall_ns,
        )

    def connected(self, vehicle: Vehicle, link: IVehicleLink) -> Session:
        """See ``IGateway``. Emits the CONNECTED record."""
        bucket = self.sessions.connected.add(vehicle)
        return Session(self.sessions, vehicle, link, bucket)

    def all_disconnected(self) -> None:
        """The gateway stops, and the last connection has ended: emit the DISCONNECTED records that are held back."""
        self.sessions.connected.announce_held_back()
