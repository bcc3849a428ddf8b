"""Another configuration is taken over while vehicles are connected."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred, fail

from fleetgw.adapters.logs.lines import JsonLog
from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.domain.errors import ConfigurationError, Problem, Rejected
from fleetgw.simulator.certificates import make_vehicle
from fleetgw.testing.sink_doubles import make_record
from tests.support.service_case import VIN, ServiceCase

if TYPE_CHECKING:
    from fleetgw.testing.vehicle import InMemoryVehicle

OWN_SINK = """
from attrs import evolve
from zope.interface import implementer_only
from fleetgw.domain.ports import IDispatcher
from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.adapters.sinks.sink_type import Confirms, ConfirmsHandOver, SinkType

def make(context):
    return MemorySink(evolve(context, settings={}))

def confirmation(settings):
    return Confirms() if settings.get("sure", True) else ConfirmsHandOver("own is not sure")

@implementer_only(IDispatcher)
class Fixed(MemorySink):
    pass

FIXED = SinkType(name="own", settings=dict[str, object], make=Fixed)
TYPE = SinkType(name="own", settings=dict[str, object], make=make, confirmation=confirmation)
"""


class ReloadCase(ServiceCase):
    """A gateway that has started, with a vehicle.

    :ivar own: the section of a third party's sink, which is a memory sink.
    """

    def setUp(self) -> None:
        super().setUp()
        (self.folder / f"own_sink_{id(self)}.py").write_text(OWN_SINK)
        self.own: dict[str, dict[str, object]] = {"own": {"class": f"own_sink_{id(self)}:TYPE"}}
        sys.path.insert(0, str(self.folder))
        importlib.invalidate_caches()
        self.addCleanup(sys.path.remove, str(self.folder))

    def with_settings(self, **settings: object) -> dict[str, object]:
        """Keys of a configuration that routes V to the third party's sink with these settings."""
        return {
            "records": {"V": ["own", "memory"]},
            "reliable_ack_sources": {},
            "dispatchers": {"own": self.own["own"] | {"settings": settings}},
        }

    def reload(self, **changes: object) -> list[object]:
        """Write the configuration with changes, and have it read; the list gets the result."""
        self.write_config(**changes)
        return self.read_again()

    def read_again(self) -> list[object]:
        """Have the file read again; the list gets the result."""
        ended: list[object] = []
        self.life.reload(self.source).addBoth(ended.append)
        for _ in range(3):
            self.reactor.advance(0)
        return ended

    def connected(self) -> InMemoryVehicle:
        """A vehicle that is connected."""
        vehicle = self.vehicle()
        self.assertTrue(vehicle.connect())
        vehicle.advance(0.1)
        return vehicle

    def send(self, vehicle: InMemoryVehicle, *txids: bytes, record_type: str = "V") -> None:
        """Send records in one read."""
        for txid in txids:
            vehicle.send(record_type, b"", txid)
        vehicle.advance(0.1)

    def sink(self, name: str) -> MemorySink:
        """A memory sink that runs."""
        sink = self.parts.lanes[name].sink
        assert isinstance(sink, MemorySink)
        return sink

    def txids(self, sink: MemorySink, record_type: str = "V") -> list[bytes]:
        """The txids of a sink's records."""
        return [record.txid for record in sink.received if record.record_type == record_type]

    def refused(self, ended: list[object]) -> list[tuple[object, object]]:
        """The problems of a reload that has changed nothing, as logged: key and error."""
        (failure,) = ended
        self.assertIsInstance(getattr(failure, "value", None), ConfigurationError)
        self.assertNotIn("configuration_reloaded", self.events())
        fields = self.log.fields_of("configuration_not_reloaded")
        self.assertTrue(all(each["fix"] for each in fields))
        return [(each["key"], each["error"]) for each in fields]


class AppliedTests(ReloadCase):
    def test_a_new_route_takes_effect_on_an_open_connection(self) -> None:
        self.start(records={"V": ["memory"]})
        vehicle = self.connected()
        self.send(vehicle, b"1")
        self.assertEqual(self.reload(records={"V": ["logger"], "alerts": ["memory"]}, reliable_ack_sources={}), [None])
        self.send(vehicle, b"2")
        self.send(vehicle, b"3", record_type="alerts")
        self.assertEqual(vehicle.acked, [b"1", b"2", b"3"])
        self.assertEqual((self.txids(self.memory), self.txids(self.memory, "alerts")), ([b"1"], [b"3"]))
        self.assertEqual(list(self.parts.lanes), ["memory", "logger"])
        (fields,) = self.log.fields_of("configuration_reloaded")
        self.assertEqual(
            fields["changed"],
            {
                "records.V": '["memory"] -> ["logger"]',
                "records.alerts": '(none) -> ["memory"]',
                "reliable_ack_sources.V": '"memory" -> (none)',
            },
        )
        self.assertNotIn("restart_needed", self.events())
        self.assertIsNone(vehicle.closed)

    def test_nothing_that_differs(self) -> None:
        self.start()
        self.assertEqual(self.read_again(), [None])
        self.assertEqual(self.log.fields_of("configuration_reloaded"), [{"changed": {}}])

    def test_keys_that_need_a_restart_are_named_and_the_rest_is_applied(self) -> None:
        self.start()
        vehicle = self.connected()
        ended = self.reload(port=4444, memory={"capacity": 7}, delivery={"queue_records": 5}, unrouted="refuse")
        self.assertEqual(ended, [None])
        (kept,) = self.log.fields_of("restart_needed")
        self.assertEqual(
            kept["changed"],
            {"port": "4443 -> 4444", "delivery.queue_records": "100000 -> 5", "memory.capacity": "10000 -> 7"},
        )
        self.send(vehicle, b"1", record_type="nothing")
        self.assertEqual(vehicle.acked, [])
        self.read_again()
        self.assertEqual(len(self.log.fields_of("restart_needed")), 2, "as long as the file differs from what is in effect")
        self.assertEqual(self.log.fields_of("configuration_reloaded")[1], {"changed": {}})

    def test_secrets_are_masked(self) -> None:
        self.start(**self.with_settings(token="hush1"))
        self.reload(**self.with_settings(token="hush2"))
        self.assertNotIn("hush", str(self.log.entries))
        (kept,) = self.log.fields_of("restart_needed")
        self.assertEqual(kept["changed"], {"dispatchers.own.settings.token": '"********" -> "********"'})

    def test_a_replaced_secret_file_needs_no_restart(self) -> None:
        (self.folder / "secret").write_text("one")
        self.start(**self.with_settings(token={"file": "secret"}))
        (self.folder / "secret").write_text("two")
        self.reload(**self.with_settings(token={"file": "secret"}))
        self.assertNotIn("restart_needed", self.events())


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


