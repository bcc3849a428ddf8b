"""MQTT over WebSocket, in memory: handshake, frames, and servers of other protocols."""

import gc
import weakref

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from zope.interface import implementer

from fleetgw.adapters.sinks.mqtt.websocket import NoWebSocket, WebSocketEndpoint


class Above(Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = reason


@implementer(IStreamClientEndpoint)
class Below:
    """An endpoint whose server is the test."""

    def __init__(self) -> None:
        self.answer: Deferred[IProtocol] = Deferred()

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.transport = StringTransport()
        protocol = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]  # no address here
        assert protocol is not None
        self.protocol = protocol
        protocol.makeConnection(self.transport)
        self.answer.callback(protocol)
        return self.answer


class WebSocketTests(SynchronousTestCase):
    def connect(self) -> Deferred[IProtocol]:
        self.below = Below()
        self.above = Above()
        factory = Factory()
        factory.buildProtocol = lambda _address: self.above  # type: ignore[method-assign]  # the one protocol
        return WebSocketEndpoint(self.below, "ws://b.example:9001/mqtt?a=b").connect(factory)

    def shake_hands(self, subprotocol: str = "mqtt") -> Request:
        self.server = ServerProtocol(subprotocols=[Subprotocol(subprotocol)] if subprotocol else None)
        self.server.receive_data(self.below.transport.value())
        self.below.transport.clear()
        (request,) = self.server.events_received()
        assert isinstance(request, Request)
        self.server.send_response(self.server.accept(request))
        self.say()
        return request

    def say(self) -> None:
        self.below.protocol.dataReceived(b"".join(self.server.data_to_send()))

    def heard(self) -> list[tuple[Opcode, bytes]]:
        self.server.receive_data(self.below.transport.value())
        self.below.transport.clear()
        return [(event.opcode, bytes(event.data)) for event in self.server.events_received()]  # type: ignore[union-attr]

    def test_handshake_then_binary_frames(self) -> None:
        attempt = self.connect()
        request = self.shake_hands()
        self.assertIs(self.successResultOf(attempt), self.above)
        self.assertEqual(request.path, "/mqtt?a=b")
        self.assertEqual(request.headers["Host"], "b.example:9001")
        self.assertEqual(request.headers["Sec-WebSocket-Protocol"], "mqtt")
        assert self.above.transport is not None
        self.above.transport.write(b"x" * 70_000)
        self.assertEqual(self.heard(), [(Opcode.BINARY, b"x" * 70_000)])
        self.server.send_binary(b"one")
        self.server.send_binary(b"two", fin=False)
        self.server.send_continuation(b"three", fin=True)
        self.say()
        self.assertEqual(self.above.received, b"onetwothree")

    def test_pings_are_answered(self) -> None:
        self.connect()
        self.shake_hands()
        self.server.send_ping(b"p")
        self.say()
        self.assertEqual(self.heard(), [(Opcode.PONG, b"p")])
        self.assertEqual(self.above.received, b"")

    def test_closing(self) -> None:
        self.connect()
        self.shake_hands()
        assert self.above.transport is not None
        self.above.transport.loseConnection()
        self.assertEqual([opcode for opcode, _ in self.heard()], [Opcode.CLOSE])
        self.assertTrue(self.below.transport.disconnecting)

    def test_a_server_without_websocket(self) -> None:
        for answer in (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"\x20\x02\0\0 is MQTT without it\r\n\r\n",
        ):
            with self.subTest(answer=answer):
                attempt = self.connect()
                self.below.protocol.dataReceived(answer)
                if not attempt.called:
                    self.below.protocol.connectionLost(Failure(ConnectionLost()))
                self.failureResultOf(attempt, NoWebSocket)

    def test_a_server_with_another_subprotocol(self) -> None:
        attempt = self.connect()
        self.shake_hands("")
        self.assertIn("subprotocol", self.failureResultOf(attempt, NoWebSocket).getErrorMessage())
        self.assertTrue(self.below.transport.disconnected)

    def test_text_frames_end_the_connection(self) -> None:
        self.connect()
        self.shake_hands()
        self.server.send_text(b"no MQTT")
        self.say()
        self.assertTrue(self.below.transport.disconnected)

    def test_cancelling_an_attempt_cuts_the_connection(self) -> None:
        attempt = self.connect()
        attempt.cancel()
        self.failureResultOf(attempt)
        self.assertTrue(self.below.transport.disconnected)
        self.below.protocol.connectionLost(Failure(ConnectionLost()))

    def test_lost_connections_leave_nothing_in_memory(self) -> None:
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        alive: list[weakref.ref[object]] = []
        for _ in range(50):
            attempt = self.connect()
            self.shake_hands()
            protocol = self.below.protocol
            alive.append(weakref.ref(protocol))
            alive.append(weakref.ref(protocol._websocket))  # type: ignore[attr-defined]  # of the connection below
            protocol.connectionLost(Failure(ConnectionLost()))
            self.assertIsNotNone(self.above.lost)
            self.above.transport = None
            del protocol, attempt, self.below, self.above, self.server
        self.assertEqual([each for each in alive if each() is not None], [])
