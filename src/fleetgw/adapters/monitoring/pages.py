"""A small HTTP server of pages, which are rendered on the reactor's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from fleetgw.adapters.listening.presence import Presence
from fleetgw.adapters.listening.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IReactorTime
    from twisted.python.failure import Failure

    from fleetgw.adapters.listening.refusals import Refusals

_log = Logger()

REQUEST_TIMEOUT_S = 10
"""Longest time for a request to arrive completely, from the connection or the request's first byte on."""

IDLE_TIMEOUT_S = 60
"""Longest time that a connection may stay idle between two requests."""

MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS = 64, 16
"""Default maximum of a site's connections: in all, and per IPv4 address or IPv6 /64 network."""

TEXT = b"text/plain; charset=utf-8"


@frozen
class Answer:
    """A response."""

    body: bytes
    code: int = http.OK
    content_type: bytes = TEXT


Query: TypeAlias = "Mapping[str, str]"
"""Parameters of a request by name; of repeated ones the first."""

Page: TypeAlias = "Callable[[Query], Answer | Deferred[Answer]]"
"""Called for each request of any method; must not block. The Deferred is cancelled when the client disconnects."""


class _Pages(Resource):
    """Dispatches requests by exact path and ignores the method, as the Go server does."""

    isLeaf = True

    def __init__(self, pages: Mapping[bytes, Page]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._pages = pages

    def render(self, request: Request) -> bytes | int:
        """Render the page of the request's path, or 404."""
        request.responseHeaders.setRawHeaders(b"Server", [b"fleetgw"])
        page = self._pages.get(request.path)
        if page is None:
            request.responseHeaders.setRawHeaders(b"X-Content-Type-Options", [b"nosniff"])
            return _begin(request, _NOT_FOUND)
        answer = page(_query(request))
        if isinstance(answer, Answer):
            return _begin(request, answer)
        _answer_later(request, answer)
        return NOT_DONE_YET


_NOT_FOUND = Answer(b"404 page not found\n", http.NOT_FOUND)


def _query(request: Request) -> Query:
    return {name.decode("utf-8", "replace"): first.decode("utf-8", "replace") for name, (first, *_) in request.args.items()}


def _begin(request: Request, answer: Answer) -> bytes:
    """Set status code and content type; return the body."""
    request.setResponseCode(answer.code)
    request.responseHeaders.setRawHeaders(b"Content-Type", [answer.content_type])
    return answer.body


def _answer_later(request: Request, awaited: Deferred[Answer]) -> None:
    disconnected = False

    def client_disconnected(_reason: Failure) -> None:
        nonlocal disconnected
        disconnected = True
        awaited.cancel()

    def failed(reason: Failure) -> Answer:
        if reason.check(CancelledError):
            return Answer(b"ended early\n", http.SERVICE_UNAVAILABLE)
        _log.failure("A page failed", reason)
        return Answer(b"internal error\n", http.INTERNAL_SERVER_ERROR)

    def write(answer: Answer) -> None:
        if not disconnected:
            body = _begin(request, answer)
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
            request.write(body)
            request.finish()

    request.notifyFinish().addErrback(client_disconnected)
    awaited.addErrback(failed).addCallback(write)


class _BodilessRequest(Request):
    """A request whose body is discarded: no page reads one."""

    def gotLength(self, _length: int | None) -> None:
        """Allocate nothing for the body, whatever length the request announces."""
        super().gotLength(0)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def handleContentChunk(self, data: bytes) -> None:
        """Discard a part of the body."""


class _Channel(http.HTTPChannel):
    """A connection whose request timeout counts from the request's first byte, so that slow clients cannot extend it."""

    _idle = False

    @property
    def host(self) -> str:
        """Address of the peer."""
        return str(getattr(self.getPeer(), "host", ""))  # type: ignore[no-untyped-call]  # untyped in Twisted

    def connectionMade(self) -> None:
        """Register the connection."""
        self.site = cast("PageSite", self.factory)
        self.site.connections.add(self, self.host)
        super().connectionMade()  # type: ignore[no-untyped-call]  # untyped in Twisted

    def dataReceived(self, data: bytes) -> None:
        """Start the request timeout with the first bytes of a request."""
        if self._idle:
            self._idle = False
            self.setTimeout(REQUEST_TIMEOUT_S)  # type: ignore[no-untyped-call]  # untyped in Twisted
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def resetTimeout(self) -> None:
        """Keep the timeout: a further part of a request does not extend it."""

    def requestDone(self, request: Request) -> None:
        """Start the idle timeout after a response."""
        super().requestDone(request)  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._idle = True
        self.setTimeout(IDLE_TIMEOUT_S)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Unregister the connection."""
        self.site.connections.remove(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # untyped in Twisted


class PageSite(Site):
    """An HTTP server of a few pages, without an access log. Twisted limits request line and headers to 16 KiB.

    When the maximum number of connections is reached, the addresses with the most connections lose their oldest.
    """

    protocol = _Channel  # type: ignore[assignment]  # Twisted declares only its own wrapper, which is for HTTP/2

    def __init__(
        self,
        pages: Mapping[bytes, Page],
        reactor: IReactorTime,
        refusals: Refusals,
        max_connections: int = MAX_CONNECTIONS,
        max_connections_per_address: int = MAX_CONNECTIONS_PER_ADDRESS,
    ) -> None:
        """Serve ``pages`` by path (``b"/status"``); ``reactor`` is the clock of the timeouts."""
        super().__init__(  # type: ignore[no-untyped-call]  # untyped in Twisted
            _Pages(pages),
            requestFactory=_BodilessRequest,
            timeout=REQUEST_TIMEOUT_S,
            reactor=reactor,
        )
        self.connections: Presence[_Channel] = Presence(max_connections, max_connections_per_address)
        self._refusals = refusals

    def buildProtocol(self, addr: IAddress | None) -> _Channel | None:  # type: ignore[override]  # Twisted's signature has no None
        """Make the protocol of a connection; None when there are too many."""
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
        """Do nothing: there is no access log to open, and no clock for its timestamps."""
