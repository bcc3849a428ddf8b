"""The connection of one request: it takes in a bounded number of bytes, and ends at once when the request ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from attrs import frozen
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime
    from twisted.web.client import URI
    from twisted.web.iweb import IPolicyForHTTPS

MAX_HEAD_BYTES = 128 * 1024
"""Maximum number of bytes before the body, with those of the TLS handshake: Twisted does not bound the number of headers."""


@implementer(IAgentEndpointFactory)
class OneConnection:
    """Makes the connection of one request, and bounds it below TLS: no end of TLS has to be awaited.

    :ivar max_bytes: the connection is cut when it has taken in more.
    :ivar taken_bytes: number of bytes that it has taken in.
    """

    def __init__(self, reactor: IReactorTime, tls: IPolicyForHTTPS) -> None:
        self.max_bytes = MAX_HEAD_BYTES
        self.taken_bytes = 0
        self._reactor = reactor
        self._tls = tls
        self._protocol: _Counted | None = None

    @property
    def fault(self) -> str:
        """The reason for which the connection is cut; empty when it need not be."""
        return f"sent more than {self.max_bytes} bytes" if self.taken_bytes > self.max_bytes else ""

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See ``IAgentEndpointFactory``."""
        endpoint = _Endpoint(HostnameEndpoint(self._reactor, uri.host.decode("ascii"), uri.port), self)
        if uri.scheme == b"http":
            return endpoint
        return wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)

    def made(self, protocol: _Counted) -> None:
        """The connection is there."""
        self._protocol = protocol

    def abort(self) -> None:
        """End the connection at once, whatever waits to be sent or read. Does nothing when there is none."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.abortConnection()


@implementer(IStreamClientEndpoint)
@frozen
class _Endpoint:
    endpoint: IStreamClientEndpoint
    connection: OneConnection

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connecting = self.endpoint.connect(_CountedFactory(protocolFactory, self.connection))
        return connecting.addCallback(lambda counted: cast("_Counted", counted).wrappedProtocol)


class _Counted(ProtocolWrapper):
    """Counts the bytes that come in."""

    factory: _CountedFactory

    def connectionMade(self) -> None:
        self.factory.connection.made(self)

    def dataReceived(self, data: bytes) -> None:
        connection = self.factory.connection
        connection.taken_bytes += len(data)
        super().dataReceived(data)  # may be the end of the headers, so that more is admitted
        if connection.fault:
            connection.abort()


class _CountedFactory(WrappingFactory[_Counted]):
    noisy = False
    protocol = _Counted

    def __init__(self, factory: IProtocolFactory, connection: OneConnection) -> None:
        super().__init__(factory)
        self.connection = connection
