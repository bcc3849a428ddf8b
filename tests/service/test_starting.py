"""The start of a gateway: ports, monitors, pages and sinks, then vehicles."""

from __future__ import annotations

import json
import platform
import socket
from importlib.metadata import version
from typing import cast
from unittest import mock

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from fleetgw.adapters.errors.airbrake_client import AirbrakeClient
from fleetgw.adapters.ingress.hot_path import DESCRIPTION, HOT_PATH
from fleetgw.app.service.sink_runner import READY_WITHIN_S
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.deadline import DEADLINE_S
from tests.support.service_case import METRICS, STATUS, VEHICLES, ServiceCase, ServiceReactor


class StartTests(ServiceCase):
    def test_ports_first_then_sinks_then_vehicles(self) -> None:
        life = self.make()
        life.bind()
        self.assertEqual(sorted(self.reactor.ports), [VEHICLES, STATUS, METRICS])
        self.assertFalse(self.reactor.ports[VEHICLES].reading)
        life.start()
        self.assertEqual(self.journal, [])
        self.reactor.run()
        self.assertEqual(self.journal, ["read 8080", "read 9090", "start memory", "start logger", f"read {VEHICLES}"])
        self.assertEqual(life.port, VEHICLES)
        self.assertTrue(
            {"starting_server", "status_server_configured", "custom_ca_file_appened", "server_listening"}
            <= set(self.events())
        )

    def test_probes_reach_the_status_port_at_every_address(self) -> None:
        self.make(host="10.0.0.1").bind()
        self.assertEqual(self.reactor.ports[VEHICLES].interface, "10.0.0.1")
        self.assertEqual(self.reactor.ports[STATUS].interface, "")
        self.assertEqual(self.reactor.ports[METRICS].interface, "127.0.0.1")

    def test_no_vehicle_is_accepted_before_the_last_sink_has_started(self) -> None:
        life = self.make()
        started: Deferred[None] = Deferred()
        self.memory.start = lambda: started  # type: ignore[method-assign]  # to hold it
        self.begin(life)
        self.reactor.run()
        self.assertFalse(self.reactor.ports[VEHICLES].reading)
        started.callback(None)
        self.assertTrue(self.reactor.ports[VEHICLES].reading)

    def test_a_sink_that_is_not_ready_delays_nothing_and_is_logged(self) -> None:
        life = self.make()
        self.memory.go_away("no broker")
        self.begin(life)
        self.reactor.run()
        self.assertTrue(self.reactor.ports[VEHICLES].reading)
        self.assertEqual(self.log.fields_of("sink_not_ready"), [])
        self.reactor.advance(READY_WITHIN_S)
        self.assertEqual(self.log.fields_of("sink_not_ready"), [{"dispatcher": "memory", "error": "no broker"}])
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.send("V", b"", b"1")
        vehicle.advance(1)
        self.assertEqual(vehicle.acked, [])
        self.memory.come_back()
        vehicle.advance(31)
        self.assertEqual(vehicle.acked, [b"1"])

    def test_a_sink_that_cannot_start_fails_the_start_with_its_reasons(self) -> None:
        problems = [Problem("memory.a", "is wrong", "set it right"), Problem("memory.b", "is too", "set it too")]
        failures: list[tuple[Exception, str, int]] = [
            (ConfigurationError(problems), "is wrong", 2),
            (RuntimeError("a bug"), "RuntimeError: a bug", 1),
        ]
        for error, reason, count in failures:
            with self.subTest(reason):
                self.reactor, self.log = ServiceReactor(), ReadableLog()
                self.journal = self.reactor.journal
                life = self.make()
                self.memory.start = lambda error=error: fail(error)  # type: ignore[method-assign, misc]  # a double
                ended = self.begin(life)
                self.assertEqual(ended, [])
                self.reactor.run()
                (failure,) = ended
                self.assertIsInstance(failure, Failure)
                raised = cast("ConfigurationError", cast("Failure", failure).value)
                self.assertEqual(len(raised.problems), count)
                self.assertFalse(self.reactor.ports[VEHICLES].reading)
                self.assertEqual(self.log.fields_of("sink_start_failed")[0]["error"], reason)
                stopped = life.stop()
                self.assertTrue(self.stopped_within(stopped, 1))
                self.assertEqual([each for each in self.journal if each.startswith("stop m")], [], "never started")
                self.assertIn("stop logger", self.journal)
                self.assertEqual(self.reactor.stops, 0, "the reactor is the program's")

    def test_a_port_that_is_taken_is_named_by_its_key(self) -> None:
        keys = {VEHICLES: "port", STATUS: "status_port", METRICS: "monitoring.prometheus_metrics_port"}
        for number, key in keys.items():
            with self.subTest(key):
                self.reactor = ServiceReactor()
                self.reactor.taken = {number}
                with self.assertRaises(ConfigurationError) as caught:
                    self.make().bind()
                (problem,) = caught.exception.problems
                self.assertEqual(problem.path, key)
                self.assertIn(str(number), problem.what)
                self.assertIn("Address already in use", problem.what)
                self.assertIn(f"sport = :{number}", problem.fix)

    def test_an_inherited_socket_without_a_port_of_its_name_is_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as inherited, self.assertRaises(ConfigurationError) as caught:
            self.make(monitoring={}).bind({"port": inherited, "fleetgw.socket": inherited})
        (problem,) = caught.exception.problems
        self.assertEqual(problem.path, "fleetgw.socket")
        self.assertEqual(problem.fix, 'name it one of "port", "status_port"')
        self.assertEqual(self.reactor.ports, {}, "nothing was bound")

    def test_pages_only_where_they_are_configured(self) -> None:
        self.make(status_port=0, monitoring={}).bind()
        self.assertEqual(list(self.reactor.ports), [VEHICLES])

    def test_the_profiler_listens_on_loopback_and_a_profile_ends_with_the_gateway(self) -> None:
        life = self.start(monitoring={"profiler_port": 6060, "profiling_path": str(self.folder / "profile")})
        self.assertEqual(self.reactor.ports[6060].interface, "127.0.0.1")
        self.assertIn(("info", "profiler_started", {"port": 6060}), self.log.entries)
        self.assertIn(b" 200 OK", self.get(6060, "/gc_stats"))
        self.assertIn(b" 304 ", self.get(6060, "/live_profiler?mode=off"))
        profile = self.request(6060, "/debug/pprof/profile?seconds=300")
        self.assertEqual(profile.value(), b"")
        life.stop()
        self.reactor.advance(1)
        self.assertIn(b" 503 ", profile.value())

    def test_statsd_has_the_last_numbers_when_the_gateway_has_stopped(self) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(server.close)
        server.bind(("127.0.0.1", 0))
        server.settimeout(DEADLINE_S)
        host = f"127.0.0.1:{server.getsockname()[1]}"
        life = self.start(monitoring={"statsd": {"host": host, "prefix": "ft.", "flush_period": 60000}})
        self.connect_and_stop(life)
        self.assertIn(b"\nft.memory_publish_total,record_type=connectivity:2|c\n", server.recv(65536))

    def test_errors_are_reported_from_the_start_on_and_the_last_ones_at_the_stop(self) -> None:
        notices: list[tuple[str, str]] = []

        async def post(_client: AirbrakeClient, body: bytes) -> None:
            notice = json.loads(body)
            notices.append((notice["context"]["environment"], notice["errors"][0]["type"]))

        life = self.make(airbrake={"project_id": 7, "project_key": "k", "environment": "lab"})
        with mock.patch.object(AirbrakeClient, "post", post):
            self.parts.log.error("before_the_start")
            self.reactor.advance(10)
            self.assertEqual(notices, [])
            self.begin(life)
            self.reactor.run()
            self.assertEqual(notices, [("lab", "before_the_start")])
            self.parts.log.error("within_a_second")
            stopped = life.stop()
            self.reactor.advance(0.1)
        self.assertTrue(stopped.called)
        self.assertEqual(notices[1:], [("lab", "within_a_second")])

    def test_the_hot_path_is_logged_and_a_metric(self) -> None:
        self.start()
        self.assertEqual([fields["hot_path"] for fields in self.log.fields_of("starting_server")], [DESCRIPTION])
        labels = f'hot_path="{HOT_PATH}",python="{platform.python_version()}",version="{version("fleetgw")}"'
        self.assertIn(f"\nfleetgw_build_info{{{labels}}} 1\n".encode(), self.get(METRICS, "/metrics"))

    def test_status_and_uptime(self) -> None:
        self.reactor.advance(1000)
        self.start()
        self.reactor.advance(61.5)
        self.assertIn(b"\nuptime_sec 61\n", self.get(METRICS, "/metrics"))
        status = self.get(STATUS, "/status")
        self.assertTrue(status.startswith((b"HTTP/1.0 200 ", b"HTTP/1.1 200 ")), status)
        self.assertTrue(status.endswith(b"\r\n\r\nok"), status)
