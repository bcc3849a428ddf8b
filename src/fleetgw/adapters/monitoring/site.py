"""A small HTTP server of pages, which are rendered on the reactor's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from fleetgw.adapters.listening.presence import Presence
from fleetgw.adapters.listening.refusals import Refusal
from fleetgw.adapters.monitoring.access import AccessControl
from fleetgw.adapters.monitoring.channel import MAX_BODY_BYTES, REQUEST_TIMEOUT_S, BoundedRequest, PageChannel
from fleetgw.adapters.monitoring.pages import Access, Answer, PageRefusal, PageRequest, RouteTable, WrongMethod, json_error
from fleetgw.adapters.monitoring.streams import Stream, StreamReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IReactorTime
    from twisted.web.server import Request

    from fleetgw.adapters.listening.refusals import Refusals
    from fleetgw.adapters.monitoring.client_faults import ClientFaults
    from fleetgw.adapters.monitoring.pages import Route

_log = Logger()

MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS = 64, 16
"""Default maximum of a site's connections: in all, and per IPv4 address or IPv6 /64 network."""

MAX_STREAMS = 256
"""Maximum number of streams of the status port. They have room of their own beside the connections above, so that probes and
scrapers are answered while as many pages are open."""

_NOT_FOUND = Answer(b"404 page not found\n", http.NOT_FOUND, headers={b"X-Content-Type-Options": b"nosniff"})

_SECURITY_HEADERS = {
    b"Content-Security-Policy": b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    b"X-Content-Type-Options": b"nosniff",
    b"Referrer-Policy": b"no-referrer",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Cache-Control": b"no-store",
}
"""Of all responses to operators' browsers."""


class _Pages(Resource):
    """Dispatches requests to the pages of routes."""

    isLeaf = True

    def __init__(
        self,
        routes: Iterable[Route],
        access: AccessControl,
        faults: ClientFaults,
        clock: IReactorTime,
        max_streams: int,
    ) -> None:
        super().__init__()
        self._routes = RouteTable(routes)
        self._access = access
        self._faults = faults
        self._clock = clock
        self._max_streams = max_streams
        self._streams: set[StreamReader] = set()
        access.replaced = self.end_streams

    def end_streams(self) -> None:
        """End every stream."""
        for reader in [*self._streams]:
            reader.end()

    def render(self, request: Request) -> bytes | int:
        """Answer with the route's page, or with the reason why there is none."""
        request.responseHeaders.setRawHeaders(b"Server", [b"fleetgw"])
        path = request.path.decode("ascii", "replace")
        answer = self._answer(cast("BoundedRequest", request), path)
        if isinstance(answer, Stream) and len(self._streams) >= self._max_streams:
            fix = "close pages that are not needed, and ask again"
            answer = _error(path, f"{self._max_streams} pages and tools are open already", fix, http.SERVICE_UNAVAILABLE)
            answer = evolve(answer, headers={b"Connection": b"close"})
            cast("PageChannel", request.channel).leave()  # kept open, it would take the place of a probe
        if isinstance(answer, Answer):
            return _begin(request, answer)
        if isinstance(answer, Stream):
            self._begin_stream(request, answer)
        else:
            _answer_later(request, path, answer)
        return NOT_DONE_YET

    def _answer(self, request: BoundedRequest, path: str) -> Answer | Deferred[Answer] | Stream:
        method, query = request.method.decode("ascii", "replace"), _query(request)
        found = self._routes.find(method, path, query)
        if found is None:
            fix = "docs/status-port.md lists the paths"
            return _error(path, "there is nothing at this path", fix, http.NOT_FOUND) if _is_api(path) else _NOT_FOUND
        if isinstance(found, WrongMethod):
            allowed = ", ".join(found.allowed)
            answer = _error(path, f"this path does not take {method[:20]}", f"use {allowed}", http.NOT_ALLOWED)
            return evolve(answer, headers={b"Allow": allowed.encode()})
        if found.route.access is not Access.PROBE:
            for name, value in _SECURITY_HEADERS.items():
                request.responseHeaders.setRawHeaders(name, [value])
        peer = cast("PageChannel", request.channel).host
        denied = self._access.denial(found.route.access, peer, request.requestHeaders)
        if denied is not None:
            self._faults.refused(denied.refusal, denied.error, peer)
            answer = _error(path, denied.error, denied.fix, denied.code)
            return evolve(answer, headers={b"WWW-Authenticate": b"Bearer"}) if denied.code == http.UNAUTHORIZED else answer
        if request.is_too_large and found.route.methods:
            fix = f"send at most {MAX_BODY_BYTES} bytes"
            return _error(path, "the request's body is too large", fix, http.REQUEST_ENTITY_TOO_LARGE)
        try:
            return found.route.page(PageRequest(method, path, found.values, query, request.held_body.read()))
        except Exception:  # of one page: the site serves on
            return _failed(path, Failure())

    def _begin_stream(self, request: Request, stream: Stream) -> None:
        _begin(request, Answer(b"", content_type=stream.content_type))
        if request.method == b"HEAD":
            request.finish()
            return
        reader = StreamReader(request, self._clock, self._faults.dropped_chunk)
        self._streams.add(reader)
        request.notifyFinish().addBoth(lambda _: self._streams.discard(reader))
        try:
            reader.begin(stream.subscribe)
        except Exception:  # of one source: the headers have left, so that nothing but the end can tell
            _log.failure("A stream failed")
            reader.end()


