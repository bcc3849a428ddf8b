"""One vehicle's connection: upgrade, messages in, replies out, and its end."""

from __future__ import annotations

import re
import traceback
import uuid
from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.protocol import Protocol, connectionDone
from zope.interface import implementer

from fleetgw.adapters.ingress import http
from fleetgw.adapters.ingress.autobahn_frames import POLICY_VIOLATION, FrameReader
from fleetgw.adapters.ingress.certificate import facts_from_der
from fleetgw.adapters.ingress.fast_frames import BYTES_AT_ONCE, split_frames
from fleetgw.adapters.listening.refusals import Refusal
from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.identity import identify
from fleetgw.domain.line_limit import cut
from fleetgw.domain.ports import IVehicleLink
from fleetgw.domain.records import Vehicle

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fleetgw.adapters.ingress.factory import VehicleFactory
    from fleetgw.adapters.ingress.http import Request
    from fleetgw.adapters.ingress.tls import VehicleTransport
    from fleetgw.adapters.ingress.turns import Turn
    from fleetgw.domain.ports import ISession
    from fleetgw.domain.records import PeerIdentity

GOING_AWAY = 1001
INTERNAL_ERROR = 1011
CLOSE_TIMEOUT_S = 5.0
"""How long the peer may take to answer a close frame before the connection is cut."""

MAX_HEADER_CHARACTERS = 256
"""Of each header that is kept: log lines have it, and every record that waits for a sink may have a copy."""

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


