"""Sinks that a reload starts, and those that nothing is routed to any more."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred, fail

from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.domain.errors import ConfigurationError, Problem, Rejected
from fleetgw.simulator.certificates import make_vehicle
from fleetgw.testing.sink_doubles import make_record
from tests.support.reload_case import ReloadCase
from tests.support.service_case import VIN


class SinkTests(ReloadCase):
    def reload_to_own(self) -> MemorySink:
        """Route V from memory to a sink that is new."""
        ended = self.reload(
            records={"V": ["own"], "connectivity": ["logger"]}, reliable_ack_sources={"V": "own"}, dispatchers=self.own
        )
        self.assertEqual(ended, [None])
        return self.sink("own")

    def test_new_sinks_start_first_and_old_ones_drain_and_stop(self) -> None:
        self.start()
        vehicle = self.connected()
        self.memory.hold()
        self.send(vehicle, b"1")
        own = self.reload_to_own()
        self.send(vehicle, b"2")
        self.assertEqual(vehicle.acked, [b"2"])
        self.assertNotIn("stop memory", self.journal)
        self.memory.release()
        vehicle.advance(0.1)
        self.assertEqual(vehicle.acked, [b"2", b"1"], "a record that an old sink confirms is acknowledged")
        self.assertIn("stop memory", self.journal)
        self.assertEqual(list(self.parts.lanes), ["logger", "own"])
        self.assertEqual((self.txids(self.memory), self.txids(own)), ([b"1"], [b"2"]))
        self.assertEqual(self.log.fields_of("sink_draining"), [{"dispatcher": "memory", "held_records": 1}])
        self.assertEqual(self.log.fields_of("sink_stopped"), [{"dispatcher": "memory"}])

    def test_a_trace_has_the_outcomes_of_sinks_that_are_new(self) -> None:
        self.start()
        vehicle = self.connected()
        number = str(self.parts.traces.begin({"vin": VIN, "for_s": 60})[0]["id"])
        self.reload_to_own()
        self.send(vehicle, b"1")
        answers: list[bytes] = []
        self.parts.traces.read(number, "1").addCallback(answers.append)
        stages = [(line["stage"], line.get("sink")) for line in map(json.loads, answers[0].splitlines())]
        self.assertIn(("delivered", "own"), stages)

    def test_a_paused_vehicle_has_its_records_in_the_old_queue_and_reads_on_by_the_new_route(self) -> None:
        self.start(delivery={"sinks": {"memory": {"queue_records": 2}}}, records={"V": ["memory"]})
        vehicle = self.connected()
        self.memory.hold()
        self.send(vehicle, b"1", b"2", b"3", b"4", b"5")
        self.reload_to_own()
        self.send(vehicle, b"6")
        self.assertEqual(vehicle.acked, [])
        self.memory.release()
        for _ in range(10):
            vehicle.advance(0.1)
        self.assertEqual(vehicle.acked, [b"1", b"2", b"3", b"4", b"5", b"6"])
        self.assertEqual(self.txids(self.memory) + self.txids(self.sink("own")), vehicle.acked)
        self.assertGreater(len(self.txids(self.memory)), 2, "a record that waited for room is among them")
        self.assertIn("stop memory", self.journal)

    def test_records_that_wait_for_room_in_the_queue_of_an_old_sink_get_it(self) -> None:
        self.start(delivery={"sinks": {"memory": {"queue_records": 1}}}, records={"V": ["memory"]})
        vehicle = self.connected()
        self.memory.hold()
        self.send(vehicle, b"1")
        lane, waiting = self.parts.lanes["memory"], make_record(VIN, "2")
        lane.when_room("V", lambda: self.assertEqual(lane.take([waiting], waiting.cost_bytes, None), 1))
        self.reload_to_own()
        self.memory.release()
        vehicle.advance(0.1)
        vehicle.advance(0.1)
        self.assertEqual((self.txids(self.memory), vehicle.acked), ([b"1", b"2"], [b"1"]))
        self.assertIn("stop memory", self.journal)

    def test_a_sink_that_is_routed_to_again_goes_on(self) -> None:
        self.start()
        vehicle = self.connected()
        self.memory.hold()
        self.send(vehicle, b"1")
        self.reload_to_own()
        self.reload()
        self.send(vehicle, b"2")
        self.memory.release()
        vehicle.advance(0.1)
        self.assertEqual(vehicle.acked, [b"1", b"2"])
        self.assertNotIn("stop memory", self.journal)
        self.assertEqual(list(self.parts.lanes), ["memory", "logger"])

    def test_a_sink_that_has_ended_is_made_again(self) -> None:
        self.start()
        vehicle = self.connected()
        self.reload_to_own()
        self.assertIn("stop memory", self.journal)
        self.reload(memory={"capacity": 3})
        self.send(vehicle, b"1")
        self.assertEqual(vehicle.acked, [b"1"])
        self.assertIsNot(self.sink("memory"), self.memory)
        self.assertEqual(self.sink("memory").received.maxlen, 3, "its settings are those of now")
        self.assertNotIn("restart_needed", self.events())

    def test_a_sink_that_drains_keeps_its_settings(self) -> None:
        self.start()
        self.memory.hold()
        self.send(self.connected(), b"1")
        self.reload_to_own()
        self.reload(memory={"capacity": 3})
        self.assertIs(self.sink("memory"), self.memory)
        self.assertEqual(len(self.log.fields_of("restart_needed")), 1)

    def test_a_new_sink_is_shared_among_the_vehicles_and_has_its_part_of_the_memory(self) -> None:
        self.start(delivery={"memory_mib": 8})
        self.connected()
        self.vehicle_credential = make_vehicle(self.authority, "5YJ3E1EA7KF000002", datetime.now(UTC), 30)
        self.connected()
        self.memory.hold()
        room_bytes = self.parts.lanes["logger"].share.room_bytes
        self.reload_to_own()
        own = self.parts.lanes["own"]
        self.assertTrue(own._backlog._is_shared)
        self.assertEqual(own.share.own_bytes, 1 << 20, "half of the half that is guaranteed to nobody, of copies two")
        self.reload()
        self.assertEqual(self.parts.lanes.keys(), {"memory", "logger"})
        self.assertEqual(self.parts.lanes["logger"].share.room_bytes, room_bytes)

    def test_types_that_a_sink_cannot_take_while_it_runs_keep_their_routes(self) -> None:
        section = {"own": {"class": str(self.own["own"]["class"]).replace(":TYPE", ":FIXED")}}
        base: dict[str, object] = {"dispatchers": section, "reliable_ack_sources": {}}
        self.start(records={"V": ["own"], "alerts": ["memory"]}, **base)
        vehicle = self.connected()
        routes = {"V": ["own", "logger"], "alerts": ["own", "memory"], "errors": ["own"]}
        self.assertEqual(self.reload(records=routes, ack_policies={"alerts": "own"}, **base), [None])
        (kept,) = self.log.fields_of("restart_needed")
        self.assertEqual(
            kept["changed"],
            {
                "records.alerts": '["memory"] -> ["own", "memory"]',
                "records.errors": '(none) -> ["own"]',
                "ack_policies.alerts": '(none) -> "own"',
            },
        )
        self.send(vehicle, b"1", record_type="alerts")
        self.send(vehicle, b"2")
        self.assertEqual(self.txids(self.memory, "alerts"), [b"1"])
        self.assertEqual(self.txids(self.sink("own")), [b"2"])
        self.assertIn("logger", self.parts.lanes)

    def test_a_sink_that_cannot_start_changes_nothing(self) -> None:
        self.start()
        vehicle = self.connected()
        with mock.patch.object(
            MemorySink, "start", side_effect=lambda: fail(ConfigurationError([Problem("own", "no", "x")]))
        ):
            ended = self.reload(records={"V": ["own"]}, reliable_ack_sources={}, dispatchers=self.own)
        self.assertEqual(self.refused(ended), [("own", "no")])
        self.send(vehicle, b"1")
        self.assertEqual((vehicle.acked, self.txids(self.memory)), ([b"1"], [b"1"]))
        self.assertEqual(list(self.parts.lanes), ["memory", "logger"])
        self.reload_to_own()

    def test_a_stop_during_the_start_of_a_new_sink(self) -> None:
        self.start()
        vehicle = self.connected()
        starting: Deferred[None] = Deferred()
        with mock.patch.object(MemorySink, "start", return_value=starting):
            ended = self.reload(records={"V": ["own"]}, reliable_ack_sources={}, dispatchers=self.own)
        self.assertEqual(ended, [])
        self.send(vehicle, b"1")
        self.assertEqual(vehicle.acked, [b"1"], "the old routes hold until then")
        stopped = self.life.stop()
        for _ in range(5):
            vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        (failure,) = ended
        self.assertIsInstance(cast("Any", failure).value, CancelledError)
        self.assertEqual(len(self.log.fields_of("stopped_server")), 1)

    def test_a_stop_while_an_old_sink_drains(self) -> None:
        self.start()
        vehicle = self.connected()
        self.memory.hold()
        self.send(vehicle, b"1")
        self.reload_to_own()
        stopped = self.life.stop()
        vehicle.advance(0.1)
        self.assertFalse(stopped.called)
        self.memory.release()
        for _ in range(5):
            vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        self.assertEqual(vehicle.acked, [b"1"])
        self.assertEqual(self.journal.count("stop memory"), 1)
        self.assertEqual(self.log.fields_of("stopped_server"), [{"undelivered_records": 0}])

    def test_an_old_sink_that_never_drains_holds_the_stop_up_to_the_deadline(self) -> None:
        self.start()
        vehicle = self.connected()
        self.memory.hold()
        self.send(vehicle, b"1")
        self.reload_to_own()
        stopped = self.life.stop()
        for _ in range(110):
            vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        self.assertEqual(self.log.fields_of("stopped_server"), [{"undelivered_records": 1}])


class RejectedTests(ReloadCase):
    def test_records_that_an_old_sink_rejects_settle(self) -> None:
        self.start()
        vehicle = self.connected()
        self.memory.hold()
        self.send(vehicle, b"1")
        self.reload(records={"V": ["logger"]}, reliable_ack_sources={})
        self.memory.verdict = lambda _: Rejected("no")
        self.memory.release()
        vehicle.advance(0.1)
        self.assertEqual(vehicle.acked, [])
        self.assertEqual(list(self.parts.lanes), ["logger"])
