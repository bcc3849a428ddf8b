"""One vehicle's connection: upgrade, messages in, replies out, and its end."""

from __future__ import annotations

import re
import uuid
from enum import Enum
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.protocol import Protocol, connectionDone
from zope.interface import implementer

from fleetgw.adapters.ingress import http
from fleetgw.adapters.ingress.autobahn_frames import POLICY_VIOLATION, FrameReader
from fleetgw.adapters.ingress.certificate import facts_from_der
from fleetgw.adapters.ingress.fast_frames import split_frames
from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.identity import identify
from fleetgw.domain.ports import IVehicleLink
from fleetgw.domain.records import Vehicle

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fleetgw.adapters.ingress.factory import VehicleFactory
    from fleetgw.adapters.ingress.http import Request
    from fleetgw.adapters.ingress.tls import VehicleTransport
    from fleetgw.domain.ports import ISession

GOING_AWAY = 1001
INTERNAL_ERROR = 1011
CLOSE_TIMEOUT_S = 5.0
"""How long the peer may take to answer a close frame before the connection is cut."""

_PING = b"\x89\x00"
_UUID = re.compile(
    r"(?:urn:uuid:)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\Z"
    r"|\{([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\}\Z"
    r"|([0-9a-f]{32})\Z",
    re.IGNORECASE,
)


def connection_id(txid_header: str) -> str:
    """The connection id that ``X-TXID`` asks for, or a fresh one when it is no UUID in one of the four usual forms."""
    match = _UUID.match(txid_header)
    return str(uuid.UUID(next(filter(None, match.groups())))) if match else str(uuid.uuid4())


class Stage(Enum):
    """How far a connection has come."""

    UPGRADE = 1
    OPEN = 2
    CLOSING = 3


