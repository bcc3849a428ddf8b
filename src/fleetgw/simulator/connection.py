"""A conversation over Twisted: one connection of a vehicle."""

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
    """Speaks for a vehicle inside TLS, from the upgrade to the end.

    :param conversation: what is said.
    :param clock: monotonic time.
    :param listener: called with the events of each step, in order.
    :param lost: called once, behind the last events, when the connection has gone.
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
        """TCP stands. TLS keeps the upgrade request until its handshake is done."""
        self.transport.setTcpNoDelay(True)
        self.transport.write(self._conversation.connected())

    def dataReceived(self, data: bytes) -> None:
        """Plain text from the server."""
        self.carry_out(self._conversation.received(data, self._clock.seconds()))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection has gone, for whichever reason."""
        events = self._conversation.disconnected(why_lost(reason))
        if events:
            self._listener(events)
        self._lost()

    def carry_out(self, output: Output) -> None:
        """Write what a step of the conversation gave, and tell of it."""
        if output.data:
            self.transport.write(output.data)
        if output.events:
            self._listener(output.events)
        if output.ends:
            self.transport.loseConnection()

    def say_goodbye(self) -> None:
        """Close in good order where the connection is open, at once where it is not yet."""
        farewell = self._conversation.goodbye()
        if farewell:
            self.transport.write(farewell)
        else:
            self.transport.abortConnection()

    def cut(self) -> None:
        """Drop the connection without a word."""
        self.transport.abortConnection()


class _Only(Factory):
    """Builds one protocol, which is there already."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, _address: IAddress | None) -> Protocol:
        return self._protocol


def over_tls(connection: Protocol, tls: IOpenSSLClientConnectionCreator, clock: IReactorTime) -> TLSMemoryBIOFactory:
    """A factory whose one protocol is ``connection`` within TLS: ciphertext in and out."""
    return TLSMemoryBIOFactory(tls, True, _Only(connection), clock)  # noqa: FBT003 - Twisted's signature


def why_lost(reason: Failure) -> str:
    """What ended a connection, for people: OpenSSL's own words where it was TLS."""
    error = reason.value
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "TLS: " + ", ".join(text for *_, text in error.args[0])
    return reason.getErrorMessage()
