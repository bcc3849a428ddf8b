"""A minimal gateway for tests of vehicles: takes records over mTLS WebSocket, with scripted replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOFactory
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from fleetgw.adapters.codec import envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IAddress, IReactorTime

    from fleetgw.domain.records import Envelope
    from fleetgw.simulator.certificates import Credential


def ack(record: Envelope) -> bytes:
    """The acknowledgement of a record."""
    head, tail = envelope.ack_parts(record.topic, len(record.txid))
    return head + record.txid + tail


class StubGateway(Factory):
    """A server for tests of vehicles; no TLS of its own, see ``over_tls``.

    :ivar received: received envelopes of all connections, in order.
    :ivar replies: gives the messages that answer a record; an acknowledgement by default.
    :ivar closes: the close codes that vehicles sent.
    """

    noisy = False

    def __init__(self) -> None:
        self.received: list[Envelope] = []
        self.closes: list[int] = []
        self.replies: Callable[[Envelope], Sequence[bytes]] = lambda record: [ack(record)]

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002 - Twisted's signature
        """A new connection."""
        return _StubConnection(self)

    def over_tls(self, server: Credential, authority_pem: bytes, clock: IReactorTime | None = None) -> TLSMemoryBIOFactory:
        """The factory to listen with: client certificates of ``authority_pem`` are required.

        :param clock: for tests in memory; the reactor by default.
        """
        options = CertificateOptions(
            privateKey=server.key,  # type: ignore[arg-type]  # pyOpenSSL takes cryptography's objects and deprecates its own
            certificate=server.certificate,  # type: ignore[arg-type]  # as the key
            trustRoot=trustRootFromCertificates([Certificate.loadPEM(authority_pem)]),
        )
        wrapped = TLSMemoryBIOFactory(options, False, self, clock)  # noqa: FBT003 - Twisted's signature
        wrapped.noisy = False
        return wrapped


class _StubConnection(Protocol):
    def __init__(self, gateway: StubGateway) -> None:
        self._gateway = gateway
        self._protocol = ServerProtocol()

    def dataReceived(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            match event:
                case Request():
                    protocol.send_response(protocol.accept(event))
                case Frame(opcode=Opcode.BINARY):
                    record = envelope.read(bytes(event.data))
                    self._gateway.received.append(record)
                    for reply in self._gateway.replies(record):
                        protocol.send_binary(reply)
                case Frame(opcode=Opcode.CLOSE):
                    self._gateway.closes.append(Close.parse(bytes(event.data)).code)
        if self.transport is not None:
            self.transport.write(b"".join(protocol.data_to_send()))
            if protocol.close_expected():
                self.transport.loseConnection()
