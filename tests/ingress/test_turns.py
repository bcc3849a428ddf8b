"""Turns of reading, on a fake clock that only messages advance."""

import gc
from typing import Any
from unittest import mock
from weakref import ref

from twisted.internet.task import Clock

from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.adapters.codec.codec import RecordCodec
from fleetgw.adapters.ingress import tls as ingress_tls
from fleetgw.adapters.ingress.connection import VehicleConnection
from fleetgw.adapters.ingress.fast_frames import BYTES_AT_ONCE, MESSAGES_AT_ONCE
from fleetgw.adapters.ingress.tls_records import RECORDS_AT_ONCE
from fleetgw.adapters.ingress.turns import QUANTUM_ALONE_S, QUANTUM_S, Turns
from fleetgw.domain.records import Envelope
from fleetgw.simulator.vins import make_vin
from tests.support.gateway_in_memory import GatewayCase
from tests.support.raw_vehicle import RawVehicle

COST_S = 0.0001
HOSTILE, HONEST = make_vin(1), make_vin(2)
EMPTY_MESSAGE = b"\x82\x80mask"
PING = b"\x89\x80mask"


class CostlyCodec(RecordCodec):
    """Advances the clock for each message; ``handled`` counts them."""

    clock: Clock
    handled = 0
    cost_s = COST_S

    def read_envelope(self, message: bytes) -> Envelope:
        self.handled += 1
        self.clock.rightNow += self.cost_s  # type: ignore[attr-defined]  # nothing that is due may run within a read
        return super().read_envelope(message)


class CostlyDecryption:
    """``receive`` that advances the clock for each TLS record, a byte of an empty message; ``decrypted`` counts them."""

    def __init__(self, clock: Clock, real: Any) -> None:
        self.decrypted = 0
        self._clock = clock
        self._real = real

    def __call__(self, *arguments: Any) -> Any:
        status, messages, plaintext = self._real(*arguments)
        records = len(messages) * len(EMPTY_MESSAGE) + len(plaintext)
        self.decrypted += records
        self._clock.rightNow += records * COST_S  # type: ignore[attr-defined]  # nothing that is due may run within a read
        return status, messages, plaintext


class TurnCase(GatewayCase):
    """Counts the messages that the gateway handles; each takes time."""

    def setUp(self) -> None:
        super().setUp()
        gateway = self.start(log_level="error")
        self.codec = CostlyCodec(transmit_decoded_records=False)
        self.codec.clock = gateway.clock
        gateway.parts.gateway.sessions.codec = self.codec
        self.other = self.open_vehicle(HONEST)

    def handled(self) -> int:
        """Number of messages since the last call."""
        handled, self.codec.handled = self.codec.handled, 0
        return handled

    def iterate(self, *vehicles: RawVehicle) -> int:
        """Run one iteration of the reactor: due timers, then every socket once; return the number of messages handled."""
        clock = self.gateway.clock
        due = [call for call in clock.getDelayedCalls() if call.getTime() <= clock.seconds()]
        for call in due:  # not ``advance``: as with a reactor, calls that these schedule are due in the next iteration
            clock.calls.remove(call)  # type: ignore[attr-defined]
            call.called = 1  # type: ignore[attr-defined]
            call.func(*call.args, **call.kw)  # type: ignore[attr-defined]
        for vehicle in vehicles:
            vehicle.link.client.deliver(vehicle.link.server)
        return self.handled()

    def send(self, vehicle: RawVehicle) -> None:
        """Send a thousand messages that the gateway reads at once, without a timer in between."""
        vehicle.transport.write(EMPTY_MESSAGE * 1000)
        vehicle.transport._aggregator.flush()  # type: ignore[attr-defined]  # TLS's, which else waits for a timer
        vehicle.link.client.deliver(vehicle.link.server)

    def connection(self, vehicle: RawVehicle) -> VehicleConnection:
        connection = vehicle.link.server.protocol.wrappedProtocol  # type: ignore[attr-defined]  # TLS's, which Twisted types as a protocol
        assert isinstance(connection, VehicleConnection)
        return connection