def _cut_short(field: str) -> str:
    return cut(field, MAX_HEADER_CHARACTERS)


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
    _request: dict[str, str] | None = None
    _held = b""
    _pinged_at: float | None = None
    _slow_since: float | None = None
    _unsent_since: float | None = None
    _writes: list[bytes] | None = None
    _turn: Turn | None = None
    _unread = b""
    _is_paused = False

    def connectionMade(self) -> None:
        """The socket is there; TLS is still to come."""
        self._stage = Stage.UPGRADE
        self._stage_since = self._heard_at = self.factory.monotonic()
        self.factory.made(self, str(getattr(self.transport.getPeer(), "host", "")))

    def dataReceived(self, data: bytes) -> None:
        """Take decrypted bytes."""
        self._heard_at = now = self.factory.monotonic()
        self._pinged_at = None
        if self._turn is not None and self._turn.is_over:
            self._wait(data)
        else:
            self._handle(data, now)

    def _handle(self, data: bytes, now: float) -> None:
        turn = self._turn
        try:
            if self._session is None or turn is None:
                self._read_request(data)
                return
            messages, position = split_frames(data, 0, BYTES_AT_ONCE) if self._reader is None else ([], 0)
            replies = self._session.received(messages) if messages else b""
            if position < len(data):
                self._read_further(self._session, data, position, replies, now + turn.left_s)
            elif replies:
                self.write(replies)
        except Exception as error:  # whatever a peer's bytes provoke ends this connection alone
            self._broken(error)
        if turn is not None:
            turn.left_s -= self.factory.monotonic() - now
            if turn.left_s <= 0 or self._unread:
                turn.end()

    # -- turns

    def _wait(self, data: bytes) -> None:
        """Keep bytes until the vehicle's next turn; what the socket has after a second read stays in the kernel."""
        if self._unread:
            self._unread += data
            self._is_paused = True
            self.transport.pauseProducing()
        elif self._turn is not None:
            self._unread = data
            self._turn.wait(self)

    def read_on(self) -> None:
        """See ``Reader``."""
        data, self._unread = self._unread, b""
        if self._session is None:
            return
        self._heard_at = self.factory.monotonic()
        self._handle(data, self._heard_at)
        if self._is_paused and not self._unread:
            self._is_paused = False
            if not self.factory.is_paused:
                self.transport.resumeProducing()

    # -- upgrade

    def _read_request(self, data: bytes) -> None:
        if self._stage is Stage.CLOSING:
            return
        searched_bytes = len(self._held)
        self._held += data
        try:
            split = http.split_head(self._held, searched_bytes)
            if split is None:
                return
            head, rest = split
            self._held = b""
            request = http.parse_head(head)
        except http.BadRequest as error:
            self._held = b""
            self.transport.write(error.response)
            self._lose_connection()
            return
        self._begin_request(request)
        if rest:
            # a client waits for the answer; a second request hidden behind the first is never parsed
            self.factory.log_limited("websocket_promotion_error", error="bytes came before the request was answered")
            response, closing = http.refused(request, "400 Bad Request", closing=True), True
        else:
            response, closing = self._answer(request)
        self.transport.write(response)
        if self._session is None:
            self._end_request()
            self._stage_since = self._heard_at
            if closing:
                self._lose_connection()

    def _answer(self, request: Request) -> tuple[bytes, bool]:
        """The response, and whether the connection ends behind it."""
        closing = http.closes(request)
        key = request.websocket_key
        if key is None:
            if request.path == "/status":
                return http.mtls_ok(request), closing
            return http.refused(request, "400 Bad Request", closing=closing), closing
        if request.method != "GET":
            return http.refused(request, "405 Method Not Allowed", closing=closing), closing
        factory = self.factory
        if factory.is_full:
            factory.refusals.add(Refusal.FULL, self.remote)
            return http.refused(request, "503 Service Unavailable", closing=True), True
        try:
            identity = identify(facts_from_der(self.transport.peer_certificate), factory.issuers)
        except Unauthorized as error:
            factory.refusals.count(Refusal.UNAUTHORIZED)
            factory.log_limited("extract_sender_id_err", error=str(error), remote_ip=self.remote)
            return http.refused(request, "403 Forbidden", closing=True), True
        if factory.is_full_for(identity.device_id):
            factory.refusals.add(Refusal.FULL_VEHICLE, self.remote, identity.device_id)
            return http.refused(request, "503 Service Unavailable", closing=True), True
        self._open(request, identity)
        return http.switching_protocols(key), False

    def _open(self, request: Request, identity: PeerIdentity) -> None:
        headers = request.headers
        self._vehicle = vehicle = Vehicle(
            identity,
            identity.device_id,
            connection_id(headers.get("x-txid", "")),
            _cut_short(headers.get("version", "")),
            _cut_short(headers.get("x-network-interface", "")),
        )
        self._session = self.factory.gateway.connected(vehicle, self)
        self._turn = self.factory.turns.of(vehicle.vin)
        self._enter(Stage.OPEN)
        factory = self.factory
        factory.opened(self, vehicle.vin)
        fields: dict[str, object] = {
            "X-Forwarded-For": _cut_short(headers.get("x-forwarded-for", "")),
            "method": request.method,
            "network_interface": vehicle.network_interface,
            "path": _cut_short(request.path),
            "txid": vehicle.connection_id,
            "user_agent": _cut_short(headers.get("user-agent", "")),
            "device_id": vehicle.vin,
        }
        factory.vehicle_log.info("socket_connected", vehicle.vin, lambda: fields)

    def _begin_request(self, request: Request) -> None:
        fields = {
            "method": _cut_short(request.method),
            "remote_ip": self.remote,
            "urlPath": _cut_short(request.path),
            "uuid": str(uuid.uuid4()),
        }
        self._request_since = self._heard_at
        if self.factory.log_request(**fields):
            self._request = fields

    def _end_request(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            duration_ms = round((self.factory.monotonic() - self._request_since) * 1000)
            self.factory.log.info("request_end", duration_ms=duration_ms, **request)

    @property
    def vehicle(self) -> Vehicle | None:
        """Who is connected; None before the upgrade and from the goodbye on."""
        return self._vehicle if self._stage is Stage.OPEN else None

    @property
    def connected_s(self) -> float:
        """Seconds since the upgrade, for a connection with a ``vehicle``."""
        return self.factory.monotonic() - self._stage_since

    @property
    def remote(self) -> str:
        """``host:port`` of the peer, an IPv6 host in brackets."""
        peer = self.transport.getPeer()
        host = str(getattr(peer, "host", ""))
        return f"{f'[{host}]' if ':' in host else host}:{getattr(peer, 'port', '')}"

    # -- frames

    def _read_further(self, session: ISession, data: bytes, position: int, replies: bytes, until: float) -> None:
        """Go on until the vehicle's turn is over, and feed Autobahn just the frames that are its own.

        All replies of this read leave in one write.
        """
        reader = self._reader
        self._writes = writes = [replies]
        if reader is not None:
            reader.frames_this_read = 0
        while position < len(data) and not (reader is not None and reader.closing) and self.factory.monotonic() < until:
            if reader is None or reader.idle:
                self._slow_since = None
                messages, position = split_frames(data, position, BYTES_AT_ONCE)
                if messages:
                    writes.append(session.received(messages))
                    continue
            if reader is None:
                self._reader = reader = self.factory.new_reader(self)
            size = reader.size_wanted
            reader.feed(data[position : position + size])
            position += size
        if reader is not None and reader.closing:
            if not reader.finished:
                reader.feed(data[position:])
            position = len(data)
        self._writes = None
        self.write(b"".join(writes))
        if reader is not None and reader.finished:
            self._lose_connection()
        elif reader is not None and reader.idle:
            self._reader = self._slow_since = None
        elif reader is not None and self._slow_since is None:
            self._slow_since = self._heard_at
        if position < len(data):
            self._wait(data[position:])

    def message_read(self, payload: bytes) -> None:
        """See ``ReaderHost``."""
        if self._session is not None:
            self.write(self._session.received([payload]))

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them to be sent together while a read is being taken apart."""
        if self._writes is not None:
            self._writes.append(data)
        elif data:
            self.transport.write(data)
            unsent_bytes = self.transport.unsent_bytes
            if unsent_bytes > self.factory.limits.max_pending_reply_bytes:
                self._cut("replies_not_read", f"{unsent_bytes} bytes of replies are waiting")

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
            self.abort()

    # -- deadlines and the end

    def _enter(self, stage: Stage) -> None:
        if self._stage is not stage:
            self._stage = stage
            self._stage_since = self.factory.monotonic()

    def _lose_connection(self) -> None:
        self._enter(Stage.CLOSING)
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        self._enter(Stage.CLOSING)
        self.transport.abortConnection()

    def check_deadlines(self, now: float) -> None:
        """Called about once a second with the monotonic time: ping, or give up on, a peer that has gone silent or slow."""
        limits = self.factory.limits
        if self._stage is Stage.CLOSING:
            if now - self._stage_since > CLOSE_TIMEOUT_S:
                self.abort()
        elif self._stage is Stage.UPGRADE:
            if 0 < limits.handshake_timeout_s < now - self._stage_since:
                self._cut("handshake_timeout", f"no upgrade within {limits.handshake_timeout_s:g} s")
        elif self._replies_wait_since(now) < now - limits.write_timeout_s and limits.write_timeout_s:
            self._cut("replies_not_read", f"replies could not be sent for {limits.write_timeout_s:g} s")
        elif self._slow_since is not None and 0 < limits.message_timeout_s < now - self._slow_since:
            self.close(f"a message was not complete within {limits.message_timeout_s:g} s", POLICY_VIOLATION)
        elif self._pinged_at is not None:
            if 0 < limits.ping_timeout_s < now - self._pinged_at:
                self._cut("ping_timeout", f"silent for {now - self._heard_at:.0f} s")
        elif 0 < limits.ping_after_s < now - self._heard_at:
            self._pinged_at = now
            self.transport.write(_PING)

    def _replies_wait_since(self, now: float) -> float:
        """When a check first found replies waiting that have not all left since; ``now`` when none wait."""
        if not self.transport.unsent_bytes:
            self._unsent_since = None
        elif self._unsent_since is None:
            self._unsent_since = now
        return now if self._unsent_since is None else self._unsent_since

    def too_many_tls_records(self, limit: int) -> None:
        """One read brought more TLS records than are decrypted at once."""
        self._cut("tls_records_too_small", f"more than {limit} small TLS records at once")

    def _cut(self, event: str, reason: str) -> None:
        self.factory.socket_err_total.add(1)
        fields: dict[str, object] = {"device_id": self._device_id, "remote_ip": self.remote, "error": reason}
        self.factory.vehicle_log.warn(event, self._device_id, lambda: fields)
        self.abort()

    def _broken(self, error: Exception) -> None:
        self.factory.socket_err_total.add(1)
        fields: dict[str, object] = {
            "device_id": self._device_id,
            "error": f"{type(error).__name__}: {error}",
            "traceback": "".join(traceback.format_exception(error)),
        }
        self.factory.vehicle_log.error("connection_failed", self._device_id, lambda: fields)
        writes, self._writes = self._writes, None
        if self._stage is Stage.OPEN:
            self.write(b"".join(writes or ()))
            self.close("internal error", INTERNAL_ERROR)
        else:
            self.abort()

    @property
    def _device_id(self) -> str:
        return self._vehicle.vin if self._vehicle is not None else ""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection has gone, whoever ended it."""
        session, self._session = self._session, None
        self._reader = self._turn = None
        self._unread = b""
        self._stage = Stage.CLOSING
        try:
            if session is None:
                self.factory.handshake_lost(self, reason)
            else:
                self.factory.closed(self._vehicle.vin if self._vehicle is not None else "")
                session.disconnected()
            self._end_request()
        finally:
            self.factory.lost(self)
