"""The TLS side of a gateway's connections: everything that one call of ``receive`` or ``send`` does not do."""

from typing import Any
from unittest import mock

from fleetgw.adapters.ingress import tls as ingress_tls
from fleetgw.adapters.ingress.tls import MAX_RECORDS_PER_READ
from fleetgw.adapters.ingress.tls_records import RECORDS_AT_ONCE, choose, take
from tests.ingress import test_sockets
from tests.ingress.test_sockets import driven
from tests.support.gateway_in_memory import GatewayCase

EMPTY_MESSAGE = b"\x82\x80mask"


class TransportCase(GatewayCase):
    def setUp(self) -> None:
        self.start()
        self.vehicle = self.open_vehicle()
        (self.ours,) = self.gateway.vehicles.connections

    def encrypted(self, *plaintexts: bytes) -> bytes:
        """A TLS record for each."""
        tls: Any = self.vehicle.transport  # whose own write would gather them in one record
        for plaintext in plaintexts:
            tls._tlsConnection.send(plaintext)
        return take(tls._tlsConnection._from_ssl)

    def deliver(self, encrypted: bytes) -> None:
        """One read of the gateway."""
        self.ours.transport.read(encrypted)
        self.vehicle.link.pump()


class ReadTests(TransportCase):
    def test_many_records_of_one_read(self) -> None:
        one = self.vehicle.exchange(EMPTY_MESSAGE)
        for count in (RECORDS_AT_ONCE, RECORDS_AT_ONCE + 1, 5 * RECORDS_AT_ONCE):
            self.deliver(self.encrypted(*[EMPTY_MESSAGE] * count))
            self.assertEqual(self.vehicle.take(), count * one)

    def test_the_start_of_a_record_behind_as_many_as_may_be(self) -> None:
        one = self.vehicle.exchange(EMPTY_MESSAGE)
        records = self.encrypted(*[EMPTY_MESSAGE] * (MAX_RECORDS_PER_READ + 1))
        self.deliver(records[:-1])
        self.assertEqual(self.vehicle.take(), MAX_RECORDS_PER_READ * one)
        self.deliver(records[-1:])
        self.assertEqual(self.vehicle.take(), one)
        self.assertIsNone(self.vehicle.lost)

    def test_nothing_is_delivered_after_an_abort(self) -> None:
        record = self.encrypted(EMPTY_MESSAGE)
        self.ours.transport.abortConnection()
        with mock.patch.object(self.ours, "messages_received", side_effect=AssertionError("delivered")):
            self.ours.transport.read(record)

    def test_nothing_is_delivered_after_a_violation(self) -> None:
        record = self.encrypted(EMPTY_MESSAGE)
        self.ours.transport.read(b"\x17\x03\x03\x00\x20" + bytes(32))
        with mock.patch.object(self.ours, "messages_received", side_effect=AssertionError("delivered")):
            self.ours.transport.read(record)

    def test_an_ended_connection_has_no_handles(self) -> None:
        transport = self.ours.transport
        self.assertIsNotNone(transport._ssl)
        self.vehicle.cut()
        self.assertEqual((transport._ssl, transport._into_ssl, transport._from_ssl, transport.turn), (None,) * 4)
        transport.read_on()
        transport.write(b"too late")


class SocketTests(test_sockets.GatewayOverSocketsCase):
    @driven
    async def test_replies_stay_in_order_while_the_socket_is_full(self) -> None:
        """Those that find the socket empty are sent at once, all others behind those that wait."""
        self.start(limits={"max_pending_reply_bytes": 1 << 30})
        client = await self.vehicle("5YJ3E1EA7KF000001")
        (ours,) = self.gateway.vehicles.connections
        ours.transport._socket.socket.setsockopt(test_sockets.socket.SOL_SOCKET, test_sockets.socket.SO_SNDBUF, 20_000)
        sent, states = bytearray(), set()
        for number in range(4000):
            if number % 1000 == 0:
                client.transport.pauseProducing()
            block = b"%08d" % number * 150
            sent += block
            ours.transport.write(block)
            states.add(ours.transport.has_unsent)
            self.assertEqual(ours.transport.has_unsent, ours.transport.unsent_bytes > 0)
            if number % 1000 == 900:
                client.transport.resumeProducing()
            if number % 50 == 49:
                await self.turn()
            if number % 1000 == 999:
                await self.until(lambda: not ours.transport.unsent_bytes)
        await self.until(lambda: len(client.received) >= len(sent))
        self.assertEqual(client.received, sent)
        self.assertEqual(states, {False, True})

    @driven
    async def test_a_stranger_that_leaves_is_noticed(self) -> None:
        gateway = self.start()
        for leave in ("loseConnection", "abortConnection"):
            client = await self.connect(self.port)
            await self.until(lambda: gateway.vehicles.connections)
            getattr(client.transport, leave)()
            await self.until(lambda: not gateway.vehicles.connections)


class GatewayInPythonTests(test_sockets.GatewayOverSocketsTests):
    """A gateway over real sockets, with the path in Python."""

    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.multiple(ingress_tls, **choose(None)._asdict())
        patch.start()
        self.addCleanup(patch.stop)