@implementer(IVehicleLink)
class VehicleConnection(Protocol):
    """The protocol inside TLS. HTTP first, then whole data frames on the fast path and all else by Autobahn's reader."""

    factory: VehicleFactory
    transport: VehicleTransport
    _session: ISession | None = None
    _reader: FrameReader | None = None
    _vehicle: Vehicle | None = None
    _held = b""
    _pinged = False
    _slow_since: float | None = None
    _unsent_since = 0.0
    _writes: list[bytes] | None = None

    def connectionMade(self) -> None:
        """The socket is there; TLS is still to come."""
        self._stage = Stage.UPGRADE
        self._stage_since = self._heard_at = self.factory.monotonic()
        self.factory.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Take decrypted bytes."""
        self._heard_at = self.factory.monotonic()
        self._pinged = False
        try:
            if self._session is None:
                self._read_request(data)
            elif self._reader is None:
                messages, position = split_frames(data, 0)
                replies = self._session.received(messages) if messages else b""
                if position < len(data):
                    self._read_slowly(data, position, replies)
                elif replies:
                    self.write(replies)
            else:
                self._read_slowly(data, 0, b"")
        except Exception as error:  # whatever a peer's bytes provoke ends this connection alone
            self._broken(error)

    # -- upgrade

    def _read_request(self, data: bytes) -> None:
        self._held += data
        try:
            split = http.split_head(self._held)
            if split is None:
                return
            head, rest = split
            self._held = b""
            request = http.parse_head(head)
            if rest:
                # a client waits for the answer; a second request hidden behind the first is never parsed
                raise http.BadRequest("400 Bad Request")
        except http.BadRequest as error:
            self._held = b""
            self.transport.write(error.response)
            self.transport.loseConnection()
            return
        self.factory.log.info("request_start", method=request.method, remote_ip=self.remote, urlPath=request.path)
        self.transport.write(self._answer(request))
        if self._session is None and http.closes(request):
            self.transport.loseConnection()

    def _answer(self, request: Request) -> bytes:
        key = request.websocket_key
        if key is None:
            return http.mtls_ok(request) if request.path == "/status" else http.refused(request, "400 Bad Request")
        if request.method != "GET":
            return http.refused(request, "405 Method Not Allowed")
        if self.factory.is_full:
            return http.refused(request, "503 Service Unavailable")
        certificate = self.transport.getHandle().get_peer_certificate(as_cryptography=True)
        try:
            identity = identify(facts_from_der(certificate.public_bytes(Encoding.DER)), self.factory.issuers)
        except Unauthorized as error:
            self.factory.log.error("unauthorized", error=str(error), remote_ip=self.remote)
            return http.refused(request, "403 Forbidden")
        headers = request.headers
        self._vehicle = vehicle = Vehicle(
            identity,
            identity.device_id,
            connection_id(headers.get("x-txid", "")),
            headers.get("version", ""),
            headers.get("x-network-interface", ""),
        )
        self._enter(Stage.OPEN)
        self._session = self.factory.gateway.connected(vehicle, self)
        self.factory.log.info(
            "socket_connected",
            **{"X-Forwarded-For": headers.get("x-forwarded-for", "")},
            method=request.method,
            network_interface=vehicle.network_interface,
            path=request.path,
            txid=vehicle.connection_id,
            user_agent=headers.get("user-agent", ""),
            device_id=vehicle.vin,
        )
        return http.switching_protocols(key)

    @property
    def remote(self) -> str:
        """``host:port`` of the peer."""
        peer = self.transport.getPeer()
        return f"{getattr(peer, 'host', '')}:{getattr(peer, 'port', '')}"

    # -- frames

    def _read_slowly(self, data: bytes, position: int, replies: bytes) -> None:
        """Feed Autobahn just the frames that are its own; all replies of this read leave in one write."""
        session = self._session
        self._writes = writes = [replies]
        while position < len(data):
            reader = self._reader
            if reader is None:
                messages, position = split_frames(data, position)
                if messages and session is not None:
                    writes.append(session.received(messages))
                if position == len(data):
                    break
                self._reader = reader = self.factory.new_reader(self)
            size = reader.size_wanted
            reader.feed(data[position : position + size])
            position += size
            if reader.idle:
                self._reader = None
            elif reader.closing:
                break
        self._writes = None
        self._note_reader(self._reader)
        self.write(b"".join(writes))

    def _note_reader(self, reader: FrameReader | None) -> None:
        if reader is None:
            self._slow_since = None
            return
        reader.control_frames = 0
        if reader.closing:
            self._enter(Stage.CLOSING)
        elif self._slow_since is None:
            self._slow_since = self._heard_at

    def message_read(self, payload: bytes) -> None:
        """See ``ReaderHost``."""
        if self._session is not None:
            self.write(self._session.received([payload]))

    # -- what Autobahn's reader writes to

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them to be sent together while a read is being taken apart."""
        if self._writes is not None:
            self._writes.append(data)
        elif data:
            self.transport.write(data)
            if self._write_limit_passed():
                self._cut("replies_not_read", f"{self.transport.unsent_bytes} bytes of replies are waiting")

    def _write_limit_passed(self) -> bool:
        return self.transport.unsent_bytes > self.factory.limits.max_pending_reply_bytes

    def loseConnection(self) -> None:
        """Send what is kept, then close."""
        if self._writes:
            self.transport.write(b"".join(self._writes))
            self._writes.clear()
        self._enter(Stage.CLOSING)
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """Close at once."""
        self._enter(Stage.CLOSING)
        self.transport.abortConnection()

    def unregisterProducer(self) -> None:
        """There is never a producer."""

    # -- IVehicleLink

    def send(self, replies: bytes) -> None:
        """See ``IVehicleLink``."""
        if self._stage is Stage.OPEN:
            self.write(replies)

    def close(self, reason: str, code: int = GOING_AWAY) -> None:
        """See ``IVehicleLink``."""
        if self._stage is Stage.OPEN:
            self._reader = self._reader or self.factory.new_reader(self)
            self._reader.send_close(code, reason)
            self._enter(Stage.CLOSING)
        elif self._stage is Stage.UPGRADE:
            self._cut("closed_before_upgrade", reason)

    # -- deadlines and the end

    def _enter(self, stage: Stage) -> None:
        if self._stage is not stage:
            self._stage = stage
            self._stage_since = self.factory.monotonic()

    def check_deadlines(self, now: float) -> None:
        """Called about once a second with the monotonic time: ping, or give up on, a peer that has gone silent or slow."""
        limits = self.factory.limits
        silent_s = now - self._heard_at
        if self._stage is Stage.UPGRADE:
            if 0 < limits.handshake_timeout_s < now - self._stage_since:
                self._cut("handshake_timeout", f"no upgrade within {limits.handshake_timeout_s:g} s")
        elif self._stage is Stage.CLOSING:
            if now - self._stage_since > CLOSE_TIMEOUT_S:
                self.transport.abortConnection()
        elif self._slow_since is not None and 0 < limits.message_timeout_s < now - self._slow_since:
            self.close(f"a message was not complete within {limits.message_timeout_s:g} s", POLICY_VIOLATION)
        elif limits.ping_after_s and silent_s > limits.ping_after_s:
            if not self._pinged:
                self._pinged = True
                self.transport.write(_PING)
            elif 0 < limits.ping_timeout_s < silent_s - limits.ping_after_s:
                self._cut("ping_timeout", f"silent for {silent_s:.0f} s")
        self._check_unsent(now)

    def _check_unsent(self, now: float) -> None:
        limit_s = self.factory.limits.write_timeout_s
        if not self.transport.unsent_bytes:
            self._unsent_since = now
        elif 0 < limit_s < now - self._unsent_since:
            self._cut("replies_not_read", f"replies could not be sent for {limit_s:g} s")

    def _cut(self, event: str, reason: str) -> None:
        self.factory.socket_err_total.add(1)
        self.factory.log.warn(
            event, device_id=self._vehicle.vin if self._vehicle else "", remote_ip=self.remote, error=reason
        )
        self.abortConnection()

    def _broken(self, error: Exception) -> None:
        self.factory.socket_err_total.add(1)
        self.factory.log.error(
            "connection_failed",
            device_id=self._vehicle.vin if self._vehicle else "",
            error=f"{type(error).__name__}: {error}",
        )
        self._writes = None
        if self._stage is Stage.OPEN:
            self.close("internal error", INTERNAL_ERROR)
        else:
            self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection has gone, whoever ended it."""
        session, self._session = self._session, None
        self._reader = None
        self._stage = Stage.CLOSING
        if session is None:
            self.factory.handshake_lost(self, reason)
        else:
            session.disconnected()
        self.factory.lost(self)
