"""Small pages over plain HTTP, rendered on the reactor's thread."""

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
"""Time for a request to arrive as a whole, from the connection or its first byte on."""

IDLE_TIMEOUT_S = 60
"""Time that a connection may stay idle between two requests."""

MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS = 64, 16
"""Of one site, in all and per IPv4 address or IPv6 /64 network, unless it says otherwise."""

TEXT = b"text/plain; charset=utf-8"


@frozen
class Answer:
    """What a page answers a request with."""

    body: bytes
    code: int = http.OK
    content_type: bytes = TEXT


Query: TypeAlias = "Mapping[str, str]"
"""The parameters of a request by name, the first of each."""

Page: TypeAlias = "Callable[[Query], Answer | Deferred[Answer]]"
"""Called for each request, whatever its method; must not block. The Deferred is cancelled when the client leaves."""


class _Pages(Resource):
    """Answers by exact path, any method alike, as the Go server does."""

    isLeaf = True

    def __init__(self, pages: Mapping[bytes, Page]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._pages = pages

    def render(self, request: Request) -> bytes | int:
        """The page of the request's path, or 404."""
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
    """Set code and type; return the body."""
    request.setResponseCode(answer.code)
    request.responseHeaders.setRawHeaders(b"Content-Type", [answer.content_type])
    return answer.body


def _answer_later(request: Request, awaited: Deferred[Answer]) -> None:
    client_has_left = False

    def left(_reason: Failure) -> None:
        nonlocal client_has_left
        client_has_left = True
        awaited.cancel()

    def failed(reason: Failure) -> Answer:
        if reason.check(CancelledError):
            return Answer(b"ended early\n", http.SERVICE_UNAVAILABLE)
        _log.failure("A page failed", reason)
        return Answer(b"internal error\n", http.INTERNAL_SERVER_ERROR)

    def write(answer: Answer) -> None:
        if not client_has_left:
            body = _begin(request, answer)
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
            request.write(body)
            request.finish()

    request.notifyFinish().addErrback(left)
    awaited.addErrback(failed).addCallback(write)


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

    def __init__(
        self,
        pages: Mapping[bytes, Page],
        reactor: IReactorTime,
        refusals: Refusals,
        max_connections: int = MAX_CONNECTIONS,
        max_connections_per_address: int = MAX_CONNECTIONS_PER_ADDRESS,
    ) -> None:
        """Serve ``pages`` by path (``b"/status"``); ``reactor`` times the connections out."""
        super().__init__(  # type: ignore[no-untyped-call]  # untyped in Twisted
            _Pages(pages),
            requestFactory=_BodilessRequest,
            timeout=REQUEST_TIMEOUT_S,
            reactor=reactor,
        )
        self.connections: Presence[_Channel] = Presence(max_connections, max_connections_per_address)
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
