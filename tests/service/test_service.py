"""The life of a gateway on a reactor in memory, with vehicles over real TLS in memory."""

from __future__ import annotations

import json
import socket
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest import TestCase, mock

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides

from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent, VehicleConnectivity
from fleetgw.adapters.errors.airbrake_client import AirbrakeClient
from fleetgw.adapters.logs.lines import JsonLog
from fleetgw.app.config import parse_config
from fleetgw.app.service import process
from fleetgw.app.service.composition import Parts, compose
from fleetgw.app.service.life import GatewayLife
from fleetgw.app.service.process import GatewayProcess
from fleetgw.app.service.reloading import LOOK_EVERY_S
from fleetgw.app.service.service_maker import Options, makeService
from fleetgw.app.service.sink_runner import READY_WITHIN_S
from fleetgw.domain.errors import ConfigurationError, FleetgwError, Problem
from fleetgw.domain.ports import IReloadable
from fleetgw.simulator.certificates import Credential, make_authority, make_server, make_vehicle
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor
from fleetgw.testing.vehicle import InMemoryVehicle

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IProtocol
    from twisted.internet.protocol import Factory

    from fleetgw.adapters.sinks.memory.sink import MemorySink

VIN = "5YJ3E1EA7KF000001"
DOOR, STATUS, METRICS = 4443, 8080, 9090


class MemoryPort:
    """A port that listens in memory."""

    def __init__(self, number: int, factory: Factory, journal: list[str]) -> None:
        self.number = number
        self.factory = factory
        self.reading = True
        self.listening = True
        self.transport: object = None
        self.interface = ""
        self._journal = journal
        factory.doStart()

    def startReading(self) -> None:
        self.reading = True
        self._journal.append(f"read {self.number}")

    def stopReading(self) -> None:
        self.reading = False

    def stopListening(self) -> Deferred[None]:
        self.listening = False
        self._journal.append(f"stop listening {self.number}")
        self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self.number)


