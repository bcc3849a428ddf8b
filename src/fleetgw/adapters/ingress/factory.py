"""Factory of vehicles' connections: creates them, checks their deadlines, and closes them at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall

from fleetgw.adapters.ingress.autobahn_frames import FrameReader
from fleetgw.adapters.ingress.connection import VehicleConnection
from fleetgw.adapters.ingress.context import ConnectionContext
from fleetgw.adapters.ingress.events import IngressEvents
from fleetgw.adapters.ingress.poller import Poller
from fleetgw.adapters.ingress.registry import ConnectionRegistry
from fleetgw.adapters.ingress.turns import Turns
from fleetgw.adapters.listening.refusals import Refusals
from fleetgw.adapters.text.addresses import address
from fleetgw.adapters.traces.null import NoTracing

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IReactorTime

    from fleetgw.adapters.ingress.autobahn_frames import ReaderHost
    from fleetgw.adapters.ingress.limits import IngressLimits
    from fleetgw.domain.allow_list import AllowList
    from fleetgw.domain.identity import IssuerTable
    from fleetgw.domain.ports import IGateway, ILog, IMetrics, ITracing
    from fleetgw.domain.recent_refusals import RecentRefusals

SWEEP_INTERVAL_S = 1.0
"""Time between two checks of all deadlines, which is their precision."""


class VehicleFactory(Factory):
    """Creates ``VehicleConnection`` objects; ``VehicleTlsFactory`` wraps it.

    :ivar refusals: counts and logs refused sockets and upgrades.
    :ivar registry: the connections.
    :ivar context: shared by all of them.
    :ivar poller: reads their sockets; open from the first port's start until the last port and all connections are gone.
    """

    noisy = False

    def __init__(
        self,
        gateway: IGateway,
        issuers: IssuerTable,
        limits: IngressLimits,
        clock: IReactorTime,
        metrics: IMetrics,
        log: ILog,
        tracing: ITracing | None = None,
        *,
        log_handshake_errors: bool = True,
        allow_list: AllowList | None = None,
        recent_refusals: RecentRefusals | None = None,
    ) -> None:
        self.refusals = Refusals("vehicles", metrics, log, clock.seconds, recent_refusals)
        self.registry: ConnectionRegistry[VehicleConnection] = ConnectionRegistry(limits, self.refusals)
        self.poller = Poller(clock)
        autobahn = WebSocketServerFactory(reactor=clock)

        def new_reader(host: ReaderHost, max_frame_bytes: int) -> FrameReader:
            return FrameReader(host, autobahn, max_frame_bytes)

        self.context = ConnectionContext(
            gateway,
            issuers,
            limits,
            clock.seconds,
            Turns(clock, self.poller.has_unread),
            self.registry,
            IngressEvents(metrics, log, clock.seconds, recent_refusals, log_handshake_errors=log_handshake_errors),
            new_reader,
            tracing or NoTracing(),
            allow_list,
        )
        self._clock = clock
        self._log = log
        self._sweep: LoopingCall | None = None

    def use(self, issuers: IssuerTable, limits: IngressLimits) -> None:
        """Replace issuers and limits. Upgrades use them from now on; times and sizes hold for open connections, too."""
        self.context.issuers, self.context.limits = issuers, limits
        self.registry.limit(limits)
        self._pace_reads()

    def _pace_reads(self) -> None:
        interval_ms = self.context.limits.read_interval_ms
        self.poller.interval_s = interval_ms / 1000
        if interval_ms and not self.poller.is_open:
            warning = "has no effect: this system has no epoll, or the reactor cannot watch one"
            self._log.warn("configuration_warning", key="limits.read_interval_ms", warning=warning)

    def startFactory(self) -> None:
        """Open the poller with the first port."""
        self.poller.open()
        self._pace_reads()

    def stopFactory(self) -> None:
        """Close the poller once the last port and all connections are gone."""
        self.all_gone().addCallback(lambda _: self.poller.close())

    def doStart(self) -> None:
        """Start the checks of deadlines with the first port."""
        if self._sweep is None:
            self._sweep = LoopingCall(self._check_deadlines)
            self._sweep.clock = self._clock
            self._sweep.start(SWEEP_INTERVAL_S, now=False)
        super().doStart()

    def buildProtocol(self, addr: IAddress | None) -> VehicleConnection | None:
        """Create a connection for a new socket; None when it is refused."""
        host = str(getattr(addr, "host", ""))
        if self.registry.allows_socket(host):
            return VehicleConnection(self.context)
        if (trace := self.context.tracing.trace(host, address(host, getattr(addr, "port", "")))) is not None:
            trace.note("refused_socket", "closed at once: there are too many half-open connections; see connection_refused")
        return None

    def look_for_traces(self) -> None:
        """Have all connections look for their traces: one has begun or ended."""
        for connection in self.connections:
            connection.look_for_trace()

    @property
    def connections(self) -> AbstractSet[VehicleConnection]:
        """All connections, before and after their upgrade."""
        return self.registry.connections

    def has_room(self) -> bool:
        """Whether a further socket may be accepted."""
        return self.registry.has_room()

    def all_gone(self) -> Deferred[None]:
        """Fires once there is no connection. Cancelling it has no effect on the connections."""
        return self.registry.all_gone()

    def _check_deadlines(self) -> None:
        now = self._clock.seconds()
        for connection in tuple(self.connections):
            connection.check_deadlines(now)

    def close_all(self, reason: str) -> None:
        """Begin the closing handshake (1001) with every vehicle."""
        for connection in tuple(self.connections):
            connection.close(reason)

    def abort_all(self) -> None:
        """Cut all remaining connections, and stop the checks of deadlines."""
        for connection in tuple(self.connections):
            connection.abort()
        if self._sweep is not None:
            self._sweep.stop()
            self._sweep = None  # breaks a reference cycle
