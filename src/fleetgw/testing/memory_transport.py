"""A connection in memory: two transports back to back that move bytes only when told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from fleetgw.adapters.ingress.tls import VehicleTransport
from fleetgw.adapters.ingress.vehicle_socket import READ_BYTES, read_buffer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.address import IPv4Address
    from twisted.internet.interfaces import IProtocol
    from twisted.internet.task import Clock

_PRODUCER_PAUSED_ABOVE_BYTES = 65_536
_TURNS = 1000


@implementer(ITCPTransport, IConsumer, IPushProducer)
class MemoryTransport:
    """One end of a connection in memory.

    Bytes that its protocol writes wait here until ``deliver``; a protocol that has paused gets none. As with sockets,
    nothing is called back from within ``write``, ``loseConnection`` or ``abortConnection``. The gateway's protocol reads as
    from a ``VehicleSocket``: from the shared buffer, at most ``READ_BYTES`` at a time.
    """

    def __init__(self, protocol: IProtocol, host: IPv4Address, peer: IPv4Address) -> None:
        self.protocol = protocol
        self.disconnected = False
        self.reading = True
        self._host = host
        self._peer = peer
        self._unsent = bytearray()
        self._closing: Exception | None = None
        self._producer: IPushProducer | None = None
        self._producer_is_paused = False

    def deliver(self, other: MemoryTransport) -> bool:
        """Move what was written here to ``other``'s protocol; close both ends when it is time. Whether anything happened."""
        moved = False
        if self._unsent and other.reading and not other.disconnected:
            other._read(self._unsent)
            self._let_produce()
            moved = True
        elif self._unsent and other.disconnected:
            self._unsent.clear()
        if self._closing is None or self.disconnected or (self._unsent and not isinstance(self._closing, ConnectionAborted)):
            return moved
        other.lost(ConnectionLost() if isinstance(self._closing, ConnectionAborted) else ConnectionDone())
        self.lost(self._closing)
        return True

    def _read(self, sent: bytearray) -> None:
        """Take bytes from ``sent``, as one read of a socket does."""
        if isinstance(self.protocol, VehicleTransport):
            size = min(len(sent), READ_BYTES)
            read_buffer[:size] = sent[:size]
            del sent[:size]
            self.protocol.bytes_read(size)
        else:
            data = bytes(sent)
            sent.clear()
            self.protocol.dataReceived(data)

    def lost(self, reason: Exception) -> None:
        """The connection has gone: tell the protocol, once."""
        if not self.disconnected:
            self.disconnected = True
            self._unsent.clear()
            self.protocol.connectionLost(Failure(reason))

    def write(self, data: bytes) -> None:
        """See ``ITransport``."""
        if self._closing is not None or self.disconnected:
            return
        self._unsent += data
        if len(self._unsent) > _PRODUCER_PAUSED_ABOVE_BYTES and self._producer is not None:
            self._producer_is_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See ``ITransport``."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """See ``ITransport``: closes behind what was written."""
        if self._closing is None:
            self._closing = ConnectionDone()

    def loseWriteConnection(self) -> None:
        """Closes both ways: half-open connections are not played."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """See ``ITCPTransport``: what was written and not delivered is lost."""
        self._unsent.clear()
        self._closing = ConnectionAborted()

    def getHost(self) -> IPv4Address:
        """See ``ITransport``."""
        return self._host

    def getPeer(self) -> IPv4Address:
        """See ``ITransport``."""
        return self._peer

    def pauseProducing(self) -> None:
        """The protocol wants nothing more for now."""
        self.reading = False

    def resumeProducing(self) -> None:
        """The protocol reads on."""
        self.reading = True

    def stopProducing(self) -> None:
        """See ``IProducer``."""
        self.loseConnection()

    def registerProducer(  # type: ignore[override]  # of the two kinds of producer only this one is played
        self,
        producer: IPushProducer,
        streaming: bool,  # noqa: FBT001 - as in IConsumer
    ) -> None:
        """See ``IConsumer``; TLS always streams."""
        if not streaming:
            raise NotImplementedError("only streaming producers write to a connection in memory")
        self._producer = producer

    def unregisterProducer(self) -> None:
        """See ``IConsumer``."""
        self._producer = None
        self._producer_is_paused = False

    def getTcpNoDelay(self) -> bool:
        """There is no delay in memory."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001 - as in ITCPTransport
        """Nothing to set."""

    def getTcpKeepAlive(self) -> bool:
        """Nothing dies unseen in memory."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: FBT001 - as in ITCPTransport
        """Nothing to set."""

    def _let_produce(self) -> None:
        if self._producer_is_paused and self._producer is not None:
            self._producer_is_paused = False
            self._producer.resumeProducing()


class MemoryLink:
    """Two protocols connected to each other. Nothing moves but by ``turn`` and ``pump``.

    :param clock: the one that both use; it stands still but for what is due at once.

    :ivar client: the client's end.
    :ivar server: the server's.
    """

    def __init__(
        self, client: IProtocol, server: IProtocol, addresses: tuple[IPv4Address, IPv4Address], clock: Clock
    ) -> None:
        """Connect them; ``addresses`` are the client's and the server's."""
        self._clock = clock
        self.client = MemoryTransport(client, *addresses)
        self.server = MemoryTransport(server, *reversed(addresses))
        for end in (self.client, self.server):
            end.protocol.makeConnection(end)

    def turn(self) -> bool:
        """Move what is there one way and the other, once; whether there was anything."""
        self._clock.advance(0)
        towards_server = self.client.deliver(self.server)
        towards_client = self.server.deliver(self.client)
        return towards_server or towards_client

    def pump(self) -> None:
        """Move bytes until both sides are quiet.

        :raises AssertionError: they never are.
        """
        for _ in range(_TURNS):
            if not self.turn():
                return
        raise AssertionError(f"both ends still talk after {_TURNS} turns")
