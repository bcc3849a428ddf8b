"""Reading that the session has paused: over TLS in memory, and over real sockets."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tests.ingress.test_sockets import GatewayOverSocketsCase, driven
from tests.ingress.test_turns import PING, TurnCase
from tests.support.gateway_in_memory import VIN, GatewayCase, GatewayInMemory
from tests.support.session_case import acks, message

if TYPE_CHECKING:
    from fleetgw.adapters.ingress.connection import VehicleConnection
    from tests.support.raw_vehicle import RawVehicle

PINGED = b"\x89\x00"
ROOM = 4
SETTINGS: dict[str, Any] = {"delivery": {"queue_records": ROOM, "in_flight_records": ROOM}, "memory": {"timeout_s": 10_000}}


def frame(txid: bytes) -> bytes:
    """A record of a vehicle, in a masked frame."""
    payload = message("V", txid)
    return b"\x82\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload


def frames(first: int, count: int) -> bytes:
    """Records with consecutive numbers for txids."""
    return b"".join(frame(b"%04d" % number) for number in range(first, first + count))


class PausedCase(GatewayCase):
    """A gateway whose sink confirms nothing until ``settle``; its queue has room for ``ROOM`` records."""

    def start(self, environ: Any = None, **config: Any) -> GatewayInMemory:
        gateway = super().start(environ, **SETTINGS, **config)
        self.sink = gateway.memory_sink()
        self.sink.hold()
        return gateway

    def settle(self, vehicle: RawVehicle) -> None:
        """Let the sink confirm all that it has, and the vehicle be read again."""
        self.gateway.clock.advance(0.1)
        self.sink.release()
        self.sink.hold()
        vehicle.link.pump()

    def connection(self) -> VehicleConnection:
        """The only connection."""
        (connection,) = self.gateway.vehicles.connections
        return connection

    def delivered(self) -> list[int]:
        """The numbers of the records that the sink has."""
        return [int(record.txid) for record in self.sink.received]


class PausedTests(PausedCase):
    def test_no_byte_is_read_while_records_wait_and_none_is_lost(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        self.assertEqual(vehicle.exchange(frames(0, 10)), acks("V", *(b"%04d" % number for number in range(ROOM))))
        self.assertFalse(vehicle.link.server.reading)
        self.assertEqual(vehicle.exchange(frames(10, 3)), b"")
        for _ in range(3):
            self.assertFalse(vehicle.link.server.reading)
            self.settle(vehicle)
        self.assertTrue(vehicle.link.server.reading)
        self.settle(vehicle)
        self.assertEqual(vehicle.take(), acks("V", *(b"%04d" % number for number in range(ROOM, 13))))
        self.assertEqual(self.delivered(), [*range(13)])
        self.assertEqual(self.gateway.counted("vehicles_paused"), 0)

    def test_bytes_of_the_read_that_pauses_wait_unread(self) -> None:
        """At most the messages that were handed over together become records."""
        self.start()
        vehicle = self.open_vehicle()
        vehicle.send(frames(0, 200))
        self.assertLessEqual(self.gateway.counted("record_total", record_type="V"), 64)
        vehicle.send(frames(200, 300))
        self.assertLessEqual(self.gateway.counted("record_total", record_type="V"), 64)
        for _ in range(500 // ROOM + 1):
            self.settle(vehicle)
        self.assertEqual(self.delivered(), [*range(500)])

    def test_messages_that_autobahn_reads_pause_too(self) -> None:
        """A control frame between two records takes them off the fast path."""
        self.start()
        vehicle = self.open_vehicle()
        mixed = b"".join(PING + frame(b"%04d" % number) for number in range(40))
        vehicle.send(mixed)
        self.assertEqual(self.gateway.counted("record_total", record_type="V"), ROOM + 1)
        for _ in range(40 // ROOM + 1):
            self.settle(vehicle)
        self.assertEqual(self.delivered(), [*range(40)])

    def test_fragments_around_a_pause(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        payload = message("V", b"0005")
        first = b"\x02\x8a" + bytes(4) + payload[:10]
        last = b"\x80\xfe" + (len(payload) - 10).to_bytes(2, "big") + bytes(4) + payload[10:]
        vehicle.send(frames(0, 5) + first)
        vehicle.send(last + frame(b"0006"))
        for _ in range(3):
            self.settle(vehicle)
        self.assertEqual(self.delivered(), [0, 1, 2, 3, 4, 5, 6])

    def test_a_paused_vehicle_is_not_cut_for_what_it_cannot_say(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        vehicle.send(frames(0, 5) + b"\x82\xfe")
        vehicle.take()
        for _ in range(300):
            self.gateway.clock.advance(1)
            vehicle.link.pump()
        self.assertIsNone(vehicle.lost)
        self.assertEqual(vehicle.take(), PINGED * (300 // 26), "not pinged at the usual interval")
        self.settle(vehicle)
        for _ in range(25):
            self.gateway.clock.advance(1)
            vehicle.link.pump()
        self.assertEqual(vehicle.take(), acks("V", b"0004"), "the deadlines did not begin anew")
        for _ in range(30):
            self.gateway.clock.advance(1)
            vehicle.link.pump()
        self.assertIn((1008).to_bytes(2, "big"), vehicle.take(), "the message that never ends has no deadline any more")

    def test_a_vehicle_that_is_silent_after_the_pause_is_cut(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        vehicle.send(frames(0, 5))
        for _ in range(40):
            self.gateway.clock.advance(1)
            vehicle.link.pump()
        self.settle(vehicle)
        for second in range(50):
            self.gateway.clock.advance(1)
            self.assertEqual(bool(self.gateway.log.fields_of("ping_timeout")), second > 45, second)
        vehicle.link.pump()
        self.assertIsNotNone(vehicle.lost)

    def test_closing_a_paused_vehicle(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        vehicle.send(frames(0, 200))
        vehicle.take()
        self.connection().close("bye")
        vehicle.link.pump()
        self.assertEqual(vehicle.take(), b"\x88\x05\x03\xe9bye")
        vehicle.send(b"\x88\x82\0\0\0\0\x03\xe9")
        self.gateway.clock.advance(1)
        vehicle.link.pump()
        self.assertIsNotNone(vehicle.lost)
        self.settle(vehicle)
        self.assertEqual(self.delivered(), [0, 1, 2, 3])
        self.assertEqual(self.gateway.counted("vehicles_paused"), 0)
        self.assertLeavesNothing()

    def test_a_vehicle_that_leaves_paused_is_closed_once_its_records_are_placed(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        vehicle.send(frames(0, 80))
        vehicle.take()
        self.connection().leave("bye")
        vehicle.send(frame(b"9999"))
        replies = b""
        while b"bye" not in replies:
            self.settle(vehicle)
            replies += vehicle.take()
        wanted = acks("V", *(b"%04d" % number for number in range(ROOM, 80)))
        self.assertEqual(replies, wanted + b"\x88\x05\x03\xe9bye", "not all that was read before")

    def test_a_paused_vehicle_that_is_cut_leaves_nothing(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        vehicle.send(frames(0, 200))
        vehicle.cut()
        self.assertEqual(self.gateway.counted("vehicles_paused"), 0)
        self.settle(vehicle)
        self.assertEqual(self.delivered(), [0, 1, 2, 3])
        self.assertLeavesNothing()


class TurnTests(TurnCase):
    """Both reasons together: a vehicle's turn is over, and it is paused."""

    def paused(self) -> tuple[RawVehicle, VehicleConnection]:
        """A vehicle with unread bytes, whose turn is over, and which is then paused."""
        vehicle = self.open_vehicle(VIN)
        for _ in range(3):
            self.send(vehicle)
        connection = self.connection(vehicle)
        connection.pause_reading()
        self.handled()
        return vehicle, connection

    def test_the_next_turn_does_not_read_a_paused_vehicle(self) -> None:
        vehicle, connection = self.paused()
        self.assertEqual([self.iterate(vehicle) for _ in range(5)], [0] * 5)
        self.assertFalse(vehicle.link.server.reading)
        connection.resume_reading()
        self.assertEqual(self.handled(), 0, "messages were handled within resume_reading")
        self.assertGreater(self.iterate(vehicle), 0)
        self.assertEqual(sum(self.iterate(vehicle) for _ in range(100)) > 2000, True)
        self.assertTrue(vehicle.link.server.reading)

    def test_a_resumed_vehicle_waits_for_its_turn(self) -> None:
        vehicle, connection = self.paused()
        connection.resume_reading()
        self.assertFalse(vehicle.link.server.reading)
        vehicle.link.client.deliver(vehicle.link.server)
        self.assertEqual(self.handled(), 0)
        self.assertGreater(self.iterate(vehicle), 0)

    def test_a_pause_between_two_turns(self) -> None:
        vehicle, connection = self.paused()
        connection.resume_reading()
        connection.pause_reading()
        connection.resume_reading()
        handled = [self.iterate(vehicle) for _ in range(120)]
        self.assertEqual(sum(handled) + 64, 3000)


