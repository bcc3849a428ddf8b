"""The end of a gateway: its order, its deadline, and records that are left over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import CancelledError, Deferred, fail

from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent
from fleetgw.adapters.logs.lines import JsonLog
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.service_case import METRICS, STATUS, VEHICLES, ServiceCase, ServiceReactor

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from fleetgw.testing.vehicle import InMemoryVehicle


class StopTests(ServiceCase):
    def stop_with_a_record_in_flight(self, **changes: object) -> tuple[InMemoryVehicle, Deferred[None]]:
        """Stop a gateway whose memory sink holds a record of a vehicle.

        :param changes: of the gateway's configuration.
        """
        life = self.start(**changes)
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(1)
        self.memory.hold()
        vehicle.send("V", b"", b"1")
        vehicle.advance(0.1)
        return vehicle, life.stop()

    def test_the_whole_order(self) -> None:
        vehicle, stopped = self.stop_with_a_record_in_flight()

        # not ready, not listening, not reading
        self.assertIn(b" 503 ", self.get(STATUS, "/status").splitlines()[0])
        self.assertFalse(self.reactor.ports[VEHICLES].listening)
        vehicle.send("V", b"", b"unread")
        vehicle.advance(0.5)
        self.assertEqual(vehicle.acked, [])
        self.assertIsNone(vehicle.closed)
        self.assertEqual([record.txid for record in self.memory.received if record.record_type == "V"], [])

        # settled: the last acks, then the close frame
        self.memory.release()
        vehicle.pump()
        self.assertEqual(vehicle.acked, [b"1"])
        self.assertEqual((vehicle.closed and vehicle.closed.code, stopped.called), (1001, False))

        # the connectivity record of the disconnect, then the sinks, then the pages
        vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        self.assertEqual(self.statuses(), [ConnectivityEvent.CONNECTED, ConnectivityEvent.DISCONNECTED])
        self.assertNotIn(b"unread", [record.txid for record in self.memory.received])
        order = [f"stop listening {VEHICLES}", "stop memory", "stop logger", f"stop listening {STATUS}"]
        order += [f"stop listening {METRICS}"]
        self.assertEqual(self.journal[-5:], order)
        self.assertEqual(self.log.fields_of("stopped_server"), [{"undelivered_records": 0}])

    def test_a_disconnected_record_that_is_held_back_is_delivered_before_the_stop(self) -> None:
        life = self.start(connectivity={"debounce_s": 3600})
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(0.1)
        stopped = life.stop()
        for _ in range(5):
            vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        self.assertEqual(self.statuses(), [ConnectivityEvent.CONNECTED, ConnectivityEvent.DISCONNECTED])
        events = self.events()
        self.assertLess(events.index("stopping_server"), events.index("socket_disconnected"))
        self.assertEqual(self.log.fields_of("stopping_server"), [{"connections": 1}])

    def test_a_part_that_cannot_stop_keeps_no_other_from_its_stop(self) -> None:
        life = self.start()
        runtime, *_ = self.parts.monitors
        self.addCleanup(runtime.stop)
        runtime.stop = lambda: 1 // 0  # type: ignore[method-assign,return-value]  # a double
        self.assertTrue(self.stopped_within(life.stop(), 1))
        (fields,) = self.log.fields_of("stop_failed")
        self.assertIn("ZeroDivisionError", str(fields["error"]))
        self.assertEqual(self.log.fields_of("stopped_server"), [{"undelivered_records": 0}])

    def test_a_gateway_without_connections_stops_at_once(self) -> None:
        stopped = self.start().stop()
        self.assertTrue(stopped.called)

    def test_nothing_is_left_on_the_clock(self) -> None:
        life = self.start()
        vehicle = self.connect_and_stop(life)
        vehicle.advance(60)  # twisted's TLS and the simulator have timers of their own
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_hung_sink_holds_the_stop_up_to_the_deadline_and_no_longer(self) -> None:
        vehicle, stopped = self.stop_with_a_record_in_flight()
        vehicle.advance(7.9)
        self.assertIsNone(vehicle.closed)
        vehicle.advance(0.2)
        self.assertEqual(vehicle.closed and vehicle.closed.code, 1001)
        self.assertFalse(stopped.called)
        self.assertTrue(self.stopped_within(stopped, 1.95))
        self.assertEqual(vehicle.acked, [])
        self.assertEqual(self.log.fields_of("stopped_server"), [{"undelivered_records": 2}])
        letters = [fields["metadata"]["txtype"] for fields in self.log.fields_of("dead_letter")]
        self.assertEqual(letters, ["connectivity"], "the vehicle sends its own record again")
        self.lost = 1

    def test_the_last_lines_may_wait_for_their_reader_and_unwritten_ones_are_counted(self) -> None:
        for drain_s, held, wait_s in ((10.0, True, 1.0), (0.5, False, 1.0), (3.0, False, 3.0), (30.0, False, 5.0)):
            with self.subTest(drain_s=drain_s, held=held):
                self.reactor = ServiceReactor()
                happened: list[object] = []

                class Stream:
                    """Drops dead letters, and keeps two lines from its reader."""

                    def __init__(self, happened: list[object]) -> None:
                        self.happened = happened
                        self.dead_letters = 0

                    def write(self, line: bytes) -> None:
                        if b"dead_letter" in line:
                            self.dead_letters += 1
                            raise BlockingIOError
                        self.happened.append(json.loads(line)["msg"])
                        self.last = json.loads(line)

                    def wait_for_reader(self, at_most_s: float) -> None:
                        self.happened.append(at_most_s)

                    def flush(self) -> int:
                        return 2

                stream = Stream(happened)
                self.log = JsonLog(stream)
                self.start(delivery={"drain_timeout_s": drain_s})
                vehicle = self.vehicle()
                vehicle.connect()
                vehicle.advance(0.1)
                if held:
                    self.memory.hold()
                vehicle.send("V", b"", b"1")
                vehicle.advance(0.1)
                self.life.stop()
                for _ in range(101):
                    vehicle.advance(drain_s / 100)
                (waited_s,) = [each for each in happened if isinstance(each, float)]
                self.assertAlmostEqual(waited_s, wait_s, delta=0.5)
                self.assertIn("stopping_server", happened[: happened.index(waited_s)])
                self.assertEqual(stream.last["msg"], "stopped_server")
                self.assertEqual(stream.last["undelivered_records"] > 0, held)
                self.assertEqual(stream.last["unwritten_log_lines"], 2 + stream.dead_letters)

    def test_a_hung_sink_does_not_keep_disconnected_records_from_other_sinks(self) -> None:
        life = self.start(records={"V": ["memory"], "connectivity": ["memory", "logger"]})
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(1)
        self.memory.hold()
        vehicle.send("V", b"", b"1")
        life.stop()
        for _ in range(100):
            vehicle.advance(0.1)
        statuses = [fields["data"]["Status"] for fields in self.log.fields_of("record_payload")]
        self.assertEqual(statuses, ["CONNECTED", "DISCONNECTED"])

    def test_a_sink_that_does_not_stop_is_left_behind(self) -> None:
        class Stubborn(Deferred[None]):
            def cancel(self) -> None:
                pass

        life = self.start()
        self.memory.stop = Stubborn  # type: ignore[method-assign]  # a double
        stopped = life.stop()
        self.assertFalse(self.stopped_within(stopped, 9.9))
        self.assertTrue(self.stopped_within(stopped, 0.2))

    def test_a_sink_whose_stop_fails_does_not_keep_others_from_stopping(self) -> None:
        def broken() -> Deferred[None]:
            raise RuntimeError("a bug")

        for stop in (broken, lambda: fail(RuntimeError("a bug"))):
            self.reactor, self.log = ServiceReactor(), ReadableLog()
            self.journal = self.reactor.journal
            life = self.start()
            self.memory.stop = stop  # type: ignore[method-assign]  # a double
            self.assertTrue(life.stop().called)
            self.assertIn("stop logger", self.journal)
            self.assertIn("a bug", str(self.log.fields_of("sink_stop_failed")[0]["error"]))

    def test_a_vehicle_that_does_not_answer_the_close_frame_is_disconnected(self) -> None:
        life = self.start()
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(1)
        vehicle.stop_reading()
        stopped = life.stop()
        vehicle.advance(1.9)
        self.assertFalse(stopped.called)
        vehicle.advance(0.2)
        vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        self.assertEqual(self.statuses()[-1], ConnectivityEvent.DISCONNECTED)

    def test_the_longest_drain_of_a_lane_counts(self) -> None:
        vehicle, stopped = self.stop_with_a_record_in_flight(
            delivery={"drain_timeout_s": 1, "sinks": {"memory": {"drain_timeout_s": 20}}}
        )
        vehicle.advance(15)
        self.assertFalse(stopped.called)
        self.memory.release()
        vehicle.advance(0.1)
        self.assertEqual(vehicle.acked, [b"1"])
        vehicle.advance(0.1)
        self.assertTrue(stopped.called)

    def test_acked_records_in_flight_are_dead_letters_when_the_sink_gives_up(self) -> None:
        life = self.start(reliable_ack_sources={}, records={"V": ["memory"]})
        vehicle = self.vehicle()
        vehicle.connect()
        self.memory.hold()
        vehicle.send("V", b"", b"acked")
        vehicle.advance(0.1)
        self.assertEqual(vehicle.acked, [b"acked"])
        stopped = life.stop()
        for _ in range(110):
            vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        letters = self.log.fields_of("dead_letter")
        self.assertEqual([fields["metadata"]["txid"] for fields in letters], ["acked"])
        self.assertEqual([fields["vehicle_resends"] for fields in letters], [False])
        self.assertEqual(self.log.fields_of("dispatch_retry"), [], "tried again after the sink had stopped")
        self.lost = 1

    def test_stopping_while_a_sink_still_starts(self) -> None:
        cancelled: list[object] = []
        life = self.make()
        self.memory.start = lambda: Deferred(cancelled.append)  # type: ignore[method-assign]  # a double
        self.begin(life)
        self.reactor.run()
        stopped = life.stop()
        self.assertTrue(stopped.called)
        self.assertEqual(len(cancelled), 1)
        self.assertNotIn("stop memory", self.journal)
        self.assertIn("stop logger", self.journal)
        self.assertNotIn(f"read {VEHICLES}", self.journal)
        self.assertEqual((self.log.fields_of("sink_start_failed"), self.reactor.stops), ([], 0))

    def test_stopping_before_the_reactor_runs(self) -> None:
        life = self.make()
        ended = self.begin(life)
        self.assertTrue(life.stop().called)
        self.assertTrue(cast("Failure", ended[0]).check(CancelledError))
        self.reactor.run()
        self.assertNotIn("start memory", self.journal)

    def test_a_cancelled_start_stops_the_started_parts(self) -> None:
        cancelled: list[object] = []
        life = self.make()
        self.memory.start = lambda: Deferred(cancelled.append)  # type: ignore[method-assign]  # a double
        ended: list[object] = []
        life.bind()
        starting = life.start().addBoth(ended.append)
        self.reactor.run()
        starting.cancel()
        self.assertEqual(len(cancelled), 1)
        self.assertTrue(cast("Failure", ended[0]).check(CancelledError))
        self.assertFalse(self.reactor.ports[VEHICLES].reading)