class ServiceReactor(ThreadlessReactor):
    """Ports and hooks in memory; ``taken`` numbers cannot be listened on."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[str] = []
        self.ports: dict[int, MemoryPort] = {}
        self.taken: set[int] = set()
        self.stops = 0
        self._hooks: list[Callable[[], object]] = []

    def listenTCP(self, port: int, factory: Factory, backlog: int = 50, interface: str = "") -> MemoryPort:
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        self.ports[port] = made = MemoryPort(port, factory, self.journal)
        made.interface = interface
        return made

    def callWhenRunning(self, hook: Callable[[], object]) -> None:
        self._hooks.append(hook)

    def run(self) -> None:
        for hook in self._hooks:
            hook()

    def stop(self) -> None:
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


@cache
def credentials() -> tuple[Credential, Credential, Credential]:
    """An authority, a server of its and a vehicle; OpenSSL looks at the real time."""
    now = datetime.now(UTC)
    authority = make_authority(now, 30)
    return authority, make_server(authority, ["localhost"], now, 30), make_vehicle(authority, VIN, now, 30)


class ServiceCase(TestCase):
    def setUp(self) -> None:
        self.authority, self.server, self.vehicle_credential = credentials()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.write_certificates(self.server)
        self.reactor = ServiceReactor()
        self.journal = self.reactor.journal
        self.log = ReadableLog()

    def write_certificates(self, server: Credential) -> None:
        (self.folder / "ca.crt").write_bytes(self.authority.certificate_pem())
        (self.folder / "server.crt").write_bytes(server.certificate_pem())
        (self.folder / "server.key").write_bytes(server.key_pem())

    def make(self, **changes: object) -> GatewayLife:
        config = {
            "port": DOOR,
            "status_port": STATUS,
            "monitoring": {"prometheus_metrics_port": METRICS},
            "tls": {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"},
            "records": {"V": ["memory", "logger"], "connectivity": ["memory"]},
            "reliable_ack_sources": {"V": "memory"},
        }
        loaded = parse_config(json.dumps(config | changes), {}, self.folder)
        self.parts: Parts = compose(loaded, cast("Any", self.reactor), self.log)  # a reactor's few methods that it needs
        self.memory = cast("MemorySink", self.parts.lanes["memory"].sink)
        for name, lane in self.parts.lanes.items():
            self.follow(name, lane.sink)
        lines = self.log if isinstance(self.log, JsonLog) else None
        self.life = GatewayLife(self.parts, cast("Any", self.reactor), lines)
        return self.life

    def begin(self, life: GatewayLife) -> list[object]:
        """Bind and start; the result of the start will be in the list."""
        ended: list[object] = []
        life.bind()
        life.start().addBoth(ended.append)
        return ended

    def follow(self, name: str, sink: Any) -> None:  # an instance whose methods are replaced
        """Have a sink's start and stop in the journal."""
        start, stop = sink.start, sink.stop
        sink.start = lambda: self.journal.append(f"start {name}") or start()
        sink.stop = lambda: self.journal.append(f"stop {name}") or stop()

    def start(self, **changes: object) -> GatewayLife:
        life = self.make(**changes)
        self.begin(life)
        self.reactor.run()
        return life

    def vehicle(self) -> InMemoryVehicle:
        return InMemoryVehicle(self.parts.door, self.vehicle_credential, self.authority.certificate_pem(), self.reactor)

    def get(self, port: int, path: str) -> bytes:
        return self.request(port, path).value()

    def request(self, port: int, path: str) -> StringTransport:
        protocol = cast("IProtocol", self.reactor.ports[port].factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return transport

    def events(self) -> list[str]:
        return [event for _, event, _ in self.log.entries]

    def statuses(self) -> list[int]:
        """Of the connectivity records that the memory sink has."""
        records = [record for record in self.memory.received if record.record_type == "connectivity"]
        return [VehicleConnectivity.FromString(record.payload).status for record in records]

    def stopped_within(self, stopped: Deferred[None], seconds: float) -> bool:
        for _ in range(round(seconds / 0.05)):
            self.reactor.advance(0.05)
        return stopped.called


class StartTests(ServiceCase):
    def test_ports_first_then_sinks_then_vehicles(self) -> None:
        life = self.make()
        life.bind()
        self.assertEqual(sorted(self.reactor.ports), [DOOR, STATUS, METRICS])
        self.assertFalse(self.reactor.ports[DOOR].reading)
        life.start()
        self.assertEqual(self.journal, [])
        self.reactor.run()
        self.assertEqual(self.journal, ["read 8080", "read 9090", "start memory", "start logger", f"read {DOOR}"])
        self.assertEqual(life.port, DOOR)
        self.assertTrue(
            {"starting_server", "status_server_configured", "custom_ca_file_appened", "server_listening"}
            <= set(self.events())
        )

    def test_probes_reach_the_status_port_at_every_address(self) -> None:
        self.make(host="10.0.0.1").bind()
        self.assertEqual(self.reactor.ports[DOOR].interface, "10.0.0.1")
        self.assertEqual(self.reactor.ports[STATUS].interface, "")
        self.assertEqual(self.reactor.ports[METRICS].interface, "127.0.0.1")

    def test_no_door_before_the_last_sink_may_be_dispatched_to(self) -> None:
        life = self.make()
        started: Deferred[None] = Deferred()
        self.memory.start = lambda: started  # type: ignore[method-assign]  # to hold it
        self.begin(life)
        self.reactor.run()
        self.assertFalse(self.reactor.ports[DOOR].reading)
        started.callback(None)
        self.assertTrue(self.reactor.ports[DOOR].reading)

    def test_a_sink_that_is_not_ready_holds_up_nothing_and_is_named(self) -> None:
        life = self.make()
        self.memory.go_away("no broker")
        self.begin(life)
        self.reactor.run()
        self.assertTrue(self.reactor.ports[DOOR].reading)
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
                self.assertFalse(self.reactor.ports[DOOR].reading)
                self.assertEqual(self.log.fields_of("sink_start_failed")[0]["error"], reason)
                stopped = life.stop()
                self.assertTrue(self.stopped_within(stopped, 1))
                self.assertEqual([each for each in self.journal if each.startswith("stop m")], [], "never started")
                self.assertIn("stop logger", self.journal)
                self.assertEqual(self.reactor.stops, 0, "the reactor is the program's")

    def test_a_port_that_is_taken_is_named_by_its_key(self) -> None:
        keys = {DOOR: "port", STATUS: "status_port", METRICS: "monitoring.prometheus_metrics_port"}
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

    def test_an_inherited_socket_that_no_port_has_the_name_of_is_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as inherited, self.assertRaises(ConfigurationError) as caught:
            self.make(monitoring={}).bind({"port": inherited, "fleetgw.socket": inherited})
        (problem,) = caught.exception.problems
        self.assertEqual(problem.path, "fleetgw.socket")
        self.assertEqual(problem.fix, 'name it one of "port", "status_port"')
        self.assertEqual(self.reactor.ports, {}, "nothing was bound")

    def test_pages_only_where_they_are_configured(self) -> None:
        self.make(status_port=0, monitoring={}).bind()
        self.assertEqual(list(self.reactor.ports), [DOOR])

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
        server.settimeout(10)
        host = f"127.0.0.1:{server.getsockname()[1]}"
        life = self.start(monitoring={"statsd": {"host": host, "prefix": "ft.", "flush_period": 60000}})
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(1)
        stopped = life.stop()
        vehicle.pump()
        vehicle.advance(0.1)
        self.assertTrue(stopped.called)
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

    def test_status_and_uptime(self) -> None:
        self.reactor.advance(1000)
        self.start()
        self.reactor.advance(61.5)
        self.assertIn(b"\nuptime_sec 61\n", self.get(METRICS, "/metrics"))
        status = self.get(STATUS, "/status")
        self.assertTrue(status.startswith((b"HTTP/1.0 200 ", b"HTTP/1.1 200 ")), status)
        self.assertTrue(status.endswith(b"\r\n\r\nok"), status)


class StopTests(ServiceCase):
    def test_the_whole_order(self) -> None:
        life = self.start()
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(1)
        self.memory.hold()
        vehicle.send("V", b"", b"1")
        vehicle.advance(0.1)
        stopped = life.stop()

        # not ready, not listening, not reading
        self.assertIn(b" 503 ", self.get(STATUS, "/status").splitlines()[0])
        self.assertFalse(self.reactor.ports[DOOR].listening)
        vehicle.send("V", b"", b"unread")
        vehicle.advance(0.5)
        self.assertEqual(vehicle.acked, [])
        self.assertIsNone(vehicle.closed)
        self.assertEqual([record.txid for record in self.memory.received if record.record_type == "V"], [])

        # settled: the last acks, then goodbye
        self.memory.release()
        vehicle.pump()
        self.assertEqual(vehicle.acked, [b"1"])
        self.assertEqual((vehicle.closed and vehicle.closed.code, stopped.called), (1001, False))

        # the record of its going, then the sinks, then the pages
        vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        self.assertEqual(self.statuses(), [ConnectivityEvent.CONNECTED, ConnectivityEvent.DISCONNECTED])
        self.assertNotIn(b"unread", [record.txid for record in self.memory.received])
        order = [f"stop listening {DOOR}", "stop memory", "stop logger", f"stop listening {STATUS}"]
        order += [f"stop listening {METRICS}"]
        self.assertEqual(self.journal[-5:], order)
        self.assertEqual(self.log.fields_of("stopped_server"), [{"undelivered_records": 0}])
        events = self.events()
        self.assertLess(events.index("stopping_server"), events.index("socket_disconnected"))
        self.assertEqual(self.log.fields_of("stopping_server"), [{"connections": 1}])

    def test_at_once_when_nothing_is_there(self) -> None:
        stopped = self.start().stop()
        self.assertTrue(stopped.called)

    def test_nothing_is_left_on_the_clock(self) -> None:
        life = self.start()
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(1)
        stopped = life.stop()
        vehicle.pump()
        vehicle.advance(0.1)
        self.assertTrue(stopped.called)
        vehicle.advance(60)  # twisted's TLS and the simulator have timers of their own
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_hung_sink_holds_the_stop_up_to_the_deadline_and_no_longer(self) -> None:
        life = self.start()
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(1)
        self.memory.hold()
        vehicle.send("V", b"", b"1")
        vehicle.advance(0.1)
        stopped = life.stop()
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

    def test_the_last_lines_may_wait_for_their_reader_and_what_it_did_not_take_is_counted(self) -> None:
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

    def test_a_hung_sink_costs_no_other_sink_its_disconnected_records(self) -> None:
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

    def test_a_sink_whose_stop_breaks_leaves_the_others_to_stop(self) -> None:
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

    def test_a_vehicle_that_does_not_answer_the_goodbye_is_cut(self) -> None:
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
        life = self.start(delivery={"drain_timeout_s": 1, "sinks": {"memory": {"drain_timeout_s": 20}}})
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.advance(1)
        self.memory.hold()
        vehicle.send("V", b"", b"1")
        vehicle.advance(0.1)
        stopped = life.stop()
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
        self.assertNotIn(f"read {DOOR}", self.journal)
        self.assertEqual((self.log.fields_of("sink_start_failed"), self.reactor.stops), ([], 0))

    def test_stopping_before_the_reactor_runs(self) -> None:
        life = self.make()
        ended = self.begin(life)
        self.assertTrue(life.stop().called)
        self.assertTrue(cast("Failure", ended[0]).check(CancelledError))
        self.reactor.run()
        self.assertNotIn("start memory", self.journal)

    def test_a_start_that_is_given_up_ends_what_has_begun(self) -> None:
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
        self.assertFalse(self.reactor.ports[DOOR].reading)


class ProcessTests(ServiceCase):
    """The gateway under twistd. What would change this very process is replaced."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("early_signals", "signal", "gc", "_before_threads_are_awaited"):
            patched = mock.patch.object(process, name)
            setattr(self, name, patched.start())
            self.addCleanup(patched.stop)

    def process(self, **changes: object) -> GatewayProcess:
        self.make(**changes)
        log = mock.Mock(wraps=self.log, finish=lambda: 0)
        return GatewayProcess(self.life, log, mock.Mock(), cast("Any", self.reactor), {})

    def exit_status(self) -> int:
        called: Any = self._before_threads_are_awaited  # type: ignore[attr-defined]  # a double of ``setUp``
        ((_, status),) = [call.args for call in called.call_args_list]
        return int(status)

    def test_a_stop_that_was_asked_for_ends_with_0(self) -> None:
        service = self.process()
        service.privilegedStartService()
        service.startService()
        self.reactor.run()
        self.assertEqual(self.life.port, DOOR)
        self.assertTrue(service.stopService().called)
        self.assertEqual((self.exit_status(), self.reactor.stops), (0, 0))

    def test_a_gateway_that_cannot_start_ends_the_process_with_1(self) -> None:
        def broken() -> Deferred[None]:
            raise RuntimeError("a bug")

        for start in (broken, lambda: fail(ConfigurationError([Problem("a", "b", "c")]))):
            self.reactor = ServiceReactor()
            self._before_threads_are_awaited.reset_mock()  # type: ignore[attr-defined]  # a double
            service = self.process()
            self.memory.start = start  # type: ignore[method-assign]  # a double
            service.privilegedStartService()
            service.startService()
            self.assertEqual((self.reactor.stops, service.exit_status), (0, 0))
            self.reactor.run()
            self.assertEqual((self.reactor.stops, service.exit_status), (1, 1))
            self.assertTrue(self.stopped_within(service.stopService(), 1))
            self.assertEqual(self.exit_status(), 1)

    def test_an_error_that_nobody_foresaw_ends_it_too_and_is_logged(self) -> None:
        service = self.process()
        service.privilegedStartService()
        with mock.patch.object(self.life, "start") as start:
            start.return_value = fail(KeyError("a bug"))
            service.startService()
        self.assertEqual((self.reactor.stops, service.exit_status), (1, 1))
        self.assertIn("a bug", str(self.log.fields_of("cannot_start")))

    def test_a_stop_while_sinks_start_is_no_failure(self) -> None:
        service = self.process()
        self.memory.start = Deferred  # type: ignore[method-assign]  # a double
        service.privilegedStartService()
        service.startService()
        self.reactor.run()
        self.assertTrue(service.stopService().called)
        self.assertEqual((self.exit_status(), self.reactor.stops), (0, 0))

    def test_to_end_twice_is_harmless(self) -> None:
        service = self.process()
        service.end()
        service.end()
        self.assertEqual(self.reactor.stops, 2)


class ReloadTests(ServiceCase):
    def certificate_of_new_connection(self) -> bool:
        """Whether a vehicle that trusts only our authority can connect."""
        vehicle = self.vehicle()
        return vehicle.connect()

    def test_good_files_serve_new_connections_and_old_ones_live_on(self) -> None:
        life = self.start()
        old = self.vehicle()
        old.connect()
        now = datetime.now(UTC)
        stranger = make_authority(now, 30, "Stranger")
        self.write_certificates(make_server(stranger, ["localhost"], now, 30))
        self.assertTrue(self.certificate_of_new_connection())
        life.reload_certificates()
        self.assertFalse(self.certificate_of_new_connection())
        self.assertEqual(self.events().count("certificates_reloaded"), 1)
        self.assertTrue(old.is_open)
        old.send("V", b"", b"1")
        old.advance(0.1)
        self.assertEqual(old.acked, [b"1"])

    def test_bad_files_keep_the_old_ones(self) -> None:
        life = self.start()
        for name in ("server.crt", "server.key", "ca.crt"):
            with self.subTest(name):
                self.write_certificates(self.server)
                (self.folder / name).write_bytes(b"nothing of use")
                life.reload_certificates()
                self.assertTrue(self.certificate_of_new_connection())
                (self.folder / name).unlink()
                life.reload_certificates()
                self.assertTrue(self.certificate_of_new_connection())
        self.assertEqual(self.events().count("certificates_not_reloaded"), 6)
        self.assertTrue(all(fields["error"] for fields in self.log.fields_of("certificates_not_reloaded")))

    def test_what_cannot_be_used_is_named_with_the_reason(self) -> None:
        life = self.start()
        (self.folder / "server.crt").write_bytes(b"nothing of use")
        life.reload_certificates()
        (self.folder / "server.crt").unlink()
        life.reload_certificates()
        errors = [str(fields["error"]) for fields in self.log.fields_of("certificates_not_reloaded")]
        for error, reason in zip(errors, ("no start line", "No such file or directory"), strict=True):
            self.assertIn(str(self.folder / "server.crt"), error)
            self.assertIn(reason, error)

    def test_certificates_are_looked_at_every_minute_and_a_failure_is_said_once(self) -> None:
        self.start()
        self.reactor.advance(LOOK_EVERY_S)
        self.assertNotIn("certificates_reloaded", self.events(), "nothing has changed")
        (self.folder / "server.key").write_bytes(b"nothing of use")
        for _ in range(3):
            self.reactor.advance(LOOK_EVERY_S)
        self.assertEqual(self.events().count("certificates_not_reloaded"), 1)
        self.write_certificates(self.server)
        self.reactor.advance(LOOK_EVERY_S)
        (fields,) = self.log.fields_of("certificates_reloaded")
        self.assertIn(str(self.folder / "server.key"), cast("Any", fields["files"]))

    def test_the_sinks_that_have_files_are_asked_too(self) -> None:
        life = self.make()
        answers: list[Any] = [
            ["client.key"],
            [],
            FleetgwError("client.key: empty"),
            FleetgwError("client.key: empty"),
            ["a"],
        ]
        asked: list[object] = []

        def reload() -> Any:  # what a sink may answer
            asked.append(answers[0])
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        cast("Any", self.memory).reload = reload
        alsoProvides(self.memory, IReloadable)
        self.begin(life)
        self.reactor.advance(LOOK_EVERY_S)
        life.reload_certificates()
        self.assertEqual(asked, [], "not before the sink has started")
        self.reactor.run()
        life.reload_certificates()
        self.assertEqual(self.log.fields_of("credentials_reloaded"), [{"dispatcher": "memory", "files": ["client.key"]}])
        for _ in range(3):
            self.reactor.advance(LOOK_EVERY_S)
        self.assertEqual(
            self.log.fields_of("credentials_not_reloaded"), [{"dispatcher": "memory", "error": "client.key: empty"}]
        )
        life.reload_certificates()
        self.assertEqual(self.events().count("credentials_reloaded"), 2)
        life.stop()
        self.reactor.advance(10 * LOOK_EVERY_S)
        self.assertEqual((len(asked), answers), (5, []), "not once it stops")


class MakingTests(TestCase):
    def test_interrupted_while_sinks_are_loaded(self) -> None:
        options = Options()
        options["config"] = "config.json"
        with (
            mock.patch("fleetgw.app.service.service_maker.load_config", side_effect=KeyboardInterrupt),
            self.assertRaises(SystemExit) as caught,
        ):
            makeService(options)
        self.assertEqual(caught.exception.code, 130)