class RefusedTests(ReloadCase):
    def test_every_problem_is_logged_and_nothing_changes(self) -> None:
        self.start()
        vehicle = self.connected()
        problems = {"status_port": -1, "log_level": "loud", "limits.ping_after_s": -1, "records.alerts[0]": "kafak"}
        ended = self.reload(
            records={"V": ["memory", "logger"], "alerts": ["kafak"]},
            log_level="loud",
            status_port=-1,
            limits={"ping_after_s": -1},
        )
        self.assertEqual([key for key, _ in self.refused(ended)], [*problems])
        self.send(vehicle, b"1")
        self.assertEqual((vehicle.acked, self.txids(self.memory)), ([b"1"], [b"1"]))

    def test_files_that_cannot_be_used(self) -> None:
        self.start()
        file = self.folder / "config.json"
        whole = file.read_text()
        for content, error in (
            (whole[: len(whole) // 2], "is not JSON"),
            ("", "is empty"),
            ("[]", "is not a JSON object"),
            (None, "no such file"),
        ):
            with self.subTest(error):
                self.log.entries.clear()
                if content is None:
                    file.unlink()
                else:
                    file.write_text(content)
                ((_, said),) = self.refused(self.read_again())
                self.assertIn(error, str(said))
        file.write_text(whole)
        self.assertEqual(self.read_again(), [None])

    def test_a_policy_that_is_honest_only_after_a_restart_is_refused(self) -> None:
        self.start(**self.with_settings(sure=False))
        ended = self.reload(**self.with_settings(sure=True), ack_policies={"V": "own"})
        ((key, error),) = self.refused(ended)
        self.assertEqual(key, "ack_policies.V")
        self.assertIn("own is not sure", str(error))

    def test_certificates_that_cannot_be_used(self) -> None:
        self.start()
        (self.folder / "server.key").write_text("nothing of use")
        self.assertIn("tls.server_key", [key for key, _ in self.refused(self.read_again())])


class OrderTests(ReloadCase):
    def test_a_reload_during_the_start_follows_it(self) -> None:
        life = self.make()
        self.begin(life)
        ended = self.reload(unrouted="refuse")
        self.assertEqual(ended, [])
        self.reactor.run()
        for _ in range(3):
            self.reactor.advance(0)
        self.assertEqual(ended, [None])
        events = self.events()
        self.assertLess(events.index("server_listening"), events.index("configuration_reloaded"))

    def test_two_at_once_follow_each_other(self) -> None:
        self.start()
        self.write_config(unrouted="refuse")
        ended: list[object] = []
        for _ in range(2):
            self.life.reload(self.source).addBoth(ended.append)
        for _ in range(5):
            self.reactor.advance(0)
        self.assertEqual(ended, [None, None])
        changed = [fields["changed"] for fields in self.log.fields_of("configuration_reloaded")]
        self.assertEqual(changed, [{"unrouted": '"accept" -> "refuse"'}, {}])

    def test_none_while_the_gateway_stops(self) -> None:
        self.start(drain={"wait_s": 5})
        self.life.stop()
        (failure,) = self.reload(unrouted="refuse")
        self.assertIsInstance(cast("Any", failure).value, CancelledError)
        self.assertNotIn("configuration_reloaded", self.events())

    def test_a_stop_while_the_file_is_read(self) -> None:
        self.start()
        ended: list[object] = []
        self.life.reload(self.source).addBoth(ended.append)
        stopped = self.life.stop()
        self.reactor.advance(0)
        self.assertTrue(stopped.called)
        self.assertIsInstance(cast("Any", ended[0]).value, CancelledError)
        self.assertNotIn("configuration_reloaded", self.events())


class LogLevelTests(ReloadCase):
    def test_at_once(self) -> None:
        class Stream:
            """Keeps the names of events."""

            def __init__(self) -> None:
                self.events: list[str] = []

            def write(self, line: bytes) -> None:
                self.events.append(json.loads(line)["msg"])

        stream = Stream()
        self.log = cast("Any", JsonLog(stream))
        self.start(log_level="error")
        self.reload(log_level="info")
        self.assertIn("configuration_reloaded", stream.events)
        stream.events.clear()
        self.reload(log_level="error")
        self.assertIn("configuration_reloaded", stream.events)
        stream.events.clear()
        self.connected()
        self.assertEqual(stream.events, [])


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
