"""A connection in memory: two connected transports that move bytes only on ``turn`` and ``pump``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from fleetgw.adapters.ingress.tls import VehicleTransport
from fleetgw.adapters.ingress.tls_records import READ_BYTES

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

    Written bytes wait here until ``deliver``; a protocol that has paused reading gets none. As with sockets, ``write``,
    ``loseConnection`` and ``abortConnection`` call nothing back. As from a socket, the gateway's protocol gets at
    most ``READ_BYTES`` at a time.

    :ivar reading: False while the protocol has paused reading.
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
        """Move written bytes to ``other``'s protocol, and close both ends once that is due.

        :return: whether anything happened.
        """
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
        """Remove bytes from ``sent`` and give them to the protocol, as one read of a socket does."""
        if isinstance(self.protocol, VehicleTransport):
            data = bytes(sent[:READ_BYTES])
            del sent[:READ_BYTES]
            self.protocol.read(data)
        else:
            data = bytes(sent)
            sent.clear()
            self.protocol.dataReceived(data)

    def lost(self, reason: Exception) -> None:
        """Tell the protocol, once, that the connection has ended."""
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
        """See ``ITransport``: closes after the written bytes are delivered."""
        if self._closing is None:
            self._closing = ConnectionDone()

    def loseWriteConnection(self) -> None:
        """Close both directions: half-open connections are not simulated."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """See ``ITCPTransport``: bytes that are not delivered yet are lost."""
        self._unsent.clear()
        self._closing = ConnectionAborted()

    def getHost(self) -> IPv4Address:
        """See ``ITransport``."""
        return self._host

    def getPeer(self) -> IPv4Address:
        """See ``ITransport``."""
        return self._peer

    def pauseProducing(self) -> None:
        """See ``IPushProducer``: the protocol reads no more bytes for now."""
        self.reading = False

    def resumeProducing(self) -> None:
        """See ``IPushProducer``: the protocol reads again."""
        self.reading = True

    def stopProducing(self) -> None:
        """See ``IProducer``."""
        self.loseConnection()

    def registerProducer(  # type: ignore[override]  # only push producers are simulated
        self,
        producer: IPushProducer,
        streaming: bool,  # noqa: FBT001 - as in IConsumer
    ) -> None:
        """See ``IConsumer``; TLS registers a push producer."""
        if not streaming:
            raise NotImplementedError("only push producers write to a connection in memory")
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
        """No connection in memory breaks unnoticed."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: FBT001 - as in ITCPTransport
        """Nothing to set."""

    def _let_produce(self) -> None:
        if self._producer_is_paused and self._producer is not None:
            self._producer_is_paused = False
            self._producer.resumeProducing()


class MemoryLink:
    """Two protocols connected to each other. Bytes move only on ``turn`` and ``pump``.

    :param clock: the clock that both use; it is advanced by 0 s, so that calls that are due run.

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
        """Move the written bytes once in each direction; returns whether there were any."""
        self._clock.advance(0)
        towards_server = self.client.deliver(self.server)
        towards_client = self.server.deliver(self.client)
        return towards_server or towards_client

    def pump(self) -> None:
        """Move bytes until neither side writes any more.

        :raises AssertionError: they go on writing.
        """
        for _ in range(_TURNS):
            if not self.turn():
                return
        raise AssertionError(f"both ends still write after {_TURNS} turns")
