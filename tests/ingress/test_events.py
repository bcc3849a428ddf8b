"""Log events of connections: at a level that leaves them out, their fields are not made."""

from unittest.mock import patch

from fleetgw.adapters.ingress.events import REQUEST_LINES, IngressEvents
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.domain.records import PeerIdentity, Vehicle
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.gateway_in_memory import VIN, GatewayCase

NORMAL = ["request_start", "socket_connected", "socket_disconnected", "request_end"]
"""Events of a connection that comes and goes, in this order."""


def not_made() -> dict[str, object]:
    raise AssertionError("fields of an event that is not written")


class Untouched(dict[str, int]):
    """Sizes that nothing may look at."""

    def items(self) -> None:  # type: ignore[override]  # never returns
        raise AssertionError("sizes for an event that is not written")

    values = items  # type: ignore[assignment]  # as above


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
        connected = self.start().parts.gateway.sessions.connected
        events = IngressEvents(NullMetrics(), self.gateway.log, lambda: 0.0)
        vehicle = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "id")
        with patch.object(ReadableLog, "info_enabled", new=False):
            for _ in range(REQUEST_LINES + 1):
                self.assertIsNone(events.request_started(not_made))
            events.connected(VIN, not_made)
            connected.add(vehicle)
            connected.remove(vehicle, 0.0, Untouched(V=1))
        self.assertEqual(events.request_started(lambda: {"method": "GET"}), {"method": "GET"})
        self.assertEqual(self.gateway.log.entries[-1], ("info", "request_start", {"method": "GET"}))

    def test_the_end_of_a_request_has_the_fields_of_its_start(self) -> None:
        self.start()
        self.open_vehicle().close()
        log = self.gateway.log
        (start,), (end,) = log.fields_of("request_start"), log.fields_of("request_end")
        self.assertEqual({**start, "duration_ms": 0}, end)
