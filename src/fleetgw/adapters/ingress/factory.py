"""The vehicles' door: makes a connection for each socket, watches deadlines, and closes all of them at the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen
from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall

from fleetgw.adapters.ingress.autobahn_frames import FrameReader
from fleetgw.adapters.ingress.connection import VehicleConnection
from fleetgw.adapters.ingress.turns import Turns
from fleetgw.adapters.listening.presence import Presence
from fleetgw.adapters.listening.refusals import Refusal, Refusals
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import SOCKET_ERR_TOTAL, TLS_HANDSHAKE_ERROR_TOTAL
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IReactorTime
    from twisted.python.failure import Failure

    from fleetgw.domain.identity import IssuerTable
    from fleetgw.domain.ports import IGateway, ILog, IMetrics

SWEEP_S = 1.0
"""How often deadlines are looked at: what they are exact to."""

STRANGERS_LINES = 20
"""Log lines of one kind that strangers cause, in ten seconds."""

REQUEST_LINES = 1000
"""Likewise ``request_start`` and ``request_end``, which take a certificate that is trusted."""

HANDSHAKE_REASONS = (
    "certificate has expired",
    "certificate is not yet valid",
    "certificate revoked",
    "unable to get local issuer certificate",
    "unsuitable certificate purpose",
    "certificate verify failed",
    "http request",
    "no application protocol",
    "no shared cipher",
    "peer did not return a certificate",
    "unsupported protocol",
    "wrong version number",
)
"""Reasons of OpenSSL that are counted under their own name, the first that fits; all others under ``other``."""


@frozen
class IngressLimits:
    """What one connection may take. Seconds; 0 means no limit.

    :ivar handshake_timeout_s: from the socket to the end of the upgrade.
    :ivar message_timeout_s: from the first byte of a message (or frame) to its last.
    :ivar ping_after_s: silence after which the gateway pings.
    :ivar ping_timeout_s: silence after that ping which ends the connection.
    :ivar write_timeout_s: how long replies may wait for the vehicle to read.
    :ivar max_frame_bytes: a longer frame or message ends the connection with 1009 as soon as it is announced.
    :ivar max_pending_reply_bytes: replies that wait beyond this end the connection.
    :ivar max_connections: a further upgrade is refused with 503; 0 means no limit.
    :ivar max_half_open: connections that have not finished their upgrade; what comes beyond waits, 0 means no limit.
    :ivar max_half_open_per_address: of them, those of one IPv4 address or IPv6 /64 network; 0 means no limit.
    :ivar max_connections_per_vehicle: of one device id; a further upgrade is refused with 503; 0 means no limit.
    """

    handshake_timeout_s: float
    message_timeout_s: float
    ping_after_s: float
    ping_timeout_s: float
    write_timeout_s: float
    max_frame_bytes: int
    max_pending_reply_bytes: int
    max_connections: int
    max_half_open: int = 0
    max_half_open_per_address: int = 0
    max_connections_per_vehicle: int = 0


class VehicleFactory(Factory):
    """Makes ``VehicleConnection`` objects; to be wrapped by ``VehicleTlsFactory``."""

    noisy = False

    def __init__(
        self,
        gateway: IGateway,
        issuers: IssuerTable,
        limits: IngressLimits,
        clock: IReactorTime,
        metrics: IMetrics,
        log: ILog,
        *,
        log_handshake_errors: bool = True,
    ) -> None:
        self.gateway = gateway
        self.issuers = issuers
        self.limits = limits
        self.log = log
        self.monotonic: Callable[[], float] = clock.seconds
        self.connections: set[VehicleConnection] = set()
        self.open_connections = 0
        self.turns = Turns(clock)
        self.vehicle_log = VehicleLog(log, clock.seconds)
        self.is_paused = False
        self.refusals = Refusals("vehicles", metrics, log, clock.seconds)
        self._lines = LineLimit()
        self._half_open: Presence[VehicleConnection] = Presence(limits.max_half_open, limits.max_half_open_per_address)
        self._per_vehicle: Counter[str] = Counter()
        self._awaiting_end: list[Deferred[None]] = []
        self.socket_err_total = metrics.counter(SOCKET_ERR_TOTAL)
        self._metrics = metrics
        self._log_handshake_errors = log_handshake_errors
        self._autobahn = WebSocketServerFactory(reactor=clock)
        self._clock = clock
        self._sweep: LoopingCall | None = None

    def doStart(self) -> None:
        """The first port listens: begin to watch deadlines."""
        if self._sweep is None:
            self._sweep = LoopingCall(self._check_deadlines)
            self._sweep.clock = self._clock
            self._sweep.start(SWEEP_S, now=False)
        super().doStart()

    def has_room(self) -> bool:
        """Whether a further socket may be accepted; makes room where few addresses hold much of it."""
        if self._half_open.is_full:
            for connection in self._half_open.make_room():
                self.refusals.add(Refusal.CROWDED_OUT, connection.remote)
                connection.abort()
        return not self._half_open.is_full

    def buildProtocol(self, addr: IAddress | None) -> VehicleConnection | None:  # type: ignore[override]  # Twisted's types tie a protocol to Factory itself
        """A connection for a new socket; None when it is one too many."""
        host = str(getattr(addr, "host", ""))
        if self._half_open.is_full_for(host):
            self.refusals.add(Refusal.FULL_ADDRESS, host)
            return None
        if not self.has_room():
            self.refusals.add(Refusal.FULL_HALF_OPEN, host)
            return None
        connection = VehicleConnection()
        connection.factory = self
        return connection

    def new_reader(self, connection: VehicleConnection) -> FrameReader:
        """An Autobahn reader for what the fast path leaves."""
        return FrameReader(connection, self._autobahn, self.limits.max_frame_bytes)

    @property
    def is_full(self) -> bool:
        """Whether a further upgrade is one too many."""
        return 0 < self.limits.max_connections <= self.open_connections

    def is_full_for(self, vin: str) -> bool:
        """Whether a further upgrade of this vehicle is one too many."""
        return 0 < self.limits.max_connections_per_vehicle <= self._per_vehicle[vin]

    def made(self, connection: VehicleConnection, host: str) -> None:
        """A socket is there; TLS and upgrade are to come."""
        self.connections.add(connection)
        self._half_open.add(connection, host)

    def opened(self, connection: VehicleConnection, vin: str) -> None:
        """A connection has finished its upgrade."""
        self._half_open.remove(connection)
        self.open_connections += 1
        self._per_vehicle[vin] += 1

    def closed(self, vin: str) -> None:
        """A connection that had finished its upgrade has ended; to be followed by ``lost``."""
        self.open_connections -= 1
        self._per_vehicle[vin] -= 1
        if not self._per_vehicle[vin]:
            del self._per_vehicle[vin]

    def lost(self, connection: VehicleConnection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self._half_open.remove(connection)
        if not self.connections:
            waiting, self._awaiting_end = self._awaiting_end, []
            for waiter in waiting:
                waiter.callback(None)

    def all_gone(self) -> Deferred[None]:
        """Fires once there is no connection. Cancelling it changes nothing."""
        if not self.connections:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._awaiting_end.remove)
        self._awaiting_end.append(waiter)
        return waiter

    def _check_deadlines(self) -> None:
        now = self.monotonic()
        for connection in tuple(self.connections):
            connection.check_deadlines(now)

    def handshake_lost(self, connection: VehicleConnection, reason: Failure) -> None:
        """A connection ended before its upgrade: count and log why, when TLS or the network failed it."""
        if reason.check(ConnectionDone, ConnectionAborted, ConnectionLost):
            return
        problem = connection.transport.certificate_problem
        text = _openssl_reason(reason) + (f": {problem}" if problem else "")
        label = next((known for known in HANDSHAKE_REASONS if known in text), "other")
        self._metrics.counter(TLS_HANDSHAKE_ERROR_TOTAL, reason=label).add(1)
        if self._log_handshake_errors:
            self.log_limited("tls_handshake_error", label, error=text, remote_ip=connection.remote)

    def log_limited(self, event: str, kind: str = "", **fields: object) -> None:
        """Log an error that strangers can cause, at a bounded rate for each kind (of a closed set)."""
        if (more := self._admit(f"{event} {kind}", STRANGERS_LINES)) is not None:
            self.log.error(event, **fields, **more)

    def log_request(self, **fields: object) -> bool:
        """Log the beginning of a request; whether it was logged, so that its end is to be."""
        if (more := self._admit("request_start", REQUEST_LINES)) is None:
            return False
        self.log.info("request_start", **fields, **more)
        return True

    def _admit(self, kind: str, lines: int) -> dict[str, int] | None:
        unwritten = self._lines.admit(kind, "", self.monotonic(), lines)
        return None if unwritten is None else {"more_unwritten": unwritten} if unwritten else {}

    def pause(self) -> None:
        """Read nothing more from any vehicle."""
        self.is_paused = True
        for connection in self.connections:
            connection.transport.pauseProducing()

    def close_all(self, reason: str) -> None:
        """Say goodbye to every vehicle (1001) and read on for their answers."""
        self.is_paused = False
        for connection in tuple(self.connections):
            connection.transport.resumeProducing()
            connection.close(reason)

    def abort_all(self) -> None:
        """Cut whoever is left, and stop watching."""
        for connection in tuple(self.connections):
            connection.abort()
        if self._sweep is not None:
            self._sweep.stop()
            self._sweep = None  # it refers back to us


def _openssl_reason(reason: Failure) -> str:
    error = reason.value
    errors = error.args[0] if error is not None and error.args else None
    if isinstance(errors, list) and errors and isinstance(errors[-1], tuple):
        return "; ".join(str(entry[-1]) for entry in errors)
    return str(error) or type(error).__name__
