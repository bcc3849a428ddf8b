"""The server's side of one HTTP connection: bounds on its requests, and on the responses that wait for its client."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.protocol import connectionDone
from twisted.web import http
from twisted.web.server import Request

from fleetgw.adapters.monitoring.pages import TEXT

if TYPE_CHECKING:
    from typing import IO

    from twisted.python.failure import Failure

    from fleetgw.adapters.listening.presence import Presence

REQUEST_TIMEOUT_S = 10
"""Longest time for a request to arrive completely, from the connection or the request's first byte on."""

IDLE_TIMEOUT_S = 60
"""Longest time that a connection may stay idle between two requests."""

MAX_BODY_BYTES = 16 * 1024
"""Maximum length of a request's body; the whole of a longer one is discarded."""


class BoundedRequest(Request):
    """A request whose body is kept in memory as far as it is small.

    :ivar is_too_large: whether the body was discarded.
    """

    is_too_large = False

    @property
    def held_body(self) -> IO[bytes]:
        """The body as far as it has been kept."""
        return cast("IO[bytes]", self.content)

    def gotLength(self, _length: int | None) -> None:
        """Allocate nothing for the body, whatever length the request announces."""
        super().gotLength(0)

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a part of the body, or discard all of it."""
        if self.held_body.tell() + len(data) > MAX_BODY_BYTES:
            self.is_too_large = True
            self.held_body.seek(0)
            self.held_body.truncate()
        if not self.is_too_large:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Answer; without reading parameters from the body."""
        self._parsePOSTFormSubmission = False
        super().requestReceived(command, path, version)


class PageChannel(http.HTTPChannel):
    """A connection whose request timeout counts from the request's first byte, so that slow clients cannot extend it.

    :ivar connections: those of the site, which sets it.
    """

    connections: Presence[PageChannel]

    _idle = False

    @property
    def host(self) -> str:
        """Address of the peer."""
        return str(getattr(self.getPeer(), "host", ""))

    def connectionMade(self) -> None:
        """Register the connection."""
        self.connections.add(self, self.host)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Start the request timeout with the first bytes of a request, which may come behind another request."""
        self._request_begins()
        super().dataReceived(data)
        if (self._buffer or self.requests) and not self.paused:
            self._request_begins()

    def _request_begins(self) -> None:
        if self._idle:
            self._idle = False
            self.setTimeout(REQUEST_TIMEOUT_S)

    def allContentReceived(self) -> None:
        """Answer the request; as long as that takes, no timeout runs."""
        self._idle = False
        super().allContentReceived()

    def pauseProducing(self) -> None:
        """The client does not read: answer no further request, those included that have arrived."""
        self.paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read everything."""
        self.paused = False
        super().resumeProducing()
        if self._buffer:
            self.dataReceived(b"")

    def lineLengthExceeded(self, _line: bytes) -> None:
        """Refuse a request line or header that does not end."""
        self._refuse(http.BAD_REQUEST, f"the request line or a header is longer than {self.MAX_LENGTH} bytes")
        self.loseConnection()

    def timeoutConnection(self) -> None:
        """Close the connection, with an answer to a request that has begun."""
        if self._buffer or self.requests:
            self._refuse(http.REQUEST_TIMEOUT, f"the request has not arrived within {REQUEST_TIMEOUT_S} s")
        super().timeoutConnection()

    def _refuse(self, code: int, error: str) -> None:
        """Answer a request that is not complete; the caller closes the connection."""
        lines = b"HTTP/1.1 %d %s" % (code, http.RESPONSES[code]), b"Content-Type: %s" % TEXT, b"Connection: close", b""
        self.write(b"\r\n".join((*lines, f"{error}\n".encode())))

    def leave(self) -> None:
        """Close the connection, after the response that is under way."""
        self.persistent = False
        if not self.requests and not getattr(self.transport, "disconnecting", False):
            self.loseConnection()

    def resetTimeout(self) -> None:
        """Keep the timeout: a further part of a request does not extend it."""

    def requestDone(self, request: Request) -> None:
        """Start the idle timeout after a response."""
        super().requestDone(request)
        self._idle = True
        self.setTimeout(IDLE_TIMEOUT_S)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Unregister the connection."""
        self.connections.remove(self)
        super().connectionLost(reason)
