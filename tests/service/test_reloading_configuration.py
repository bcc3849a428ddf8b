"""Another configuration is taken over while vehicles are connected."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.defer import CancelledError

from fleetgw.adapters.logs.lines import JsonLog
from tests.support.reload_case import ReloadCase


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

    def test_a_key_that_needs_a_restart_in_a_section_that_is_applied(self) -> None:
        self.start(status_port=8080, operations={"hosts": ["one"]})
        self.assertEqual(self.reload(status_port=8080, operations={"folder": "two", "hosts": ["two"]}), [None])
        in_effect = self.life.config.operations
        self.assertEqual((in_effect.folder, in_effect.hosts), (None, ("two",)))
        (kept,) = self.log.fields_of("restart_needed")
        self.assertEqual(kept["changed"].keys(), {"operations.folder"})

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
