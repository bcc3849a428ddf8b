"""Strangers and vehicles beyond the bounds wait or are refused; it is counted, and logged at a bounded rate."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

from twisted.internet.address import IPv4Address

from fleetgw.adapters.ingress.events import STRANGERS_LINES
from fleetgw.adapters.ingress.upgrade import MAX_HEADER_CHARACTERS
from fleetgw.domain.line_limit import INTERVAL_S, LINES
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.raw_vehicle import UPGRADE

if TYPE_CHECKING:
    from tests.support.gateway_in_memory import GatewayInMemory


class PresenceTests(GatewayCase):
    def refused(self, reason: str) -> float:
        return self.gateway.counted("connections_refused_total", listener="vehicles", reason=reason)

    def test_one_address_has_its_share_of_half_open_connections(self) -> None:
        gateway = self.start(limits={"max_half_open": 8, "max_half_open_per_address": 2})
        held = [gateway.connect(None) for _ in range(2)]
        for _ in range(3):
            self.assertIsNone(gateway.tls_factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        self.assertIsNotNone(gateway.tls_factory.buildProtocol(IPv4Address("TCP", "127.0.0.2", 1)))
        self.assertEqual(self.refused("full_address"), 3)
        (said,) = gateway.log.fields_of("connection_refused")
        self.assertEqual((said["reason"], said["remote_ip"]), ("full_address", "127.0.0.1"))
        gateway.clock.advance(11)
        for vehicle in held:
            vehicle.link.pump()
        gateway.connect(None)
        gateway.connect(None)
        self.assertIsNone(gateway.tls_factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        self.assertEqual(gateway.log.fields_of("connection_refused")[-1]["more_unwritten"], 2)

    def test_an_upgrade_makes_room(self) -> None:
        self.start(limits={"max_half_open": 8, "max_half_open_per_address": 1})
        for number in range(3):
            self.open_vehicle(f"5YJ3E1EA7KF00000{number}")
        self.assertEqual(self.refused("full_address"), 0)

    def test_an_address_with_too_many_connections_loses_its_oldest(self) -> None:
        gateway = self.start(limits={"max_half_open": 64, "max_half_open_per_address": 64})
        crowd = [gateway.connect(None) for _ in range(64)]
        self.assertTrue(gateway.vehicles.has_room())
        gateway.clock.advance(0)
        crowd[0].link.pump()
        self.assertIsNotNone(crowd[0].lost)
        self.assertIsNone(crowd[-1].lost)
        self.assertEqual(self.refused("crowded_out"), 2)
        self.open_vehicle()

    def test_a_reconnect_storm_of_many_addresses_waits(self) -> None:
        gateway = self.start(limits={"max_half_open": 8})
        for number in range(8):
            protocol = gateway.tls_factory.buildProtocol(IPv4Address("TCP", f"10.0.0.{number}", 1))
            transport = mock.Mock()
            transport.getPeer.return_value = IPv4Address("TCP", f"10.0.0.{number}", 1)
            assert protocol is not None
            protocol.makeConnection(transport)
        self.assertFalse(gateway.vehicles.has_room())
        self.assertIsNone(gateway.tls_factory.buildProtocol(IPv4Address("TCP", "10.0.0.9", 1)))
        self.assertEqual(self.refused("full_half_open"), 1)
        self.assertEqual(self.refused("crowded_out"), 0)
        self.assertEqual(len(gateway.vehicles.connections), 8)

    def test_connections_of_one_vehicle(self) -> None:
        gateway = self.start(limits={"max_connections_per_vehicle": 2})
        first, _second = self.open_vehicle(), self.open_vehicle()
        third = gateway.connect(gateway.vehicle_tls())
        self.assertEqual(third.upgrade()[:12], b"HTTP/1.1 503")
        self.assertEqual(self.refused("full_vehicle"), 1)
        self.assertEqual(gateway.log.fields_of("connection_refused")[0]["device_id"], VIN)
        self.open_vehicle("5YJ3E1EA7KF000002")
        first.close()
        self.open_vehicle()

    def test_the_default_lets_a_load_tool_use_one_certificate(self) -> None:
        limits = self.start().vehicles.context.limits
        self.assertGreaterEqual(limits.max_connections_per_vehicle, min(1024, limits.max_connections // 4))
        self.assertGreater(limits.max_connections, 0)

    def test_connections_beyond_the_limit_are_counted(self) -> None:
        gateway = self.start(limits={"max_connections": 1})
        self.open_vehicle()
        for _ in range(3):
            gateway.connect(gateway.vehicle_tls()).upgrade()
        self.assertEqual(self.refused("full"), 3)
        self.assertEqual(len(gateway.log.fields_of("connection_refused")), 1)


class FloodTests(GatewayCase):
    def flood(self, gateway: GatewayInMemory, count: int) -> None:
        for _ in range(count):
            gateway.connect(None).send(b"GET / HTTP/1.1\r\n\r\n")

    def test_handshakes(self) -> None:
        gateway = self.start()
        self.flood(gateway, 3 * STRANGERS_LINES)
        self.assertEqual(len(gateway.log.fields_of("tls_handshake_error")), STRANGERS_LINES)
        self.assertEqual(gateway.counted("tls_handshake_error_total", reason="http request"), 3 * STRANGERS_LINES)
        gateway.clock.advance(INTERVAL_S)
        self.flood(gateway, 1)
        self.assertEqual(gateway.log.fields_of("tls_handshake_error")[-1]["more_unwritten"], 2 * STRANGERS_LINES)

    def test_silence(self) -> None:
        gateway = self.start(limits={"max_half_open": 200, "max_half_open_per_address": 200})
        silent = [gateway.connect(None) for _ in range(3 * STRANGERS_LINES)]
        gateway.clock.advance(11)
        self.assertEqual(len(gateway.log.fields_of("handshake_timeout")), LINES)
        self.assertEqual(gateway.counted("socket_err_total"), len(silent))

    def test_upgrades(self) -> None:
        gateway = self.start()
        tls = gateway.vehicle_tls("bad\u202ename")
        for event, request in (("extract_sender_id_err", UPGRADE), ("websocket_promotion_error", UPGRADE + b"x")):
            for _ in range(STRANGERS_LINES + 5):
                vehicle = gateway.connect(tls)
                vehicle.link.pump()
                vehicle.send(request)
            self.assertEqual(len(gateway.log.fields_of(event)), STRANGERS_LINES)

    def test_one_vehicle_that_connects_in_a_loop(self) -> None:
        gateway = self.start()
        for _ in range(LINES + 5):
            self.open_vehicle().close()
        self.assertEqual(len(gateway.log.fields_of("socket_connected")), LINES)
        self.assertEqual(len(gateway.log.fields_of("socket_disconnected")), LINES)
        self.open_vehicle("5YJ3E1EA7KF000002")
        self.assertEqual(gateway.log.fields_of("socket_connected")[-1]["device_id"], "5YJ3E1EA7KF000002")

    def test_fields_of_the_peer_are_cut(self) -> None:
        gateway = self.start()
        vehicle = gateway.connect(gateway.vehicle_tls())
        vehicle.link.pump()
        long = b"x" * 5000
        head = UPGRADE.replace(b"GET / ", b"GET /" + long + b" ").removesuffix(b"\r\n")
        for name in (b"User-Agent", b"X-Forwarded-For", b"X-Network-Interface"):
            head += name + b": " + long + b"\r\n"
        self.assertEqual(vehicle.exchange(head + b"\r\n")[:12], b"HTTP/1.1 101")
        for event in ("request_start", "socket_connected"):
            (fields,) = gateway.log.fields_of(event)
            self.assertLess(max(len(str(value)) for value in fields.values()), 300, event)

    def test_stored_headers_are_cut(self) -> None:
        """Every record has them, so that long ones would cost memory for each queued record."""
        gateway = self.start()
        vehicle = gateway.connect(gateway.vehicle_tls())
        vehicle.link.pump()
        long = b"x" * 30_000
        head = UPGRADE.removesuffix(b"\r\n") + b"Version: " + long + b"\r\nX-Network-Interface: " + long + b"\r\n\r\n"
        self.assertEqual(vehicle.exchange(head)[:12], b"HTTP/1.1 101")
        (connection,) = gateway.vehicles.connections
        assert connection.vehicle is not None
        for kept in (connection.vehicle.device_client_version, connection.vehicle.network_interface):
            self.assertEqual(kept, "x" * MAX_HEADER_CHARACTERS + "... (30000 characters)")
