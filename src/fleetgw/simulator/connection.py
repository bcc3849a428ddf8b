"""One connection of a simulated vehicle, on Twisted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IAddress, IOpenSSLClientConnectionCreator, IReactorTime, ITCPTransport
    from twisted.python.failure import Failure

    from fleetgw.simulator.conversation import Conversation, Event, Output


class VehicleConnection(Protocol):
    """The protocol of a vehicle inside TLS, from the upgrade to the end of the connection.

    :param conversation: the vehicle's side of the protocol.
    :param clock: monotonic time.
    :param listener: called with the events of each step, in order.
    :param lost: called once, after the last events, when the connection is lost.
    """

    transport: ITCPTransport  # set before connectionMade; TLS passes on the methods of TCP

    def __init__(
        self,
        conversation: Conversation,
        clock: IReactorTime,
        listener: Callable[[Sequence[Event]], None],
        lost: Callable[[], None],
    ) -> None:
        self._conversation = conversation
        self._clock = clock
        self._listener = listener
        self._lost = lost

    def connectionMade(self) -> None:
        """TCP is connected. TLS keeps the upgrade request until its handshake is done."""
        self.transport.setTcpNoDelay(True)
        self.transport.write(self._conversation.connected())

    def dataReceived(self, data: bytes) -> None:
        """Plain text from the server."""
        self.apply(self._conversation.received(data, self._clock.seconds()))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is lost, for any reason."""
        events = self._conversation.disconnected(loss_reason(reason))
        if events:
            self._listener(events)
        self._lost()

    def apply(self, output: Output) -> None:
        """Write the output of a step of the conversation, and report its events."""
        if output.data:
            self.transport.write(output.data)
        if output.events:
            self._listener(output.events)
        if output.ends:
            self.transport.loseConnection()

    def close(self) -> None:
        """Start the closing handshake where the connection is open; else abort it."""
        close_frame = self._conversation.close()
        if close_frame:
            self.transport.write(close_frame)
        else:
            self.transport.abortConnection()

    def abort(self) -> None:
        """Drop the connection without a closing handshake."""
        self.transport.abortConnection()


class _SingleFactory(Factory):
    """Builds one given protocol."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, _address: IAddress | None) -> Protocol:
        return self._protocol


def over_tls(connection: Protocol, tls: IOpenSSLClientConnectionCreator, clock: IReactorTime) -> TLSMemoryBIOFactory:
    """A factory whose one protocol is ``connection`` within TLS: ciphertext in and out."""
    return TLSMemoryBIOFactory(tls, True, _SingleFactory(connection), clock)  # noqa: FBT003 - Twisted's signature


def loss_reason(reason: Failure) -> str:
    """The reason why a connection was lost, as text: OpenSSL's where it was TLS."""
    error = reason.value
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "TLS: " + ", ".join(text for *_, text in error.args[0])
    return reason.getErrorMessage()
