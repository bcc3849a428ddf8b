"""A connection in memory to a site of pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from twisted.web.server import Site


@frozen
class Response:
    """A response, or the part of it that has arrived.

    :ivar headers: by name.
    """

    code: int
    headers: dict[str, str]
    body: bytes


class HttpConnection:
    """A client's side of one connection.

    :ivar transport: holds the bytes of the site.
    """

    def __init__(self, site: Site, peer: str = "127.0.0.1") -> None:
        site.startFactory()
        address = IPv4Address("TCP", peer, 1)
        protocol = site.buildProtocol(address)
        if protocol is None:
            raise ConnectionRefusedError(peer)
        self.protocol = protocol
        self.transport = StringTransport(peerAddress=address)
        self.transport.abortConnection = self.close  # type: ignore[method-assign]
        self.protocol.makeConnection(self.transport)

    def send(self, method: str, target: str, body: bytes = b"", version: str = "HTTP/1.1", **headers: str) -> None:
        """Send a request; underscores in names of headers stand for hyphens."""
        lines = [f"{method} {target} {version}", *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items())]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)

    def received(self) -> Response:
        """The response so far."""
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        return Response(int(status_line.split()[1]), dict(line.split(": ", 1) for line in lines), body)

    def ask(self, method: str, target: str, body: bytes = b"", version: str = "HTTP/1.1", **headers: str) -> Response:
        """Send a request, and return the response so far."""
        self.transport.clear()
        self.send(method, target, body, version, **headers)
        return self.received()

    def close(self) -> None:
        """End the connection, as either side may do."""
        if not self.transport.disconnected:
            self.transport.disconnected = True
            self.protocol.connectionLost(Failure(ConnectionDone()))
