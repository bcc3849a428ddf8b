"""The upgrade of one connection: reads HTTP requests, responds, and identifies the vehicle."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Protocol, assert_never

from attrs import frozen

from fleetgw.adapters.ingress import http
from fleetgw.adapters.listening.refusals import Refusal
from fleetgw.domain.allow_list import Allowed, NoList, NotListed
from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.identity import identify
from fleetgw.domain.line_limit import cut
from fleetgw.domain.records import Vehicle

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.adapters.ingress.context import ConnectionContext
    from fleetgw.adapters.ingress.http import Request
    from fleetgw.domain.records import PeerIdentity

MAX_HEADER_CHARACTERS = 256
"""Maximum length of a stored header: log lines have it, and every queued record may have a copy."""

_FORBIDDEN, _UNAVAILABLE = "403 Forbidden", "503 Service Unavailable"

_UUID = re.compile(
    r"(?:urn:uuid:)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\Z"
    r"|\{([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\}\Z"
    r"|([0-9a-f]{32})\Z",
    re.IGNORECASE,
)


def connection_id(txid_header: str) -> str:
    """Connection id from ``X-TXID``, or a new one when that is no UUID in one of the four usual forms."""
    match = _UUID.match(txid_header)
    return str(uuid.UUID(next(filter(None, match.groups())))) if match else str(uuid.uuid4())


def _bounded(text: str) -> str:
    return cut(text, MAX_HEADER_CHARACTERS)


class Peer(Protocol):
    """The peer of a connection."""

    @property
    def peer_certificate(self) -> bytes:
        """Verified certificate in DER."""


@frozen
class Upgraded:
    """Result of a successful upgrade.

    :ivar log_fields: makes the fields of the event ``socket_connected``.
    """

    vehicle: Vehicle
    log_fields: Callable[[], dict[str, object]]


@frozen
class Answer:
    """Response to a request.

    :ivar closes: whether the connection ends after the response.
    :ivar upgraded: None for every response except ``101 Switching Protocols``.
    :ivar request: None where it could not be read.
    :ivar reason: for people, of a refusal; empty where the response tells all.
    :ivar device_id: of the peer, as far as it is known.
    """

    response: bytes
    closes: bool
    upgraded: Upgraded | None = None
    request: Request | None = None
    reason: str = ""
    device_id: str = ""


class Upgrade:
    """Reads the requests of one connection up to the upgrade.

    :param remote: ``host:port`` of the peer.
    """

    __slots__ = ("_context", "_held", "_peer", "_remote", "_request", "_since")

    def __init__(self, context: ConnectionContext, peer: Peer, remote: str) -> None:
        self._context = context
        self._peer = peer
        self._remote = remote
        self._held = b""
        self._request: dict[str, object] | None = None  # log fields, when the start was logged
        self._since = 0.0

    def received(self, data: bytes, now: float) -> Answer | None:
        """Read bytes; None while the request is incomplete."""
        searched_bytes = len(self._held)
        self._held += data
        try:
            split = http.split_head(self._held, searched_bytes)
            if split is None:
                return None
            head, rest = split
            self._held = b""
            request = http.parse_head(head)
        except http.BadRequest as error:
            self._held = b""
            return Answer(error.response, closes=True, reason="the request cannot be read")
        self._begin(request, now)
        if rest:
            # clients wait for the response; a second request smuggled behind the first is never parsed
            error_text = "bytes came before the request was answered"
            self._context.events.stranger_error("websocket_promotion_error", error=error_text)
            return self._refused(request, "400 Bad Request", closing=True, reason=error_text)
        return self._answer(request)

    @staticmethod
    def _refused(request: Request, status: str, *, closing: bool, reason: str, device_id: str = "") -> Answer:
        response = http.refused(request, status, closing=closing)
        return Answer(response, closing, request=request, reason=reason, device_id=device_id)

    def end(self, now: float) -> None:
        """Log the end of the request: its response was sent, or the connection that it upgraded has ended."""
        request, self._request = self._request, None
        if request is not None:
            self._context.events.request_ended(request, now - self._since)

    def _begin(self, request: Request, now: float) -> None:
        self._since = now
        self._request = self._context.events.request_started(
            lambda: {
                "method": _bounded(request.method),
                "remote_ip": self._remote,
                "urlPath": _bounded(request.path),
                "uuid": str(uuid.uuid4()),
            }
        )

    def _answer(self, request: Request) -> Answer:
        closing = http.closes(request)
        key = request.websocket_key
        if key is None:
            if request.path == "/status":
                return Answer(http.mtls_ok(request), closing, request=request)
            reason = (
                "no WebSocket request: Upgrade, Connection, Sec-WebSocket-Version 13 and Sec-WebSocket-Key belong to one"
            )
            return self._refused(request, "400 Bad Request", closing=closing, reason=reason)
        if request.method != "GET":
            return self._refused(request, "405 Method Not Allowed", closing=closing, reason="an upgrade is a GET request")
        registry, events = self._context.registry, self._context.events
        if not registry.allows_upgrade(self._remote):
            return self._refused(request, _UNAVAILABLE, closing=True, reason=Refusal.FULL.what)
        try:
            identity = identify(self._context.certificates.facts(self._peer.peer_certificate), self._context.issuers)
        except Unauthorized as error:
            registry.unauthorized(self._remote, str(error))
            events.stranger_error("extract_sender_id_err", error=str(error), remote_ip=self._remote)
            return self._refused(request, _FORBIDDEN, closing=True, reason=str(error))
        device_id = identity.device_id
        if (refused := self._refused_by_list(device_id)) is not None:
            status, reason = refused
            return self._refused(request, status, closing=True, reason=reason, device_id=device_id)
        if not registry.allows_upgrade_of(device_id, self._remote):
            reason = Refusal.FULL_VEHICLE.what
            return self._refused(request, _UNAVAILABLE, closing=True, reason=reason, device_id=device_id)
        upgraded = _upgraded(request, identity, self._remote)
        response = http.switching_protocols(key)
        return Answer(response, closes=False, upgraded=upgraded, request=request, device_id=device_id)

    def _refused_by_list(self, vin: str) -> tuple[str, str] | None:
        """Status and reason of the refusal of a vehicle by the allow list; None when the vehicle may connect."""
        allow_list = self._context.allow_list
        if allow_list is None:
            return None
        match allow_list.decide(vin, self._since):
            case Allowed():
                return None
            case NotListed():
                self._context.registry.not_allowed(vin, self._remote)
                return _FORBIDDEN, Refusal.NOT_ALLOWED.what
            case NoList(reason):
                self._context.registry.no_allow_list(vin, self._remote, reason)
                return _UNAVAILABLE, reason
            case never:
                assert_never(never)


def _upgraded(request: Request, identity: PeerIdentity, remote: str) -> Upgraded:
    headers = request.headers
    vehicle = Vehicle(
        identity,
        identity.device_id,
        connection_id(headers.get("x-txid", "")),
        _bounded(headers.get("version", "")),
        _bounded(headers.get("x-network-interface", "")),
        remote,
    )
    return Upgraded(
        vehicle,
        lambda: {
            "X-Forwarded-For": _bounded(headers.get("x-forwarded-for", "")),
            "method": request.method,
            "network_interface": vehicle.network_interface,
            "path": _bounded(request.path),
            "txid": vehicle.connection_id,
            "user_agent": _bounded(headers.get("user-agent", "")),
            **vehicle.log_context,
        },
    )
