"""Small pages over plain HTTP, rendered on the reactor's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from attrs import frozen
from twisted.internet.protocol import connectionDone
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from fleetgw.adapters.listening.presence import Presence
from fleetgw.adapters.listening.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IAddress, IReactorTime
    from twisted.python.failure import Failure

    from fleetgw.adapters.listening.refusals import Refusals

REQUEST_TIMEOUT_S = 10
"""Time for a request to arrive as a whole, from the connection or its first byte on."""

IDLE_TIMEOUT_S = 60
"""Time that a connection may stay idle between two requests."""

MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS = 64, 16
"""Of one site, in all and per IPv4 address or IPv6 /64 network."""

TEXT = b"text/plain; charset=utf-8"


@frozen
class Page:
    """One page.

    :ivar render: makes the body; called per request, must not block.
    :ivar content_type: of the body.
    :ivar is_available: asked per request; while it says no, the answer is 503.
    """

    render: Callable[[], bytes]
    content_type: bytes = TEXT
    is_available: Callable[[], bool] = lambda: True


_NOT_FOUND = Page(lambda: b"404 page not found\n")


class _Pages(Resource):
    """Answers by exact path, any method alike, as the Go server does."""

    isLeaf = True

    def __init__(self, pages: Mapping[bytes, Page]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._pages = pages

    def render(self, request: Request) -> bytes:
        """The page of the request's path, or 404."""
        headers = request.responseHeaders
        headers.setRawHeaders(b"Server", [b"fleetgw"])
        page = self._pages.get(request.path, _NOT_FOUND)
        if page is _NOT_FOUND:
            request.setResponseCode(http.NOT_FOUND)
            headers.setRawHeaders(b"X-Content-Type-Options", [b"nosniff"])
        if not page.is_available():
            request.setResponseCode(http.SERVICE_UNAVAILABLE)
        headers.setRawHeaders(b"Content-Type", [page.content_type])
        return page.render()


class _BodilessRequest(Request):
    """A request whose body is read past: no page takes one, so none is stored."""

    def gotLength(self, _length: int | None) -> None:
        """Make room for no body, however long the request says it is."""
        super().gotLength(0)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def handleContentChunk(self, data: bytes) -> None:
        """Drop a piece of the body."""


class _Channel(http.HTTPChannel):
    """One connection: the time of a request counts from its beginning, however many pieces it comes in."""

    _idle = False

    @property
    def host(self) -> str:
        """The address of the peer."""
        return str(getattr(self.getPeer(), "host", ""))  # type: ignore[no-untyped-call]  # untyped in Twisted

    def connectionMade(self) -> None:
        """The first request is to come."""
        self.site = cast("PageSite", self.factory)
        self.site.connections.add(self, self.host)
        super().connectionMade()  # type: ignore[no-untyped-call]  # untyped in Twisted

    def dataReceived(self, data: bytes) -> None:
        """Some bytes of a request."""
        if self._idle:
            self._idle = False
            self.setTimeout(REQUEST_TIMEOUT_S)  # type: ignore[no-untyped-call]  # untyped in Twisted
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def resetTimeout(self) -> None:
        """Grant no more time for a piece of a request."""

    def requestDone(self, request: Request) -> None:
        """A request has been answered."""
        super().requestDone(request)  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._idle = True
        self.setTimeout(IDLE_TIMEOUT_S)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection has gone."""
        self.site.connections.remove(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # untyped in Twisted


class PageSite(Site):
    """An HTTP server of a few pages, without an access log. Twisted limits request line and headers to 16 KiB.

    When all connections are taken, the addresses with the most of them lose their oldest.
    """

    protocol = _Channel  # type: ignore[assignment]  # Twisted declares only its own wrapper, which is for HTTP/2

    def __init__(self, pages: Mapping[bytes, Page], reactor: IReactorTime, refusals: Refusals) -> None:
        """Serve ``pages`` by path (``b"/status"``); ``reactor`` times the connections out."""
        super().__init__(  # type: ignore[no-untyped-call]  # untyped in Twisted
            _Pages(pages),
            requestFactory=_BodilessRequest,
            timeout=REQUEST_TIMEOUT_S,
            reactor=reactor,
        )
        self.connections: Presence[_Channel] = Presence(MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS)
        self._refusals = refusals

    def buildProtocol(self, addr: IAddress | None) -> _Channel | None:  # type: ignore[override]  # Twisted's says always
        """A connection; None when it is one too many."""
        host = str(getattr(addr, "host", ""))
        if self.connections.is_full_for(host):
            self._refusals.add(Refusal.FULL_ADDRESS, host)
            return None
        if self.connections.is_full:
            for channel in self.connections.make_room():
                self._refusals.add(Refusal.CROWDED_OUT, channel.host)
                channel.forceAbortClient()  # type: ignore[no-untyped-call]  # untyped in Twisted
        if self.connections.is_full:
            self._refusals.add(Refusal.FULL, host)
            return None
        return cast("_Channel", super().buildProtocol(addr))  # type: ignore[no-untyped-call]  # untyped in Twisted

    def startFactory(self) -> None:
        """Open no access log, and start no clock for one."""
