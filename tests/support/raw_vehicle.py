"""A client that sends any bytes, with or without TLS, and keeps all that it receives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from zope.interface import implementer

from fleetgw.simulator.connection import over_tls
from fleetgw.testing.memory_transport import MemoryLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IProtocol, IProtocolFactory, ITCPTransport
    from twisted.internet.task import Clock
    from twisted.protocols.tls import TLSMemoryBIOProtocol
    from twisted.python.failure import Failure

    from fleetgw.simulator.certificates import Credential

_SERVER_ADDRESS = IPv4Address("TCP", "127.0.0.1", 4443)

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""The example's request of RFC 6455, section 1.2."""


@implementer(IOpenSSLClientConnectionCreator)
class RawClientTls:
    """TLS of a client that trusts any server, with options of the test.

    :param credential: certificate and key; None for a client without.
    :param chain: the intermediates that go with the certificate.
    :param version: the only protocol version to speak, such as ``SSL.TLS1_2_VERSION``.
    :param protocols: offered by ALPN.

    :ivar context: of OpenSSL.
    """

    def __init__(
        self,
        credential: Credential | None,
        chain: Sequence[Credential] = (),
        version: int | None = None,
        protocols: Sequence[bytes] = (),
    ) -> None:
        self.context = context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if credential is not None:
            context.use_certificate(credential.certificate)
            context.use_privatekey(credential.key)
        for link in chain:
            context.add_extra_chain_cert(link.certificate)
        if version is not None:
            # versions that OpenSSL itself has given up are spoken at its lowest security level only
            context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
            context.set_min_proto_version(version)
            context.set_max_proto_version(version)
        if protocols:
            context.set_alpn_protos(list(protocols))

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002  Twisted's
        """See ``IOpenSSLClientConnectionCreator``."""
        return SSL.Connection(self.context, None)


class RawVehicle(Protocol):
    """One connection to a server's factory in memory. Each call moves bytes until both sides are quiet.

    :param server: the factory that would be given to ``listenTCP``.
    :param tls: None to speak plain TCP.
    :param clock: the one that the server uses.

    :ivar received: every byte that came, decrypted; ``take`` empties it.
    :ivar lost: why the connection ended, None while it stands.
    """

    transport: ITCPTransport

    def __init__(self, server: IProtocolFactory, tls: RawClientTls | None, clock: Clock, port: int = 50_000) -> None:
        self.received = bytearray()
        self.lost: Failure | None = None
        self._clock = clock
        client: IProtocol = self
        if tls is not None:
            client = over_tls(self, tls, clock).buildProtocol(None)
        address = IPv4Address("TCP", "127.0.0.1", port)
        protocol = server.buildProtocol(address)
        if protocol is None:
            raise RuntimeError("the server's factory takes no connection")
        self.link = MemoryLink(client, protocol, (address, _SERVER_ADDRESS), clock)

    def dataReceived(self, data: bytes) -> None:
        """Keep received bytes."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep the reason."""
        self.lost = reason

    def send(self, data: bytes) -> None:
        """Write, and let the server answer."""
        self.transport.write(data)
        self.link.pump()

    def take(self) -> bytes:
        """The bytes received since the last call."""
        taken = bytes(self.received)
        self.received.clear()
        return taken

    def exchange(self, data: bytes) -> bytes:
        """Write, and return the answer."""
        self.send(data)
        return self.take()

    def upgrade(self) -> bytes:
        """Finish the TLS handshake and send the upgrade request; returns the answer."""
        self.link.pump()
        return self.exchange(UPGRADE)

    def close(self) -> None:
        """Close TLS and TCP in order, without a close frame."""
        self.transport.loseConnection()
        self.link.pump()

    def cut(self) -> None:
        """Abort the connection."""
        self.link.client.abortConnection()
        self.link.pump()
