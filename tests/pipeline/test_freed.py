"""The memory of a vehicle that has disconnected is freed, without the garbage collector."""

import gc
from collections.abc import Sequence
from weakref import ref

from twisted.internet.defer import Deferred

from fleetgw.adapters.codec.envelope import write_stream
from fleetgw.adapters.ingress.connection import VehicleConnection
from fleetgw.app.pipeline.session import Session
from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.ports import Outcome
from fleetgw.domain.records import Record
from fleetgw.simulator.vins import make_vin
from fleetgw.testing.sink_doubles import make_record
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.lane_case import LIMITS, LaneCase, succeeded
from tests.support.raw_vehicle import RawVehicle
from tests.support.session_case import SessionCase, message

SLOW_FRAGMENT = b"\x02\x81mask\x00"
BAD_FRAME = b"\xf2\x80mask"


def frame(txid: bytes, payload: bytes = b"") -> bytes:
    message = write_stream(
        txid=txid, topic=b"V", sender_id=b"", payload=payload, created_at_s=1, device_type=b"", device_id=b""
    )
    return b"\x82\xfe" + len(message).to_bytes(2, "big") + bytes(4) + message


class FreedTests(GatewayCase):
    """Weak references tell, with the collector off, whether connection and session are freed."""

    def setUp(self) -> None:
        super().setUp()
        self.start(reliable_ack_sources={"V": "memory"}, records={"V": ["memory"]})
        self.other = self.open_vehicle(make_vin(7))
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def watch(self, vehicle: RawVehicle) -> tuple[ref[VehicleConnection], ref[Session]]:
        connection = vehicle.link.server.protocol.wrappedProtocol  # type: ignore[attr-defined]
        return ref(connection), ref(connection._session)

    def assertFreed(self, vehicle: RawVehicle, *watched: ref[object]) -> None:
        vehicle.link.pump()
        self.assertIsNotNone(vehicle.lost)
        del vehicle.link
        self.gateway.clock.advance(1)
        self.gateway.clock.advance(1)
        self.assertEqual([each() for each in watched], [None] * len(watched))

    def test_after_all_records_have_settled(self) -> None:
        vehicle = self.open_vehicle(VIN)
        watched = self.watch(vehicle)
        vehicle.send(frame(b"1") * 100)
        self.gateway.clock.advance(1)
        vehicle.cut()
        self.assertFreed(vehicle, *watched)

    def test_with_records_in_flight(self) -> None:
        vehicle = self.open_vehicle(VIN)
        watched = self.watch(vehicle)
        vehicle.send(frame(b"1") * 100)
        vehicle.cut()
        self.assertFreed(vehicle, *watched)

    def test_after_refused_messages(self) -> None:
        vehicle = self.open_vehicle(VIN)
        watched = self.watch(vehicle)
        vehicle.send(frame(b"1", b"\xff") + b"\x82\x80mask")
        vehicle.close()
        self.assertFreed(vehicle, *watched)

    def test_within_a_fragmented_message(self) -> None:
        vehicle = self.open_vehicle(VIN)
        watched = self.watch(vehicle)
        vehicle.send(SLOW_FRAGMENT)
        vehicle.cut()
        self.assertFreed(vehicle, *watched)

    def test_after_a_protocol_violation(self) -> None:
        vehicle = self.open_vehicle(VIN)
        watched = self.watch(vehicle)
        vehicle.send(BAD_FRAME)
        self.assertFreed(vehicle, *watched)

    def test_after_an_abort_by_the_gateway(self) -> None:
        vehicle = self.open_vehicle(VIN)
        watched = self.watch(vehicle)
        connection = watched[0]()
        assert connection is not None
        connection.close("enough")
        vehicle.link.pump()
        connection.abort()
        del connection
        self.assertFreed(vehicle, *watched)

    def test_after_an_internal_error(self) -> None:
        vehicle = self.open_vehicle(VIN)
        watched = self.watch(vehicle)
        session = watched[1]()
        assert session is not None
        session._context.wall_ns = lambda: 1 // 0
        del session
        vehicle.send(frame(b"1"))
        vehicle.cut()
        self.assertFreed(vehicle, *watched)

    def test_after_a_thousand_vehicles(self) -> None:
        tls = self.gateway.vehicle_tls(VIN)
        watched = []
        for _ in range(1000):
            vehicle = self.gateway.connect(tls)
            vehicle.upgrade()
            watched += self.watch(vehicle)
            vehicle.send(frame(b"1"))
            vehicle.cut()
        del vehicle
        self.gateway.clock.advance(1)
        self.gateway.clock.advance(1)
        self.assertEqual(sum(each() is not None for each in watched), 0)


class FreedSessionTests(SessionCase):
    """The session of a record type whose policy names several sinks."""

    def test_after_its_end_and_the_last_confirmation(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for ends_first in (False, True):
            with self.subTest(ends_first=ends_first):
                session = self.session({"V": "all"})
                session.received([message("V", b"1")])
                self.dispatch()
                watched = ref(session)
                if ends_first:
                    session.disconnected()
                for sink in self.sinks.values():
                    sink.answer()
                if not ends_first:
                    session.disconnected()
                del session
                self.assertIsNone(watched())
                self.assertEqual(self.value("reliable_ack_miss", "V", "logger"), ends_first)


class FailedRecordsTests(LaneCase):
    """A sink catches errors beside its batch: the traceback refers to the frame, and the frame to the error."""

    def failed(self, error: type[BaseException]) -> ref[Record]:
        def dispatch(batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
            outcomes = []
            for _ in batch:
                try:
                    try:
                        raise KeyError("no such topic")
                    except KeyError as cause:
                        raise error("refused") from cause
                except BaseException as caught:
                    outcomes.append(caught)
            return succeeded(outcomes)  # type: ignore[arg-type]  # as a sink that breaks the port's contract may

        self.sink.answer_with = dispatch
        record = make_record(txid="1", payload=b"12345")
        self.lane.offer([record], 5, None)
        self.linger()
        return ref(record)

    def test_a_rejected_record_is_freed(self) -> None:
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.assertIsNone(self.failed(Rejected)())

    def test_the_error_of_a_retryable_record_holds_no_frames(self) -> None:
        for error in (Retryable, NotConnected, ValueError):
            gc.collect()
            gc.disable()
            self.addCleanup(gc.enable)
            record = self.failed(error)
            self.sink.answer_with = None
            self.lane.close()
            self.lane.abandon()
            self.log.entries.clear()
            self.assertIsNone(record(), error)
            self.lane = self.make(LIMITS)