class PausedOverSocketsTests(GatewayOverSocketsCase):
    def start(self, **config: object) -> GatewayInMemory:
        gateway = super().start(**SETTINGS, **config)
        self.sink = gateway.memory_sink()
        self.sink.hold()
        return gateway

    def settle(self) -> None:
        self.gateway.clock.advance(0.1)
        self.sink.release()
        self.sink.hold()
        self.gateway.clock.advance(0)

    @driven
    async def test_the_vehicle_is_stopped_by_flow_control_and_loses_nothing(self) -> None:
        self.start()
        client = await self.vehicle(VIN)
        count = 2000
        client.transport.write(frames(0, count))
        await self.until(lambda: self.gateway.counted("vehicles_paused"))
        for _ in range(50):
            await self.turn()
        self.assertLessEqual(self.gateway.counted("record_total", record_type="V"), 64)
        while len(self.sink.received) < count:
            self.settle()
            await self.turn()
        self.assertEqual([int(record.txid) for record in self.sink.received], [*range(count)])
        wanted = acks("V", *(b"%04d" % number for number in range(count)))
        await self.until(lambda: len(client.received) >= len(wanted))
        self.assertEqual(client.received, wanted)
        self.assertEqual(self.gateway.counted("lane_refused_total", dispatcher="memory"), 0)

    @driven
    async def test_a_vehicle_that_goes_away_while_paused_is_noticed_by_its_pings(self) -> None:
        for leave in (
            lambda client: client.transport.transport.abortConnection(),
            lambda client: client.transport.transport.loseConnection(),
        ):
            self.start()
            client = await self.vehicle(VIN)
            client.transport.write(frames(0, 10))
            await self.until(lambda: self.gateway.counted("vehicles_paused"))
            leave(client)
            await self.until(lambda client=client: client.lost is not None)
            for _ in range(2):
                for _ in range(26):
                    self.gateway.clock.advance(1)
                for _ in range(20):
                    await self.turn()
            self.assertFalse(self.gateway.vehicles.connections)
            self.assertEqual(self.gateway.counted("vehicles_paused"), 0)

    @driven
    async def test_the_kernel_limits_the_wait_for_a_paused_vehicle_that_acknowledges_nothing(self) -> None:
        self.start()
        client = await self.vehicle(VIN)
        client.transport.write(frames(0, 10))
        await self.until(lambda: self.gateway.counted("vehicles_paused"))
        (connection,) = self.gateway.vehicles.connections
        limit = connection.transport._socket.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        self.assertEqual(limit, 20_000, "limits.ping_timeout_s")
