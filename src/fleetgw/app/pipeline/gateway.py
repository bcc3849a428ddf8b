"""The gateway: opens a session for each connected vehicle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen
from zope.interface import implementer

from fleetgw.app.pipeline.connected import ConnectedVehicles
from fleetgw.app.pipeline.context import SessionContext
from fleetgw.app.pipeline.paused import PausedVehicles
from fleetgw.app.pipeline.refusals import Refusals
from fleetgw.app.pipeline.session import Session
from fleetgw.app.pipeline.signal_metrics import SignalMetrics
from fleetgw.app.pipeline.unrouted import UnroutedRecords
from fleetgw.domain.deduplication import AcknowledgedRecords
from fleetgw.domain.ports import IGateway
from fleetgw.domain.recent_refusals import RecentRefusals
from fleetgw.domain.signal_counts import DAY_NS, SignalCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.app.pipeline.connected import RateLimit
    from fleetgw.app.pipeline.routes import TypeRoutes
    from fleetgw.domain.deduplication import DeduplicationWindow
    from fleetgw.domain.ports import ILog, IMetrics, IRecordCodec, IVehicleLink
    from fleetgw.domain.records import Vehicle


@frozen
class GatewaySettings:
    """The settings of a gateway; they can be replaced while vehicles are connected.

    :ivar codec: decodes messages into records.
    :ivar max_message_bytes: a longer message is answered with the error reply.
    :ivar rate_limit: of each vehicle, None for no limit.
    :ivar tracked_vins: vehicles with time series of their own.
    :ivar refuse_unrouted: answer records of types without a route with the error reply, in place of an acknowledgement.
    :ivar debounce_s: see ``ConnectedVehicles``.
    :ivar deduplication: None when every record is delivered.
    """

    codec: IRecordCodec
    max_message_bytes: int
    rate_limit: RateLimit | None = None
    tracked_vins: frozenset[str] = frozenset()
    refuse_unrouted: bool = False
    debounce_s: float = 0.0
    deduplication: DeduplicationWindow | None = None


@implementer(IGateway)
@define(eq=False)
class Gateway:
    """The core as ingress sees it.

    :ivar clock: its seconds never go back.
    :ivar wall_ns: epoch nanoseconds.
    :ivar sessions: the state that all sessions share.
    :ivar recent_refusals: for people; ingress adds to them as well.
    """

    settings: GatewaySettings
    routes: TypeRoutes
    metrics: IMetrics
    log: ILog
    clock: IReactorTime
    wall_ns: Callable[[], int]
    sessions: SessionContext = field(init=False)
    recent_refusals: RecentRefusals = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings, metrics, log, monotonic = self.settings, self.metrics, self.log, self.clock.seconds
        self.recent_refusals = RecentRefusals(self.wall_ns)
        self.sessions = SessionContext(
            self.routes,
            settings.codec,
            Refusals(metrics, log, settings.tracked_vins, monotonic, self.recent_refusals),
            UnroutedRecords(metrics, log, monotonic, settings.refuse_unrouted),
            SignalMetrics(metrics, log, settings.tracked_vins, monotonic, SignalCounts(self.wall_ns() // DAY_NS)),
            ConnectedVehicles(self.routes, settings.codec, metrics, log, settings.debounce_s, self.clock, self.wall_ns),
            PausedVehicles(metrics, log, monotonic),
            _acknowledged_records(settings),
            settings.max_message_bytes,
            monotonic,
            self.wall_ns,
        )
        self.sessions.connected.limit_rate(settings.rate_limit)

    def use(self, settings: GatewaySettings) -> None:
        """Replace the settings, between two reads, for all sessions."""
        sessions, connected = self.sessions, self.sessions.connected
        sessions.codec = connected.codec = settings.codec
        sessions.max_message_bytes = settings.max_message_bytes
        sessions.refusals.tracked_vins = sessions.signal_metrics.tracked_vins = settings.tracked_vins
        sessions.unrouted.are_refused = settings.refuse_unrouted
        connected.debounce_s = settings.debounce_s
        if settings.rate_limit != self.settings.rate_limit:
            connected.limit_rate(settings.rate_limit)
        if settings.deduplication != self.settings.deduplication:
            sessions.acknowledged = _acknowledged_records(settings)
        self.settings = settings

    def connected(self, vehicle: Vehicle, link: IVehicleLink) -> Session:
        """See ``IGateway``. Emits the CONNECTED record."""
        connected = self.sessions.connected
        session = Session(self.sessions, vehicle, link, connected.known.came(vehicle, self.wall_ns() // 1_000_000))
        connected.add(session)
        return session

    def all_disconnected(self) -> None:
        """The gateway stops, and the last connection has ended: emit the DISCONNECTED records that are held back."""
        self.sessions.connected.announce_held_back()


def _acknowledged_records(settings: GatewaySettings) -> AcknowledgedRecords | None:
    return AcknowledgedRecords(settings.deduplication) if settings.deduplication is not None else None
