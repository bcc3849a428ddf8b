"""The vehicles' door: makes a connection for each socket, watches deadlines, and closes all of them at the end."""

from __future__ import annotations

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
from fleetgw.adapters.logs.vehicle_log import VehicleLog
from fleetgw.domain.metrics import SOCKET_ERR_TOTAL, TLS_HANDSHAKE_ERROR_TOTAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IReactorTime
    from twisted.python.failure import Failure

    from fleetgw.domain.identity import IssuerTable
    from fleetgw.domain.ports import IGateway, ILog, IMetrics

SWEEP_S = 1.0
"""How often deadlines are looked at: what they are exact to."""

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
    """

    handshake_timeout_s: float
    message_timeout_s: float
    ping_after_s: float
    ping_timeout_s: float
    write_timeout_s: float
    max_frame_bytes: int
    max_pending_reply_bytes: int
    max_connections: int


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

    def buildProtocol(self, addr: IAddress | None) -> VehicleConnection:  # type: ignore[override]  # noqa: ARG002  Twisted's types tie a protocol to Factory itself
        """A connection for a new socket."""
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

    def lost(self, connection: VehicleConnection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
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
            self.log.error("tls_handshake_error", error=text, remote_ip=connection.remote)

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