class TurnTests(TurnCase):
    def test_messages_of_one_read_are_handled_in_turns(self) -> None:
        vehicle = self.open_vehicle(HOSTILE)
        vehicle.transport.write(EMPTY_MESSAGE * 1000)
        handled = [self.iterate(vehicle) for _ in range(40)]
        self.assertEqual(sum(handled), 1000)
        self.assertLessEqual(max(handled) * COST_S, QUANTUM_S + MESSAGES_AT_ONCE * COST_S)

    def test_the_only_vehicle_has_longer_turns(self) -> None:
        clock = Clock()
        turns = Turns(clock, lambda: False)
        turn = turns.of(HOSTILE)

        def next_quantum_s() -> float:
            turn.left_s = 0.0
            turn.end()
            clock.advance(0)
            return turn.left_s

        self.assertEqual(next_quantum_s(), QUANTUM_ALONE_S)
        other = turns.of(HONEST)
        self.assertEqual(next_quantum_s(), QUANTUM_S)
        del other
        self.assertEqual(next_quantum_s(), QUANTUM_ALONE_S)

    def test_the_clock_is_also_read_after_some_bytes(self) -> None:
        vehicle = self.open_vehicle(HOSTILE)
        message = b"\x82\xfe" + (1000).to_bytes(2, "big") + bytes(4) + bytes(1000)
        self.codec.cost_s = 0.001
        vehicle.transport.write(message * 60)
        handled = [self.iterate(vehicle) for _ in range(60)]
        self.assertEqual(sum(handled), 60)
        self.assertLessEqual(max(handled), BYTES_AT_ONCE // 1008 + 1)

    def test_time_beyond_the_quantum_is_subtracted_from_the_next_turns(self) -> None:
        vehicle = self.open_vehicle(HOSTILE)
        self.codec.cost_s = 3 * QUANTUM_S
        vehicle.transport.write(EMPTY_MESSAGE)
        self.assertEqual(self.iterate(vehicle), 1)
        vehicle.transport.write(EMPTY_MESSAGE)
        self.assertEqual([self.iterate(vehicle) for _ in range(5)], [0, 0, 1, 0, 0])

    def test_a_short_read_is_handled_at_once(self) -> None:
        vehicle = self.open_vehicle(HOSTILE)
        vehicle.transport.write(EMPTY_MESSAGE * MESSAGES_AT_ONCE)
        self.assertEqual(self.iterate(vehicle), MESSAGES_AT_ONCE)

    def test_many_connections_of_one_vehicle_have_the_time_of_one(self) -> None:
        vehicles = [self.open_vehicle(HOSTILE) for _ in range(20)]
        for vehicle in vehicles:
            vehicle.transport.write(EMPTY_MESSAGE * MESSAGES_AT_ONCE)
        handled = [self.iterate(*vehicles) for _ in range(40)]
        self.assertEqual(sum(handled), 20 * MESSAGES_AT_ONCE)
        self.assertEqual(max(handled), MESSAGES_AT_ONCE)

    def send_tiny_records(self, vehicle: RawVehicle, data: bytes) -> None:
        """Put each byte into a TLS record of its own, without delivering them."""
        tls: Any = vehicle.transport  # whose own write would gather them in one record
        for byte in data:
            tls._tlsConnection.send(bytes([byte]))
        tls._flushSendBIO()

    def test_decryption_takes_time_of_the_turn(self) -> None:
        """On all connections of a vehicle, nothing is decrypted once the turn is over."""
        vehicles = [self.open_vehicle(HOSTILE) for _ in range(10)]
        decryption = CostlyDecryption(self.gateway.clock, ingress_tls.receive)
        data = EMPTY_MESSAGE * 50
        self.codec.cost_s = 0.0
        for vehicle in vehicles:
            self.send_tiny_records(vehicle, data)
        decrypted, handled = [], 0
        with mock.patch.object(ingress_tls, "receive", decryption):
            for _ in range(200):
                handled += self.iterate(*vehicles)
                decrypted.append(decryption.decrypted)
                decryption.decrypted = 0
        self.assertEqual((sum(decrypted), handled), (10 * len(data), 10 * 50))
        self.assertLessEqual(max(decrypted) * COST_S, QUANTUM_S + RECORDS_AT_ONCE * COST_S)

    def test_a_socket_with_encrypted_bytes_left_is_not_read(self) -> None:
        vehicle, other = self.open_vehicle(HOSTILE), self.open_vehicle(HOSTILE)
        self.codec.cost_s = 2 * QUANTUM_S
        vehicle.transport.write(EMPTY_MESSAGE)
        self.assertEqual(self.iterate(vehicle), 1)
        self.assertTrue(vehicle.link.server.reading)
        other.transport.write(EMPTY_MESSAGE)
        other.transport._aggregator.flush()  # type: ignore[attr-defined]  # TLS's, which else waits for a timer
        other.link.client.deliver(other.link.server)
        self.assertEqual(self.handled(), 0)
        self.assertFalse(other.link.server.reading)
        self.assertEqual(self.connection(other)._unread, b"", "decrypted")
        other.link.pump()
        self.assertEqual(self.handled(), 1)
        self.assertTrue(other.link.server.reading)

    def test_another_vehicle_is_served_in_every_iteration(self) -> None:
        hostile, honest = self.open_vehicle(HOSTILE), self.open_vehicle(HONEST)
        hostile.transport.write(EMPTY_MESSAGE * 1000)
        self.iterate(hostile)
        for _ in range(5):
            honest.transport.write(EMPTY_MESSAGE)
            began_s = self.gateway.clock.seconds()
            self.assertIn(self.iterate(hostile, honest), (1, MESSAGES_AT_ONCE + 1))
            self.assertLess(self.gateway.clock.seconds() - began_s, 0.01)
            self.assertTrue(honest.link.server.deliver(honest.link.client), "not answered")

    def test_the_socket_of_a_vehicle_with_waiting_bytes_is_not_read(self) -> None:
        vehicle = self.open_vehicle(HOSTILE)
        for _ in range(3):
            self.send(vehicle)
        self.assertFalse(vehicle.link.server.reading)
        waiting = self.connection(vehicle)._unread
        self.assertLess(len(waiting), 2 * len(EMPTY_MESSAGE) * 1000)
        vehicle.link.pump()
        self.assertTrue(vehicle.link.server.reading)
        self.assertEqual(self.handled(), 3000)

    def test_replies_are_the_same_and_in_order(self) -> None:
        """For short and long frames, fragments and pings in any turn."""
        acks = [envelope_form.ack("V", b"%06d" % number) for number in range(400)]
        frames = []
        for number, message in enumerate(acks):
            header = bytes((0x80 | len(message),)) + bytes(4)
            if number % 7 == 0:
                frames.append(b"\x02" + header + message + b"\x80\x80" + bytes(4))
            else:
                frames.append(b"\x82" + header + message)
            if number % 50 == 0:
                frames.append(PING)
        vehicle = self.open_vehicle(HOSTILE)
        replies = vehicle.exchange(b"".join(frames))
        self.assertEqual(self.handled(), 400)
        places = [replies.index(b"%06d" % number) for number in range(400)]
        self.assertEqual(places, sorted(places))
        self.assertEqual(replies.count(b"\x8a\x00"), 8, "pongs")

    def test_a_close_frame_behind_waiting_bytes_is_answered(self) -> None:
        vehicle = self.open_vehicle(HOSTILE)
        replies = vehicle.exchange(EMPTY_MESSAGE * 300 + b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big"))
        self.assertEqual(self.handled(), 300)
        self.assertTrue(replies.endswith(b"\x88\x02" + (1000).to_bytes(2, "big")))
        self.assertIsNotNone(vehicle.lost)

    def test_waiting_bytes_are_dropped_with_their_connection(self) -> None:
        vehicle = self.open_vehicle(HOSTILE)
        vehicle.transport.write(EMPTY_MESSAGE * 1000)
        self.assertEqual(self.iterate(vehicle), MESSAGES_AT_ONCE)
        vehicle.link.client.abortConnection()
        vehicle.link.client.deliver(vehicle.link.server)
        self.assertEqual(self.iterate(), 0)
        self.other.cut()
        self.assertLeavesNothing()

    def test_a_vehicle_that_connects_again_has_no_new_turn(self) -> None:
        vehicle = self.open_vehicle(HOSTILE)
        self.send(vehicle)
        turns = self.gateway.vehicles.context.turns
        self.assertTrue(turns.of(HOSTILE).is_over)
        vehicle.link.client.abortConnection()
        vehicle.link.client.deliver(vehicle.link.server)
        self.assertTrue(turns.of(HOSTILE).is_over)

    def test_a_leaving_vehicle_is_not_read_any_more(self) -> None:
        vehicle = self.open_vehicle(HOSTILE)
        for _ in range(3):
            self.send(vehicle)
        for connection in tuple(self.gateway.vehicles.connections):
            session = connection._session  # type: ignore[attr-defined]  # private
            session._unconfirmed = 1  # as if a record waited for its confirmation
            connection.leave("going away")
        for _ in range(100):
            self.iterate(vehicle)
        self.assertFalse(vehicle.link.server.reading)
        self.gateway.vehicles.close_all("going away")
        self.assertTrue(vehicle.link.server.reading)

    def test_a_turn_ends_with_the_last_connection(self) -> None:
        clock = Clock()
        turns = Turns(clock, lambda: False)
        turn = turns.of(HOSTILE)
        self.assertIs(turns.of(HOSTILE), turn)
        gone = ref(turn)
        gc.disable()
        self.addCleanup(gc.enable)
        del turn
        self.assertIsNone(gone())
