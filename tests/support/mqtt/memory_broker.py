"""A broker in memory that does as a test says: it takes publishes, acknowledges them or not, refuses, goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from fleetgw.adapters.sinks.mqtt.packets import length_prefix
from tests.support.mqtt.consumer import Published

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime


class BrokerConnection(StringTransport):
    """The client's transport; written bytes arrive at the broker at the clock's next advance.

    :ivar full_at_bytes: with so much written the connection is full, and nothing arrives any more; None for never.
    """

    def __init__(self, broker: MemoryBroker, protocol: IProtocol) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as all of StringTransport
        self.broker = broker
        self.protocol = protocol
        self.left_over = b""
        self.open = True
        self.full_at_bytes: int | None = None

    def write(self, data: bytes) -> None:
        """The client sends."""
        self.left_over += data
        if self.open:
            self.broker.clock.callLater(0, self._arrive)
            if self.full_at_bytes is not None and len(self.left_over) >= self.full_at_bytes and self.producer is not None:
                self.producer.pauseProducing()

    def getHandle(self) -> None:
        """There is no socket."""

    def setTcpNoDelay(self, _enabled: object) -> None:
        """Nothing is delayed here."""

    def _arrive(self) -> None:
        if self.open and self.full_at_bytes is None:
            data, self.left_over = self.left_over, b""
            self.left_over = self.broker.received(self, data) + self.left_over

    def say(self, data: bytes) -> None:
        """Send bytes to the client."""
        if self.open:
            self.protocol.dataReceived(data)

    def loseConnection(self) -> None:
        """The client closes."""
        self.broker.clock.callLater(0, self.close, ConnectionDone())

    def abortConnection(self) -> None:
        """The client cuts."""
        self.broker.clock.callLater(0, self.close, ConnectionAborted())

    def close(self, reason: Exception) -> None:
        """The connection ends, whoever ends it."""
        if self.open:
            self._arrive()
            self.open = False
            self.broker.connections.remove(self)
            self.protocol.connectionLost(Failure(reason))


@implementer(IStreamClientEndpoint)
class MemoryBroker:
    """A broker and the endpoint that leads to it.

    :ivar published: what it has taken, oldest first.
    :ivar connections: those that are open.
    :ivar connects: bodies of the CONNECT packets.
    :ivar away: connections are refused.
    :ivar silent: connections are taken, but nothing is ever answered.
    :ivar holding: publishes are taken, but not acknowledged.
    :ivar connack: how it answers a CONNECT.
    :ivar refusals: reason code by topic, in place of success.
    :ivar ends_over: topics over whose publishes it ends the connection, after a refusal where there is one.
    :ivar resets: what it has answered just before that is lost.
    :ivar farewell: what it says before it ends a connection so.
    :ivar dies: it goes away altogether in place of that.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.published: list[Published] = []
        self.connections: list[BrokerConnection] = []
        self.connects: list[bytes] = []
        self.away = False
        self.silent = False
        self.holding = False
        self.connack = b"\x20\x02\x00\x00"
        self.refusals: dict[str, int] = {}
        self.ends_over: set[str] = set()
        self.resets = False
        self.farewell = b""
        self.dies = False
        self.highest_in_flight = 0
        self._held: list[tuple[BrokerConnection, bytes]] = []
        self._is_mqtt5 = False

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect a client."""
        protocol = None if self.away else protocolFactory.buildProtocol(None)  # type: ignore[arg-type]  # no address here
        if protocol is None:
            return fail(ConnectError(string="refused"))
        connection = BrokerConnection(self, protocol)
        self.connections.append(connection)
        protocol.makeConnection(connection)
        return succeed(protocol)

    def go_away(self) -> None:
        """End every connection and refuse new ones."""
        self.away = True
        self._held.clear()
        for connection in list(self.connections):
            connection.close(ConnectionLost())

    def release(self) -> None:
        """Acknowledge the held publishes, and hold no more."""
        self.holding = False
        held, self._held = self._held, []
        for connection, answer in held:
            connection.say(answer)

    def received(self, connection: BrokerConnection, data: bytes) -> bytes:
        """Take bytes of a client; returns those of an unfinished packet."""
        packets, left_over = _read_large_packets(data)
        answers, ends = b"", False
        for first, body in packets:
            topic = body[2 : 2 + int.from_bytes(body[:2])] if first & 0xF0 == 0x30 else b""
            ends = topic.decode() in self.ends_over
            if not ends or topic.decode() in self.refusals:
                answers += self._answer(connection, first, body)
            if ends:
                break
        if ends:
            answers = b"" if self.resets else answers + self.farewell
        if answers and not self.silent:
            connection.say(answers)
        if not ends:
            return left_over
        connection.left_over = b""  # it reads no further
        if self.dies:
            self.go_away()
        else:
            connection.close(ConnectionLost())
        return b""

    def _answer(self, connection: BrokerConnection, first: int, body: bytes) -> bytes:
        match first & 0xF0:
            case 0x10:
                self.connects.append(body)
                self._is_mqtt5 = body[6] == 5
                return self.connack
            case 0x30:
                return self._publish(connection, first, body)
            case 0x60:
                return b"\x70\x02" + body[:2]
            case 0xC0:
                return b"\xd0\x00"
            case _:
                return b""

    def _publish(self, connection: BrokerConnection, first: int, body: bytes) -> bytes:
        qos = first >> 1 & 3
        topic_end = 2 + int.from_bytes(body[:2])
        body_start = topic_end + (2 if qos else 0) + self._is_mqtt5
        topic = body[2:topic_end].decode()
        code = self.refusals.get(topic)
        if code is None:
            self.published.append(Published(topic, body[body_start:], qos, bool(first & 1)))
        if not qos:
            return b""
        content = body[topic_end : topic_end + 2] + (bytes([code]) if code else b"")
        answer = bytes([0x40 if qos == 1 else 0x50]) + length_prefix(len(content)) + content
        if not self.holding:
            return answer
        self._held.append((connection, answer))
        self.highest_in_flight = max(self.highest_in_flight, len(self._held))
        return b""


def _read_large_packets(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """As ``read_packets``, of any length: first bytes and bodies."""
    packets = []
    while len(data) >= 2:
        size, start = 0, 1
        while start < len(data):
            size |= (data[start] & 0x7F) << 7 * (start - 1)
            start += 1
            if not data[start - 1] & 0x80:
                break
        else:
            break
        if start + size > len(data):
            break
        packets.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return packets, data
