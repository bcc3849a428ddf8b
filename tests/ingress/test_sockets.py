"""Over real loopback sockets: order, partial sends, vehicles that do not read, and ends of connections.

Deadlines use a fake clock; the reactor only transports bytes.
"""

import gc
import socket
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from fleetgw.adapters.ingress.http import NOT_TLS
from fleetgw.adapters.ingress.poller import Poller
from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from tests.support.deadline import DEADLINE_S
from tests.support.gateway_in_memory import GatewayInMemory
from tests.support.plain_read import plain_read
from tests.support.raw_vehicle import UPGRADE

reactor: Any = the_reactor  # a module to mypy
EMPTY_MESSAGE = b"\x82\x80mask"

Test = Callable[[Any], Coroutine[Any, Any, None]]


def driven(test: Test) -> Callable[[Any], Deferred[None]]:
    """Run a coroutine as a test of trial."""

    def run(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    run.__name__ = test.__name__
    return run


class Client(Protocol):
    """Stores the received bytes."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class SocketCase(TestCase):
    timeout = DEADLINE_S

    def setUp(self) -> None:
        self.poller = Poller(reactor)
        self.poller.open()
        self.addCleanup(self.poller.close)

    def listen(self, factory: Any) -> int:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        port.transport = partial(VehicleSocket, self.poller)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def connect(self, port: int, wrap: Callable[[Factory], Any] = lambda factory: factory) -> Client:
        client = Client()
        factory = Factory.forProtocol(lambda: client)
        factory.noisy = False
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(wrap(factory))
        self.addCleanup(self.end, client)
        return client

    def end(self, client: Client) -> Deferred[None]:
        if client.lost is None:
            client.transport.abortConnection()
        return Deferred.fromCoroutine(self.until(lambda: client.lost is not None))

    async def until(self, condition: Callable[[], object]) -> None:
        """Run the reactor until a condition holds."""
        while not condition():
            await self.turn()

    def turn(self) -> Awaitable[None]:
        return deferLater(reactor, 0)


class Server(Protocol):
    """Above a ``VehicleSocket``, without TLS."""

    transport: VehicleSocket

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost: Failure | None = None

    def read(self, source: socket.socket) -> Exception | None:
        data, reason = plain_read(source)
        self.received += data
        return reason

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class VehicleSocketTests(SocketCase):
    async def pair(self) -> tuple[Server, Client]:
        server = Server()
        factory = Factory.forProtocol(lambda: server)
        factory.noisy = False
        client = await self.connect(self.listen(factory))
        await self.until(lambda: server.transport is not None)
        self.addCleanup(self.until_lost, server)
        return server, client

    def until_lost(self, server: Server) -> Deferred[None]:
        if server.lost is None:
            server.transport.abortConnection()
        return Deferred.fromCoroutine(self.until(lambda: server.lost is not None))

    @driven
    async def test_the_order_of_both_ways_to_write(self) -> None:
        """Alternate ``send_now`` and ``write`` with far more bytes than a socket accepts at once."""
        server, client = await self.pair()
        server.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        client.transport.pauseProducing()
        sent = bytearray()
        was_partial = False
        for number in range(144):
            block = b"%08d" % number * (1 + number % 7 * 100 if number % 48 else 100_000)
            sent += block
            (server.transport.write if number % 3 else server.transport.send_now)(block)
            was_partial = was_partial or 0 < server.transport.unsent_bytes < len(block)
            if number % 10 == 9:
                await self.turn()
            if number % 48 == 47:
                client.transport.resumeProducing()
                await self.until(lambda: server.transport.unsent_bytes == 0)
                client.transport.pauseProducing()
        self.assertTrue(was_partial, "no send was a partial one")
        client.transport.resumeProducing()
        await self.until(lambda: len(client.received) >= len(sent))
        self.assertEqual(client.received, sent)
        self.assertEqual(server.transport.unsent_bytes, 0)

    @driven
    async def test_unsent_bytes_are_counted(self) -> None:
        server, client = await self.pair()
        client.transport.pauseProducing()
        total = 0
        while not server.transport.unsent_bytes:
            server.transport.send_now(bytes(100_000))
            total += 100_000
        await self.turn()
        before = server.transport.unsent_bytes
        server.transport.send_now(bytes(777))
        self.assertEqual(server.transport.unsent_bytes, before + 777)
        server.transport.send_now(bytes(3_000_000))
        total += 3_000_777
        client.transport.resumeProducing()
        while len(client.received) < total:
            await self.turn()
            self.assertLessEqual(server.transport.unsent_bytes, total - len(client.received))
        self.assertEqual(server.transport.unsent_bytes, 0)

    @driven
    async def test_reads_of_every_size(self) -> None:
        server, client = await self.pair()
        sent = bytearray()
        for size in (1, 65_535, 65_536, 65_537, 1_000_000):
            block = bytes(range(256)) * (size // 256) + bytes(size % 256)
            sent += block
            client.transport.write(block)
        await self.until(lambda: len(server.received) == len(sent))
        self.assertEqual(server.received, sent)

    @driven
    async def test_bytes_sent_before_the_end_arrive(self) -> None:
        server, client = await self.pair()
        client.transport.pauseProducing()
        while server.transport.unsent_bytes < 1_000_000:
            server.transport.send_now(b"x" * 100_000)
        server.transport.send_now(b"the end")
        server.transport.loseConnection()
        client.transport.resumeProducing()
        await self.until(lambda: client.lost is not None)
        self.assertTrue(client.received.endswith(b"xthe end"))

    @driven
    async def test_the_peer_resets(self) -> None:
        server, client = await self.pair()
        client.transport.abortConnection()
        await self.until(lambda: server.lost is not None)
        server.transport.send_now(b"to nobody")

    @driven
    async def test_sending_after_a_reset(self) -> None:
        server, client = await self.pair()
        server.transport.stopReading()
        client.transport.abortConnection()
        await self.until(lambda: client.lost is not None)
        for _ in range(3):
            server.transport.send_now(b"to nobody")
        await self.until(lambda: server.lost is not None)


class GatewayOverSocketsCase(SocketCase):
    """A gateway, and vehicles that are connected to it over real sockets."""

    def start(self, **config: object) -> GatewayInMemory:
        """Start a gateway with these keys of the configuration."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.gateway = gateway = GatewayInMemory(Path(folder.name), **config)
        self.port = self.listen(gateway.tls_factory)
        self.addCleanup(self.stop)
        return gateway

    def stop(self) -> Deferred[None]:
        self.gateway.vehicles.abort_all()
        return Deferred.fromCoroutine(self.until(lambda: not self.gateway.vehicles.connections))

    async def vehicle(self, vin: str) -> Client:
        tls = self.gateway.vehicle_tls(vin)
        client = await self.connect(self.port, lambda factory: TLSMemoryBIOFactory(tls, True, factory))
        client.transport.write(UPGRADE)
        await self.until(lambda: client.received.endswith(b"\r\n\r\n"))
        self.assertEqual(client.received[:12], b"HTTP/1.1 101")
        client.received.clear()
        return client


class GatewayOverSocketsTests(GatewayOverSocketsCase):
    async def reply(self, client: Client) -> bytes:
        client.transport.write(EMPTY_MESSAGE)
        await self.until(lambda: client.received)
        reply = bytes(client.received)
        client.received.clear()
        return reply

    async def send_without_reading(self, client: Client, until: Callable[[], object]) -> None:
        client.transport.pauseProducing()
        while not until():
            client.transport.write(EMPTY_MESSAGE * 10_000)
            for _ in range(20):
                await self.turn()

    @driven
    async def test_replies_in_order(self) -> None:
        self.start()
        client = await self.vehicle("5YJ3E1EA7KF000001")
        one = await self.reply(client)
        for count in (1, 20, 400):
            pings = [b"%03d" % number for number in range(count)]
            client.transport.write(b"".join(EMPTY_MESSAGE + b"\x89\x83\0\0\0\0" + ping for ping in pings))
            wanted = b"".join(one + b"\x8a\x03" + ping for ping in pings)
            await self.until(lambda wanted=wanted: len(client.received) >= len(wanted))
            self.assertEqual(client.received, wanted)
            client.received.clear()

    @driven
    async def test_only_the_vehicle_that_does_not_read_is_cut(self) -> None:
        gateway = self.start(limits={"max_pending_reply_bytes": 50_000})
        other = await self.vehicle("5YJ3E1EA7KF000002")
        one = await self.reply(other)
        deaf = await self.vehicle("5YJ3E1EA7KF000001")
        await self.send_without_reading(deaf, lambda: gateway.log.fields_of("replies_not_read"))
        await self.until(lambda: len(gateway.vehicles.connections) == 1)
        (cut,) = gateway.log.fields_of("replies_not_read")
        self.assertEqual(cut["device_id"], "5YJ3E1EA7KF000001")
        self.assertIn("bytes of replies are waiting", str(cut["error"]))
        self.assertEqual(await self.reply(other), one)
        self.assertEqual(gateway.counted("socket_err_total"), 1)

    @driven
    async def test_a_vehicle_that_does_not_read_has_ten_seconds(self) -> None:
        gateway = self.start(limits={"max_pending_reply_bytes": 1 << 30})
        gateway.clock.advance(1000)
        deaf = await self.vehicle("5YJ3E1EA7KF000001")
        (ours,) = gateway.vehicles.connections
        await self.send_without_reading(deaf, lambda: ours.transport.unsent_bytes)
        for _ in range(10):
            gateway.clock.advance(1)
            self.assertEqual(gateway.log.fields_of("replies_not_read"), [])
        gateway.clock.advance(1)
        gateway.clock.advance(1)
        self.assertEqual(
            [cut["error"] for cut in gateway.log.fields_of("replies_not_read")], ["replies could not be sent for 10 s"]
        )
        await self.until(lambda: not gateway.vehicles.connections)

    @driven
    async def test_a_lost_connection_with_unsent_bytes_leaves_nothing(self) -> None:
        """Whichever side closes it, and without the garbage collector."""
        gateway = self.start(limits={"max_pending_reply_bytes": 1 << 30})
        for end in (lambda client: client.transport.abortConnection(), lambda _: gateway.vehicles.abort_all()):
            deaf = await self.vehicle("5YJ3E1EA7KF000001")
            (ours,) = gateway.vehicles.connections
            await self.send_without_reading(deaf, lambda ours=ours: ours.transport.unsent_bytes)
            left = [weakref.ref(each) for each in (ours, ours.transport, ours.transport.transport)]
            del ours
            gc.collect()
            gc.disable()
            try:
                end(deaf)
                await self.until(lambda: not gateway.vehicles.connections)
                for _ in range(3):
                    await self.turn()
                self.assertEqual([each() for each in left], [None] * 3)
            finally:
                gc.enable()

    @driven
    async def test_a_vehicle_that_reads_late_is_not_cut(self) -> None:
        gateway = self.start(limits={"max_pending_reply_bytes": 1 << 30})
        slow = await self.vehicle("5YJ3E1EA7KF000001")
        (ours,) = gateway.vehicles.connections
        for _ in range(3):
            await self.send_without_reading(slow, lambda: ours.transport.unsent_bytes)
            for _ in range(9):
                gateway.clock.advance(1)
            slow.transport.resumeProducing()
            await self.until(lambda: not ours.transport.unsent_bytes)
            gateway.clock.advance(1)
        self.assertEqual(gateway.log.fields_of("replies_not_read"), [])

    @driven
    async def test_plain_http_is_answered(self) -> None:
        self.start()
        client = await self.connect(self.port)
        client.transport.write(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: client.lost is not None)
        self.assertEqual(client.received, NOT_TLS)

    @driven
    async def test_ends_of_connections(self) -> None:
        gateway = self.start()
        for leave in (
            lambda client: client.transport.loseConnection(),
            lambda client: client.transport.abortConnection(),
            lambda client: client.transport.transport.loseWriteConnection(),
            lambda client: client.transport.write(b"\x88\x82\0\0\0\0\x03\xe8"),
        ):
            client = await self.vehicle("5YJ3E1EA7KF000001")
            leave(client)
            await self.until(lambda: not gateway.vehicles.connections)
            await self.until(lambda client=client: client.lost is not None)
        self.assertEqual(gateway.log.fields_of("connection_failed"), [])
        self.assertEqual(gateway.counted("socket_err_total"), 0)

    @driven
    async def test_closing_all_connections(self) -> None:
        gateway = self.start()
        vehicles = [await self.vehicle(f"5YJ3E1EA7KF00000{number}") for number in range(5)]
        for vehicle in vehicles:
            vehicle.transport.write(EMPTY_MESSAGE)
        for connection in tuple(gateway.vehicles.connections):
            connection.leave("bye")
        goodbye = b"\x88\x05\x03\xe9bye"
        await self.until(lambda: all(vehicle.received for vehicle in vehicles))
        self.assertEqual([bytes(vehicle.received) for vehicle in vehicles], [goodbye] * 5)
        gone = gateway.vehicles.all_gone()
        for vehicle in vehicles:
            vehicle.transport.write(b"\x88\x82\0\0\0\0\x03\xe9")
        await gone
        await self.until(lambda: all(vehicle.lost is not None for vehicle in vehicles))
