"""A total deadline for each stage, on a fake clock."""

from fleetgw.adapters.ingress.deadlines import CLOSE_TIMEOUT_S
from fleetgw.domain.line_limit import LINES
from tests.support.gateway_in_memory import GatewayCase
from tests.support.raw_vehicle import UPGRADE, RawVehicle

PING = b"\x89\x00"
PONG = b"\x8a\x80mask"
EMPTY_MESSAGE = b"\x82\x80mask"
FIRST_FRAGMENT = b"\x02\x81mask\x00"
CONTINUATION = b"\x00\x81mask\x00"
LAST_FRAGMENT = b"\x80\x81mask\x00"


class DeadlineTests(GatewayCase):
    def wait(self, vehicle: RawVehicle, seconds: float, each_second: bytes = b"") -> float:
        """Advance the clock by seconds and send these bytes each second; return when the connection ended, or 0."""
        for passed in range(1, int(seconds) + 1):
            self.gateway.clock.advance(1)
            vehicle.link.pump()
            if vehicle.lost is not None:
                return passed
            if each_second:
                vehicle.send(each_second)
        return 0

    def test_silence_before_tls(self) -> None:
        vehicle = self.start().connect(None)
        self.assertEqual(self.wait(vehicle, 9), 0)
        self.assertIn(self.wait(vehicle, 20), (1, 2))
        self.assertEqual(self.gateway.log.fields_of("handshake_timeout")[0]["error"], "no upgrade within 10 s")
        self.assertEqual(self.gateway.counted("socket_err_total"), 1)
        self.assertLeavesNothing()

    def test_slow_tls(self) -> None:
        vehicle = self.start().connect(None)
        # the beginning of a ClientHello that never ends
        vehicle.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        self.assertIn(self.wait(vehicle, 20, b"\x00"), (10, 11))
        self.assertLeavesNothing()

    def test_slow_http(self) -> None:
        gateway = self.start()
        vehicle = gateway.connect(gateway.vehicle_tls())
        vehicle.send(b"GET / HTTP/1.1\r\nX: ")
        self.assertIn(self.wait(vehicle, 20, b"x"), (10, 11))
        self.assertLeavesNothing()

    def test_an_answered_request_starts_the_deadline_anew(self) -> None:
        gateway = self.start()
        vehicle = gateway.connect(gateway.vehicle_tls())
        for _ in range(5):
            self.assertIn(b"mtls ok", vehicle.exchange(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"))
            self.assertEqual(self.wait(vehicle, 8), 0)
        self.assertEqual(vehicle.exchange(UPGRADE)[:12], b"HTTP/1.1 101")
        self.assertEqual(self.wait(vehicle, 20), 0)

    def test_slow_frame(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        vehicle.send(b"\x82\xfe\x01\x00mask")
        self.assertEqual(self.wait(vehicle, 30, b"x"), 0)
        self.wait(vehicle, 2, b"x")
        self.assertEqual(vehicle.take()[:4][2:], (1008).to_bytes(2, "big"))
        self.assertGreater(self.wait(vehicle, CLOSE_TIMEOUT_S + 2), 0)
        self.assertLeavesNothing()

    def test_slow_fragments(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        vehicle.send(FIRST_FRAGMENT)
        self.wait(vehicle, 32, CONTINUATION + PONG)
        self.assertEqual(vehicle.take()[2:4], (1008).to_bytes(2, "big"))

    def test_messages_one_after_the_other_have_a_deadline_each(self) -> None:
        """A vehicle is not slow only because each read ends within a message."""
        self.start()
        vehicle = self.open_vehicle()
        vehicle.send(FIRST_FRAGMENT)
        self.assertEqual(self.wait(vehicle, 120, LAST_FRAGMENT + FIRST_FRAGMENT), 0)
        self.assertNotIn(b"\x88", {vehicle.take()[-26:][:1]})
        self.assertTrue(self.gateway.vehicles.connections)

    def test_silence_is_pinged_then_cut(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        self.assertEqual(self.wait(vehicle, 24), 0)
        self.assertEqual(vehicle.take(), b"")
        self.wait(vehicle, 2)
        self.assertEqual(vehicle.take(), PING)
        self.assertEqual(self.wait(vehicle, 18), 0)
        self.assertIn(self.wait(vehicle, 4), (1, 2, 3))
        self.assertEqual(vehicle.take(), b"")
        self.assertEqual(len(self.gateway.log.fields_of("ping_timeout")), 1)
        self.assertLeavesNothing()

    def test_any_byte_counts_as_activity(self) -> None:
        for sign_of_life in (PONG, EMPTY_MESSAGE, b"\x82"):
            self.start()
            vehicle = self.open_vehicle()
            self.wait(vehicle, 40)
            vehicle.send(sign_of_life)
            vehicle.take()
            self.assertEqual(self.wait(vehicle, 24), 0, sign_of_life)
            self.assertEqual(vehicle.take(), b"", sign_of_life)

    def test_a_pinged_vehicle_has_its_time_after_a_jump_of_the_clock(self) -> None:
        self.start()
        vehicle = self.open_vehicle()
        self.gateway.clock.advance(86_400)
        self.assertEqual(self.wait(vehicle, 15), 0)
        self.assertEqual(vehicle.take(), PING)
        vehicle.send(PONG)
        self.assertEqual(self.wait(vehicle, 24), 0)

    def test_zero_is_off(self) -> None:
        off = dict.fromkeys(
            ("handshake_timeout_s", "message_timeout_s", "ping_after_s", "ping_timeout_s", "write_timeout_s"), 0
        )
        gateway = self.start(limits=off)
        silent, open_one, slow = gateway.connect(None), self.open_vehicle(), self.open_vehicle("5YJ3E1EA7KF000002")
        slow.send(FIRST_FRAGMENT)
        for vehicle in (silent, open_one, slow):
            self.assertEqual(self.wait(vehicle, 300), 0)
            self.assertEqual(vehicle.take(), b"")

    def test_ping_without_a_cut(self) -> None:
        self.start(limits={"ping_timeout_s": 0})
        vehicle = self.open_vehicle()
        self.assertEqual(self.wait(vehicle, 300), 0)
        self.assertEqual(vehicle.take(), PING)

    def test_a_close_frame_without_an_answer(self) -> None:
        gateway = self.start()
        vehicle = self.open_vehicle()
        gateway.vehicles.close_all("the gateway is stopping")
        vehicle.link.pump()
        self.assertEqual(vehicle.take(), b"\x88\x19" + (1001).to_bytes(2, "big") + b"the gateway is stopping")
        self.assertEqual(self.wait(vehicle, CLOSE_TIMEOUT_S), 0)
        self.assertIn(self.wait(vehicle, 3), (1, 2))
        self.assertEqual(gateway.counted("socket_err_total"), 0)
        self.assertLeavesNothing()

    def test_an_answer_to_a_close_frame_is_read_behind_other_frames(self) -> None:
        gateway = self.start()
        vehicle = self.open_vehicle()
        gateway.vehicles.close_all("the gateway is stopping")
        vehicle.link.pump()
        vehicle.take()
        vehicle.send(EMPTY_MESSAGE + b"\x82\x85mask")
        vehicle.send(b"abcde" + PONG + FIRST_FRAGMENT + b"\x88\x82\x00\x00\x00\x00" + (1001).to_bytes(2, "big"))
        self.assertIsNotNone(vehicle.lost)
        self.assertEqual(vehicle.take(), b"")
        self.assertLeavesNothing()

    def test_stopping_before_the_upgrade_is_no_error(self) -> None:
        gateway = self.start()
        vehicle = gateway.connect(None)
        gateway.vehicles.close_all("the gateway is stopping")
        vehicle.link.pump()
        self.assertIsNotNone(vehicle.lost)
        self.assertEqual(gateway.counted("socket_err_total"), 0)

    def test_a_tls_shutdown_without_an_answer(self) -> None:
        """A client that neither answers the shutdown nor reads."""
        gateway = self.start()
        vehicle = gateway.connect(gateway.vehicle_tls())
        vehicle.link.pump()
        vehicle.transport.write(b"nonsense\r\n\r\n")
        gateway.clock.advance(0)
        vehicle.link.client.deliver(vehicle.link.server)
        self.assertEqual(len(gateway.vehicles.connections), 1)
        for _ in range(7):
            gateway.clock.advance(1)
        while vehicle.link.server.deliver(vehicle.link.client):
            pass
        self.assertLeavesNothing()

    def test_log_lines_of_a_vehicle_that_is_cut_repeatedly_are_bounded(self) -> None:
        gateway = self.start(limits={"ping_after_s": 1, "ping_timeout_s": 1})
        for _ in range(20):
            self.open_vehicle()
        self.wait(self.open_vehicle(), 8)
        self.assertEqual(len(gateway.log.fields_of("ping_timeout")), LINES)
        self.assertEqual(gateway.counted("socket_err_total"), 21)
