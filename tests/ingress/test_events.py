"""Log events of connections: at a level that leaves them out, their fields are not made."""

from unittest.mock import patch

from fleetgw.adapters.ingress.events import REQUEST_LINES, IngressEvents
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.app.pipeline.connected import ConnectedVehicles
from fleetgw.domain.records import PeerIdentity, Vehicle
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.recording_link import Link

NORMAL = ["request_start", "socket_connected", "socket_disconnected", "request_end"]
"""Events of a connection that comes and goes, in this order."""


def not_made(*_arguments: object) -> dict[str, object]:
    raise AssertionError("fields of an event that is not written")


class LevelTests(GatewayCase):
    def come_and_go(self) -> list[str]:
        """Events of one connection."""
        self.gateway.log.entries.clear()
        self.open_vehicle().close()
        return [event for _, event, _ in self.gateway.log.entries]

    def test_a_level_that_is_changed(self) -> None:
        self.start()
        self.assertEqual(self.come_and_go(), NORMAL)
        with patch.object(ReadableLog, "info_enabled", new=False):
            self.assertEqual(self.come_and_go(), [])
        self.assertEqual(self.come_and_go(), NORMAL)

    def test_fields_below_the_level_are_not_made(self) -> None:
        self.start()
        events = IngressEvents(NullMetrics(), self.gateway.log, lambda: 0.0)
        session = self.gateway.parts.gateway.connected(Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "id"), Link())
        with patch.object(ReadableLog, "info_enabled", new=False):
            for _ in range(REQUEST_LINES + 1):
                self.assertIsNone(events.request_started(not_made))
            events.connected(VIN, not_made)
            with patch.object(ConnectedVehicles, "_end_fields", not_made):
                session.disconnected()
        self.assertEqual(events.request_started(lambda: {"method": "GET"}), {"method": "GET"})
        self.assertEqual(self.gateway.log.entries[-1], ("info", "request_start", {"method": "GET"}))

    def test_the_end_of_a_request_has_the_fields_of_its_start(self) -> None:
        self.start()
        self.open_vehicle().close()
        log = self.gateway.log
        (start,), (end,) = log.fields_of("request_start"), log.fields_of("request_end")
        self.assertEqual({**start, "duration_ms": 0}, end)


class RecentRefusalTests(GatewayCase):
    def test_refused_handshakes_and_connections_are_shown_with_reason_and_remedy(self) -> None:
        self.start(limits={"max_connections_per_vehicle": 1})
        self.open_vehicle()
        vehicle = self.gateway.connect(self.gateway.vehicle_tls())
        self.assertIn(b"503", vehicle.upgrade())
        self.gateway.connect(None).send(b"GET / HTTP/1.1\r\n\r\n")
        handshake, connection = self.gateway.parts.gateway.recent_refusals.newest_first
        self.assertEqual((handshake.kind, handshake.reason), ("handshake", "http request"))
        self.assertEqual((connection.kind, connection.reason, connection.vin), ("vehicle", "full_vehicle", VIN))
        self.assertTrue(all(each.text and each.fix and each.address for each in (handshake, connection)))
