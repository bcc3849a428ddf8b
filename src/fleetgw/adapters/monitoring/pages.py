"""Small pages over plain HTTP, rendered on the reactor's thread."""

from collections.abc import Callable, Mapping

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

_STAGE_TIMEOUT_S = 60
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
    """One connection: a request has a minute to come, and so has the next one, however many pieces it comes in."""

    def resetTimeout(self) -> None:
        """Grant no more time for a piece of a request."""


class PageSite(Site):
    """An HTTP server of a few pages, without an access log. Twisted limits request line and headers to 16 KiB."""

    protocol = _Channel  # type: ignore[assignment]  # Twisted declares only its own wrapper, which is for HTTP/2

    def __init__(self, pages: Mapping[bytes, Page], reactor: IReactorTime) -> None:
        """Serve ``pages`` by path (``b"/status"``); ``reactor`` times the connections out."""
        super().__init__(  # type: ignore[no-untyped-call]  # untyped in Twisted
            _Pages(pages),
            requestFactory=_BodilessRequest,
            timeout=_STAGE_TIMEOUT_S,
            reactor=reactor,
        )

    def startFactory(self) -> None:
        """Open no access log, and start no clock for one."""
