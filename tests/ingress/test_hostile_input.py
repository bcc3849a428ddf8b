"""Hostile input: each ends only its own connection, with the right code, at a bounded cost."""

import gc
import tracemalloc
import weakref
from typing import Any
from unittest import mock

from fleetgw.adapters.ingress import autobahn_frames, deadlines
from fleetgw.adapters.ingress.autobahn_frames import MAX_FRAGMENTS, MAX_FRAMES_PER_READ
from fleetgw.adapters.ingress.tls import MAX_RECORDS_PER_READ
from tests.support.gateway_in_memory import GatewayCase
from tests.support.raw_vehicle import UPGRADE, RawVehicle

LIMIT = 4_194_304
EMPTY_MESSAGE = b"\x82\x80mask"
PING = b"\x89\x80mask"
CONTINUATION = b"\x00\x80mask"


def announced(length: int) -> bytes:
    return b"\x82\xff" + length.to_bytes(8, "big") + b"mask"


class HostileInputTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.start()

    def assertClosed(self, vehicle: RawVehicle, code: int) -> None:
        """Assert that the last frame is a close frame with that code, and the connection is closed."""
        frame = vehicle.take()
        at = frame.rindex(b"\x88")
        self.assertEqual(int.from_bytes(frame[at + 2 : at + 4], "big"), code, frame[at:])
        self.assertIsNotNone(vehicle.lost)
        self.assertLeavesNothing()

    def test_giant_lengths(self) -> None:
        for length in (LIMIT + 1, 2**31, 2**32, 2**62, 2**63 - 1):
            vehicle = self.open_vehicle()
            tracemalloc.start()
            vehicle.send(announced(length))
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            self.assertClosed(vehicle, 1009)
            self.assertLess(peak_bytes, 2_000_000, length)

    def test_lengths_with_the_top_bit(self) -> None:
        for length in (2**63, 2**64 - 1):
            vehicle = self.open_vehicle()
            vehicle.send(announced(length))
            self.assertClosed(vehicle, 1002)

    def test_the_limit_itself(self) -> None:
        vehicle = self.open_vehicle()
        vehicle.send(announced(LIMIT) + bytes(LIMIT))
        self.assertIn(b"incorrect message format", vehicle.take())
        self.assertIsNone(vehicle.lost)

    def test_fragments_beyond_the_limit(self) -> None:
        vehicle = self.open_vehicle()
        vehicle.send(b"\x02\xff" + LIMIT.to_bytes(8, "big") + b"mask" + bytes(LIMIT))
        self.assertEqual(vehicle.take(), b"")
        vehicle.send(b"\x00\x81maskx")
        self.assertClosed(vehicle, 1009)

    def test_a_million_empty_continuations(self) -> None:
        vehicle = self.open_vehicle()
        vehicle.send(b"\x02\x80mask")
        sent = 0
        while vehicle.lost is None and sent < 1_000_000:
            vehicle.send(CONTINUATION * 500)
            sent += 500
        self.assertLessEqual(sent, MAX_FRAGMENTS + 500)
        self.assertClosed(vehicle, 1008)

    def test_tiny_frames_in_one_read(self) -> None:
        """The number of frames that Autobahn reads at once is bounded, so that other vehicles are served."""
        begun = []
        real = autobahn_frames.FrameReader.onFrameBegin

        def count(reader: Any) -> None:
            begun.append(1)
            real(reader)

        for tiny in (PING, CONTINUATION, b"\x8a\x80mask"):
            vehicle = self.open_vehicle()
            begun.clear()
            with mock.patch.object(autobahn_frames.FrameReader, "onFrameBegin", count):
                vehicle.send(b"\x02\x80mask" + tiny * (65_536 // len(tiny)))
            self.assertLessEqual(len(begun), MAX_FRAMES_PER_READ + 1)
            self.assertClosed(vehicle, 1008)

    def test_tiny_tls_records_in_one_read(self) -> None:
        """They are decrypted one by one: the turn bounds the time, and a limit their number."""
        for count, is_cut in ((MAX_RECORDS_PER_READ, False), (MAX_RECORDS_PER_READ + 1, True)):
            vehicle = self.open_vehicle()
            tls: Any = vehicle.transport  # its own write would gather them in one record
            for byte in (announced(LIMIT) + bytes(count))[:count]:
                tls._tlsConnection.send(bytes([byte]))
            tls._flushSendBIO()
            vehicle.link.pump()
            self.assertEqual(vehicle.lost is not None, is_cut, count)
        self.assertEqual(len(self.gateway.log.fields_of("tls_records_too_small")), 1)

    def test_one_reader_for_all_pings_of_a_read(self) -> None:
        vehicle = self.open_vehicle()
        with mock.patch.object(
            self.gateway.vehicles.context, "new_reader", wraps=self.gateway.vehicles.context.new_reader
        ) as made:
            vehicle.send((PING + EMPTY_MESSAGE) * 200)
        self.assertEqual(made.call_count, 1)
        self.assertEqual(vehicle.take().count(b"\x8a\x00"), 200)

    def test_many_tiny_messages_are_answered(self) -> None:
        """One read of the smallest messages produces replies that fill many TLS records."""
        vehicle = self.open_vehicle()
        count = 10_000
        one = vehicle.exchange(EMPTY_MESSAGE)
        self.assertEqual(vehicle.exchange(EMPTY_MESSAGE * count), one * count)

    def test_compression_is_declined(self) -> None:
        vehicle = self.gateway.connect(self.gateway.vehicle_tls())
        response = vehicle.exchange(UPGRADE[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        self.assertEqual(response[:12], b"HTTP/1.1 101")
        self.assertNotIn(b"extensions", response.lower())
        vehicle.send(b"\xc2\x80mask")
        self.assertClosed(vehicle, 1002)

    def test_bytes_behind_the_upgrade_request(self) -> None:
        for behind in (EMPTY_MESSAGE, UPGRADE, b"G", b"\r\n"):
            vehicle = self.gateway.connect(self.gateway.vehicle_tls())
            response = vehicle.exchange(UPGRADE + behind)
            self.assertEqual(response.count(b"HTTP/1.1"), 1)
            self.assertEqual(response[:12], b"HTTP/1.1 400")
            self.assertIsNotNone(vehicle.lost)
        self.assertEqual(self.gateway.log.fields_of("socket_connected"), [])
        self.assertLeavesNothing()

    def test_nothing_is_read_behind_a_refusal(self) -> None:
        """A client that continues is neither answered again nor accepted."""
        for first in (b"nonsense\r\n\r\n", b"x" * 70_000, UPGRADE.replace(b"Upgrade\r\n", b"close\r\n")):
            vehicle = self.gateway.connect(self.gateway.vehicle_tls())
            vehicle.link.pump()
            vehicle.transport.write(first)
            self.gateway.clock.advance(0)
            vehicle.link.client.deliver(vehicle.link.server)
            for more in (UPGRADE, b"more\r\n\r\n", b"y" * 70_000):
                vehicle.transport.write(more)
                self.gateway.clock.advance(0)
                vehicle.link.client.deliver(vehicle.link.server)
            vehicle.link.pump()
            self.assertEqual(vehicle.take().count(b"HTTP/1.1 4"), 1, first[:20])
        self.assertEqual(self.gateway.log.fields_of("socket_connected"), [])
        self.assertLeavesNothing()

    def test_paths_of_the_profiler_are_bad_requests_here(self) -> None:
        for path in ("/gc_stats", "/live_profiler?mode=on", "/debug/pprof/", "/debug/pprof/profile?seconds=1"):
            vehicle = self.gateway.connect(self.gateway.vehicle_tls())
            self.assertEqual(
                vehicle.exchange(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())[:12], b"HTTP/1.1 400", path
            )

    def test_garbage_instead_of_http(self) -> None:
        for garbage in (
            b"\0\1\2\n\n",
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ):
            vehicle = self.gateway.connect(self.gateway.vehicle_tls())
            self.assertEqual(vehicle.exchange(garbage)[:12], b"HTTP/1.1 400", garbage)
            self.assertIsNotNone(vehicle.lost)
        self.assertLeavesNothing()

    def test_a_head_without_end(self) -> None:
        vehicle = self.gateway.connect(self.gateway.vehicle_tls())
        sent = 0
        vehicle.link.pump()
        while vehicle.lost is None and sent < 1_000_000:
            vehicle.send(b"x" * 1000)
            sent += 1000
        self.assertLessEqual(sent, 67_000)
        self.assertEqual(vehicle.take()[:12], b"HTTP/1.1 431")
        self.assertLeavesNothing()

    def test_a_frame_byte_by_byte_is_kept_in_one_buffer(self) -> None:
        vehicle = self.open_vehicle()
        vehicle.send(announced(LIMIT))
        (ours,) = self.gateway.vehicles.connections
        tracemalloc.start()
        for _ in range(50_000):
            ours.dataReceived(b"x")
        held_bytes = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        self.assertLess(held_bytes, 5 * 50_000)

    def test_no_connection_beyond_the_limit(self) -> None:
        gateway = self.start(limits={"max_connections": 2})
        waiting = [gateway.connect(None) for _ in range(3)]  # sockets that never shake hands keep nobody out
        first, _second = self.open_vehicle("5YJ3E1EA7KF000001"), self.open_vehicle("5YJ3E1EA7KF000002")
        third = gateway.connect(gateway.vehicle_tls("5YJ3E1EA7KF000003"))
        self.assertEqual(third.upgrade()[:12], b"HTTP/1.1 503")
        self.assertIsNotNone(third.lost)
        first.close()
        self.open_vehicle("5YJ3E1EA7KF000004")
        self.assertEqual([vehicle.lost for vehicle in waiting], [None] * 3)


class BrokenCoreTests(GatewayCase):
    """Bugs of our own end one connection, with an error in the log."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def assertFailedLoudly(self) -> None:
        (failed,) = self.gateway.log.fields_of("connection_failed")
        self.assertEqual(failed["error"], "ZeroDivisionError: oops")
        self.assertIn("Traceback", str(failed["traceback"]))
        self.assertEqual(self.gateway.counted("socket_err_total"), 1)

    def test_the_session_raises(self) -> None:
        """In the fast path, behind a ping, and for a fragmented message."""
        for data in (EMPTY_MESSAGE, PING + EMPTY_MESSAGE, b"\x02\x80mask\x80\x80mask"):
            self.start()
            vehicle, other = self.open_vehicle(), self.open_vehicle("5YJ3E1EA7KF000002")
            broken = next(each for each in self.gateway.vehicles.connections if each._vehicle.vin == "5YJ3E1EA7KF000001")
            with mock.patch.object(type(broken._session), "received", side_effect=ZeroDivisionError("oops")):
                vehicle.send(data)
            frames = vehicle.take()
            self.assertEqual(frames.startswith(b"\x8a\x00"), data.startswith(PING))
            self.assertEqual(frames.removeprefix(b"\x8a\x00")[2:4], (1011).to_bytes(2, "big"))
            self.assertFailedLoudly()
            vehicle.send(b"\x88\x80mask")
            self.assertIsNotNone(vehicle.lost)
            self.assertNotEqual(other.exchange(EMPTY_MESSAGE), b"")

    def test_the_gateway_raises_at_the_upgrade(self) -> None:
        vehicle = self.gateway.connect(self.gateway.vehicle_tls())
        with mock.patch.object(self.gateway.vehicles.context, "gateway") as broken:
            broken.connected.side_effect = ZeroDivisionError("oops")
            self.assertEqual(vehicle.upgrade(), b"")
        self.assertIsNotNone(vehicle.lost)
        self.assertFailedLoudly()
        self.assertLeavesNothing()

    def test_the_session_raises_at_the_end(self) -> None:
        vehicle = self.open_vehicle()
        (ours,) = self.gateway.vehicles.connections
        with (
            mock.patch.object(type(ours._session), "disconnected", side_effect=ZeroDivisionError("oops")),
            self.assertRaises(ZeroDivisionError),
        ):
            vehicle.close()
        self.assertEqual(self.gateway.vehicles.connections, set())


class NothingIsLeftTests(GatewayCase):
    """A connection that ends leaves no object behind, even without the garbage collector."""

    def stages(self) -> dict[str, Any]:
        def tcp(vehicle: RawVehicle) -> None:
            pass

        def half_tls(vehicle: RawVehicle) -> None:
            vehicle.link.client.deliver(vehicle.link.server)

        def tls(vehicle: RawVehicle) -> None:
            vehicle.link.pump()

        def half_http(vehicle: RawVehicle) -> None:
            vehicle.send(UPGRADE[:40])

        def answered(vehicle: RawVehicle) -> None:
            vehicle.send(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")

        def upgraded(vehicle: RawVehicle) -> None:
            vehicle.upgrade()

        def messages(vehicle: RawVehicle) -> None:
            vehicle.upgrade()
            vehicle.send(EMPTY_MESSAGE * 3)

        def half_frame(vehicle: RawVehicle) -> None:
            vehicle.upgrade()
            vehicle.send(b"\x82\xfe\x01\x00mask")

        def half_message(vehicle: RawVehicle) -> None:
            vehicle.upgrade()
            vehicle.send(b"\x02\x81maskx" + PING)

        def said_goodbye(vehicle: RawVehicle) -> None:
            vehicle.upgrade()
            self.gateway.vehicles.close_all("bye")
            vehicle.link.pump()

        every = (tcp, half_tls, tls, half_http, answered, upgraded, messages, half_frame, half_message, said_goodbye)
        return {stage.__name__: stage for stage in every}

    def test_a_thousand_lost_connections_leave_nothing(self) -> None:
        gateway = self.start()
        client = gateway.vehicle_tls()
        stages = list(self.stages().values())
        ways = [RawVehicle.cut, RawVehicle.close, lambda _: [each.abort() for each in gateway.vehicles.connections]]
        watched: list[weakref.ref[object]] = []
        gc.collect()
        gc.disable()
        try:
            for number in range(1000):
                vehicle = gateway.connect(client)
                (ours,) = gateway.vehicles.connections
                watched += [weakref.ref(ours), weakref.ref(vehicle.link.server.protocol)]
                del ours
                stages[number % len(stages)](vehicle)
                ways[number % len(ways)](vehicle)
                vehicle.link.pump()
                gateway.clock.advance(0.1)
                vehicle.cut()
                vehicle.link.server.protocol = None  # type: ignore[assignment]  # the transport lives on with the client
            self.assertEqual([each() for each in watched if each() is not None], [])
            self.assertEqual(len(gateway.vehicles.registry._half_open), 0)
            self.assertEqual(gateway.vehicles.registry._per_vehicle, {})
        finally:
            gc.enable()
        self.assertLeavesNothing()

    def test_every_stage_and_way_to_go(self) -> None:
        gateway = self.start()
        client = gateway.vehicle_tls()
        ways = {
            "cut": RawVehicle.cut,
            "close": RawVehicle.close,
            "abort": lambda _: gateway.vehicles.abort_all(),
            "broken record": lambda vehicle: vehicle.link.client.write(b"\x17\x03\x03\x00\x20" + bytes(32)),
        }
        gc.collect()
        gc.freeze()  # the collections below look at this test's objects alone
        self.addCleanup(gc.unfreeze)
        for way, leave in ways.items():
            for name, stage in self.stages().items():
                gc.collect()
                gc.disable()
                try:
                    vehicle = gateway.connect(client)
                    transport = vehicle.link.server.protocol
                    (ours,) = gateway.vehicles.connections
                    left = [weakref.ref(ours), weakref.ref(transport), weakref.ref(transport.getHandle())]
                    del ours, transport
                    stage(vehicle)
                    leave(vehicle)
                    vehicle.link.pump()
                    gateway.clock.advance(0.1)
                    vehicle.cut()
                    self.assertEqual(gateway.vehicles.connections, set(), (way, name))
                    self.assertEqual(gateway.vehicles.registry.open_connections, 0, (way, name))
                    vehicle.link.server.protocol = None  # type: ignore[assignment]  # the transport lives on with the client
                    self.assertEqual([each() for each in left], [None] * 3, (way, name))
                finally:
                    gc.enable()
                if way == "abort":
                    gateway.vehicles.doStart()
        self.assertEqual(deadlines.CLOSE_TIMEOUT_S, 5)
        self.assertLeavesNothing()