def _is_api(path: str) -> bool:
    return path.startswith("/api/")


def _error(path: str, error: str, fix: str, code: int) -> Answer:
    """A refusal: JSON for programs, text for people."""
    return json_error(error, fix, code) if _is_api(path) else Answer(f"{error}; {fix}\n".encode(), code)


def _failed(path: str, reason: Failure) -> Answer:
    """The response of a page that has raised an exception."""
    if isinstance(reason.value, PageRefusal):
        return _error(path, reason.value.error, reason.value.fix, reason.value.code)
    if reason.check(CancelledError):
        return _error(path, "ended early", "the gateway stops", http.SERVICE_UNAVAILABLE)
    _log.failure("A page failed", reason)
    return _error(path, "internal error", "see the gateway's log", http.INTERNAL_SERVER_ERROR)


def _query(request: Request) -> Mapping[str, str]:
    """The first value of each parameter; empty for one without a value, which Twisted's ``args`` leave out."""
    query = request.uri.partition(b"?")[2].decode("utf-8", "replace")
    return dict(reversed(parse_qsl(query, keep_blank_values=True)))


def _begin(request: Request, answer: Answer) -> bytes:
    """Set status code and headers; return the body."""
    request.setResponseCode(answer.code)
    request.responseHeaders.setRawHeaders(b"Content-Type", [answer.content_type])
    for name, value in answer.headers.items():
        request.responseHeaders.setRawHeaders(name, [value])
    return answer.body


def _answer_later(request: Request, path: str, awaited: Deferred[Answer]) -> None:
    disconnected = False

    def client_disconnected(_reason: Failure) -> None:
        nonlocal disconnected
        disconnected = True
        awaited.cancel()

    def write(answer: Answer) -> None:
        if not disconnected:
            body = _begin(request, answer)
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
            request.write(body)
            request.finish()

    request.notifyFinish().addErrback(client_disconnected)
    awaited.addErrback(lambda reason: _failed(path, reason)).addCallback(write)


class PageSite(Site):
    """An HTTP server of a few pages, without an access log. Twisted limits request line and headers to 16 KiB.

    When the maximum number of connections is reached, the addresses with the most connections lose their oldest.
    """

    protocol = PageChannel  # type: ignore[assignment]  # Twisted declares only its own wrapper, which is for HTTP/2

    def __init__(
        self,
        routes: Iterable[Route],
        reactor: IReactorTime,
        refusals: Refusals,
        faults: ClientFaults,
        access: AccessControl | None = None,
        max_connections: int = MAX_CONNECTIONS,
        max_connections_per_address: int = MAX_CONNECTIONS_PER_ADDRESS,
        max_streams: int = 0,
    ) -> None:
        """Serve the pages of ``routes``.

        :param reactor: the clock of the timeouts.
        :param access: for routes that not every client may use; None where there are none.
        """
        self._pages = _Pages(routes, access or AccessControl(), faults, reactor, max_streams)
        super().__init__(
            self._pages,
            requestFactory=BoundedRequest,
            timeout=REQUEST_TIMEOUT_S,
            reactor=reactor,
        )
        self.connections: Presence[PageChannel] = Presence(
            max_connections + max_streams, max_connections_per_address + max_streams
        )
        self._refusals = refusals

    def buildProtocol(self, addr: IAddress | None) -> PageChannel | None:  # type: ignore[override]  # Twisted's signature has no None
        """Make the protocol of a connection; None when there are too many."""
        host = str(getattr(addr, "host", ""))
        if self.connections.is_full_for(host):
            self._refusals.add(Refusal.PORT_FULL_ADDRESS, host)
            return None
        if self.connections.is_full:
            for channel in self.connections.make_room():
                self._refusals.add(Refusal.PORT_CROWDED_OUT, channel.host)
                channel.forceAbortClient()
        if self.connections.is_full:
            self._refusals.add(Refusal.PORT_FULL, host)
            return None
        channel = cast("PageChannel", super().buildProtocol(addr))
        channel.connections = self.connections
        return channel

    def startFactory(self) -> None:
        """Do nothing: there is no access log to open, and no clock for its timestamps."""

    def stopFactory(self) -> None:
        """End streams and connections, once the port is closed."""
        for channel in self.connections:
            channel.leave()
        self._pages.end_streams()
