"""Composition of a gateway: the sinks that are found, errors, and modules that are not imported."""

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast
from unittest import TestCase, mock

from fleetgw.adapters.errors.airbrake import AirbrakeReporter
from fleetgw.adapters.errors.null import NullReporter
from fleetgw.adapters.metrics.reactor_lag import ReactorLag
from fleetgw.adapters.metrics.runtime import RuntimeGauges
from fleetgw.adapters.metrics.statsd import StatsdExporter, StatsdSettings
from fleetgw.adapters.monitoring.profiler import Profiler
from fleetgw.adapters.sinks.logger.sink import LoggerSink
from fleetgw.adapters.sinks.registry import built_in_sinks
from fleetgw.app.config import BUILT_IN_SINKS, parse_config
from fleetgw.app.operations.kept_counts import KeptCounts
from fleetgw.app.operations.ticking import Ticking
from fleetgw.app.operations.traces import Traces
from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.app.service.composition import Parts, compose
from fleetgw.domain.deduplication import DeduplicationWindow
from fleetgw.domain.errors import ConfigurationError
from fleetgw.domain.identity import FixedClientType
from fleetgw.domain.ports import NotReady
from fleetgw.simulator.certificates import Credential, make_authority, make_server
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor
from tests.support.deadline import DEADLINE_S

MODULE = """
from twisted.internet.defer import succeed
from zope.interface import implementer
from fleetgw.adapters.sinks.sink_type import SinkType
from fleetgw.domain.ports import IDispatcher, IHoldsCopies, NotReady, RECEIPT

def declared(make):
    return SinkType(name="mine", settings=dict[str, object], make=make)

@implementer(IDispatcher)
class Sink:
    def __init__(self, context):
        self.name = context.name
        self.context = context
    def start(self):
        return succeed(None)
    def dispatch(self, batch):
        return succeed([RECEIPT] * len(batch))
    def stop(self):
        return succeed(None)
    def readiness(self):
        return NotReady(str(self.context.settings.get("colour")))

@implementer(IHoldsCopies)
class Heavy(Sink):
    memory_weight = 4

class Outer:
    Inner = declared(Sink)

class NoSink:
    def __init__(self, context):
        self.name = context.name

class Nameless(Sink):
    def __init__(self, context):
        super().__init__(context)
        self.name = "somebody"

class Broken(Sink):
    def __init__(self, context):
        raise KeyError("colour")

Sink, Heavy, NoSink, Nameless, Broken = map(declared, (Sink, Heavy, NoSink, Nameless, Broken))
"""

COMPOSE_AND_TELL = """
import sys
from pathlib import Path
from fleetgw.adapters.logs.null import NullLog
from fleetgw.app.service.composition import compose
from fleetgw.app.config import load_config
from twisted.internet import reactor
parts = compose(load_config(Path("config.json"), {}), reactor, NullLog())
print(*sorted({name.partition(".")[0] for name in sys.modules}))
print(*sorted(name for name in sys.modules if name.startswith("fleetgw.adapters.sinks")))
"""


@cache
def server_files() -> tuple[Credential, Credential]:
    now = datetime.now(UTC)
    authority = make_authority(now, 30)
    return authority, make_server(authority, ["localhost"], now, 30)


class CompositionCase(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        authority, server = server_files()
        (self.folder / "ca.crt").write_bytes(authority.certificate_pem())
        (self.folder / "server.crt").write_bytes(server.certificate_pem())
        (self.folder / "server.key").write_bytes(server.key_pem())

    def text(self, **changes: object) -> str:
        config = {
            "port": 4443,
            "namespace": "ns",
            "tls": {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"},
            "records": {"V": ["logger"]},
        }
        return json.dumps(config | changes)

    def compose(self, **changes: object) -> Parts:
        loaded = parse_config(self.text(**changes), {}, self.folder)
        return compose(loaded, cast("Any", ThreadlessReactor()), ReadableLog())  # nothing listens here

    def problems(self, **changes: object) -> Sequence[str]:
        with self.assertRaises(ConfigurationError) as caught:
            self.compose(**changes)
        return [str(problem) for problem in caught.exception.problems]


class AirbrakeTests(CompositionCase):
    def parts(self, environ: dict[str, str], **section: object) -> tuple[Parts, ReadableLog]:
        log = ReadableLog()
        loaded = parse_config(self.text(airbrake=section), environ, self.folder)
        return compose(loaded, cast("Any", ThreadlessReactor()), log), log  # nothing is sent before the start

    def test_errors_of_every_part_are_logged_and_reported(self) -> None:
        parts, log = self.parts({}, project_id=1, project_key="k")
        self.assertIsInstance(parts.errors, AirbrakeReporter)
        with mock.patch.object(AirbrakeReporter, "report") as report:
            for event, part in (("a", parts.log), ("b", parts.lanes["logger"]._log), ("c", parts.gateway.log)):
                part.error(event, error="why")
        self.assertEqual([call.args for call in report.call_args_list], [(event, {"error": "why"}) for event in "abc"])
        self.assertEqual([event for level, event, _ in log.entries if level == "error"], ["a", "b", "c"])

    def test_the_source_of_the_key_is_logged(self) -> None:
        _, log = self.parts({}, project_key="k")
        self.assertEqual(log.fields_of("airbrake_configured"), [{"source": "config_file"}])
        _, log = self.parts({"AIRBRAKE_PROJECT_KEY": "k"})
        expected = {"source": "environment_variable", "env_key": "AIRBRAKE_PROJECT_KEY"}
        self.assertEqual(log.fields_of("airbrake_configured"), [expected])

    def test_without_a_key_nothing_is_reported(self) -> None:
        parts, log = self.parts({}, project_id=1)
        self.assertIsInstance(parts.errors, NullReporter)
        self.assertEqual(log.fields_of("airbrake_configured"), [])


class BuiltInTests(CompositionCase):
    def test_the_window_of_deduplication(self) -> None:
        self.assertIsNone(self.compose().gateway.sessions.acknowledged)
        acknowledged = self.compose(deduplication={"window_s": 5, "max_records": 7}).gateway.sessions.acknowledged
        assert acknowledged is not None
        self.assertEqual(acknowledged.window, DeduplicationWindow(5.0, 7))

    def test_the_configuration_knows_every_sink(self) -> None:
        sinks = Path(__file__).resolve().parents[2] / "src" / "fleetgw" / "adapters" / "sinks"
        self.assertEqual({path.parent.name for path in sinks.glob("*/type.py")}, BUILT_IN_SINKS)
        self.assertEqual({name: each.name for name, each in built_in_sinks().items()}, {n: n for n in BUILT_IN_SINKS})

    def test_each_sink_has_a_lane_with_its_own_settings_and_limits(self) -> None:
        parts = self.compose(
            records={"V": ["memory", "logger"], "alerts": ["memory"]},
            reliable_ack_sources={"V": "memory"},
            delivery={"gather_ms": 7, "sinks": {"memory": {"gather_ms": 9, "drain_timeout_s": 3}}},
        )
        self.assertEqual(list(parts.lanes), ["memory", "logger"])
        self.assertIsInstance(parts.lanes["logger"].sink, LoggerSink)
        timings = [(lane.timing.linger_s, lane.timing.drain_s) for lane in parts.lanes.values()]
        self.assertEqual(timings, [(0.009, 3), (0.007, 10)])
        route = parts.gateway.routes.find(b"V")
        assert route is not None
        self.assertEqual((route.lanes, route.awaits), ((parts.lanes["logger"],), parts.lanes["memory"]))
        alerts = parts.gateway.routes.find(b"alerts")
        assert alerts is not None
        self.assertEqual((alerts.lanes, alerts.awaits), ((parts.lanes["memory"],), None))

    def test_more_connections_than_file_descriptors_allow_are_warned_of(self) -> None:
        for configured, said in ((577, 1), (576, 0), (0, 0)):
            log = ReadableLog()
            loaded = parse_config(self.text(limits={"max_connections": configured}), {}, self.folder)
            with mock.patch("fleetgw.app.service.live_settings.descriptor_limit", return_value=1024):
                parts = compose(loaded, cast("Any", ThreadlessReactor()), log)  # nothing listens here
            self.assertEqual(parts.vehicles.context.limits.max_connections, 576)
            warnings = log.fields_of("configuration_warning")
            self.assertEqual(len(warnings), said)
            for warning in warnings:
                self.assertEqual(warning["key"], "limits.max_connections")
                self.assertEqual(
                    warning["warning"], "is 577, but 1024 file descriptors leave room for 576; set LimitNOFILE=1026"
                )

    def test_limits_issuers_and_metrics(self) -> None:
        parts = self.compose(
            rate_limit={"enabled": True, "message_limit": 5, "message_interval_time": 7},
            limits={"max_message_bytes": 1234, "ping_after_s": 3},
            identity={"issuers": {"Own CA": "boat"}},
            vins_signal_tracking_enabled=["A"],
            monitoring={"statsd": {"host": "[::1]:8125"}, "profiler_port": 6060},
        )
        self.assertEqual(parts.gateway.settings.rate_limit, RateLimit(5, 7))
        self.assertEqual((parts.gateway.settings.max_message_bytes, parts.vehicles.context.limits.ping_after_s), (1234, 3))
        self.assertEqual(parts.gateway.settings.tracked_vins, {"A"})
        self.assertEqual(parts.vehicles.context.issuers.rules["Own CA"], FixedClientType("boat"))
        self.assertIn("TeslaMotors", parts.vehicles.context.issuers.rules)
        first, then = [RuntimeGauges, ReactorLag, Ticking], [KeptCounts, Ticking, Ticking, Traces, Profiler]
        self.assertEqual([type(monitor) for monitor in parts.monitors], [*first, StatsdExporter, *then])
        plain = self.compose()
        self.assertEqual([type(monitor) for monitor in plain.monitors], [*first, *then])
        self.assertIsNone(plain.gateway.settings.rate_limit)
        off = self.compose(rate_limit={"enabled": False, "message_limit": 5, "message_interval_time": 7})
        self.assertIsNone(off.gateway.sessions.connected.buckets)

    def test_statsd_in_the_units_of_its_exporter(self) -> None:
        section = {"host": "[::1]:8125", "prefix": "ft.", "sample_rate": 25, "flush_period": 500}
        with mock.patch("fleetgw.app.service.composition.StatsdExporter") as exporter:
            self.compose(monitoring={"statsd": section})
            self.compose(monitoring={"statsd": {**section, "host": ""}})
        (call,) = exporter.call_args_list
        self.assertEqual(call.args[1], StatsdSettings("::1", 8125, "ft.", sample_rate=0.25, flush_period_s=0.5))


class ThirdPartyTests(CompositionCase):
    def setUp(self) -> None:
        super().setUp()
        self.module = f"third_party_{id(self)}"
        (self.folder / f"{self.module}.py").write_text(MODULE)
        sys.path.insert(0, str(self.folder))
        importlib.invalidate_caches()
        self.addCleanup(sys.modules.pop, self.module, None)
        self.addCleanup(sys.path.remove, str(self.folder))

    def third_party(self, attribute: str) -> dict[str, object]:
        return {
            "records": {"V": ["mine"], "alerts": ["mine"]},
            "dispatchers": {"mine": {"class": f"{self.module}:{attribute}", "settings": {"colour": "red"}}},
        }

    def test_by_class(self) -> None:
        for attribute in ("Sink", "Outer.Inner"):
            sink: Any = self.compose(**self.third_party(attribute)).lanes["mine"].sink  # a class of the test's own
            self.assertEqual(sink.readiness(), NotReady("red"))
            context = sink.context
            self.assertEqual((context.name, context.namespace, context.record_types), ("mine", "ns", ("V", "alerts")))

    def test_queues_share_one_memory_ceiling_and_a_sinks_copies_count(self) -> None:
        changes = self.third_party("Heavy") | {"records": {"V": ["memory", "mine"]}, "delivery": {"memory_mib": 8}}
        lanes = self.compose(**changes).lanes
        memory, heavy = lanes["memory"].share, lanes["mine"].share
        self.assertIs(memory.budget, heavy.budget)
        self.assertEqual(memory.budget.ceiling_bytes, 8 << 20)
        self.assertEqual((memory.room_bytes, heavy.room_bytes), (3 << 20, 3 << 19))

    def test_by_entry_point(self) -> None:
        info = self.folder / "third_party-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[fleetgw.sinks]\nmine = {self.module}:Sink\n")
        importlib.invalidate_caches()
        parts = self.compose(records={"V": ["mine"]}, reliable_ack_sources={"V": "mine"})
        self.assertEqual(parts.lanes["mine"].sink.readiness(), NotReady("None"))
        with_settings = self.compose(records={"V": ["mine"]}, dispatchers={"mine": {"settings": {"colour": "blue"}}})
        self.assertEqual(with_settings.lanes["mine"].sink.readiness(), NotReady("blue"))

    def test_an_object_that_is_no_sink_is_refused_with_its_name(self) -> None:
        wrong = {
            "NoSink": "does not provide IDispatcher",
            "Nameless": "calls itself 'somebody'",
            "Broken": "KeyError: 'colour'",
            "Missing": "cannot be imported: AttributeError",
            "Outer": "is no SinkType",
        }
        for attribute, what in wrong.items():
            with self.subTest(attribute):
                (problem,) = self.problems(**self.third_party(attribute))
                self.assertTrue(problem.startswith("dispatchers.mine"), problem)
                self.assertIn(what, problem)

    def test_a_module_that_breaks_while_it_is_imported_is_refused(self) -> None:
        (self.folder / f"{self.module}.py").write_text("raise RuntimeError('no weather for it')\n")
        (problem,) = self.problems(**self.third_party("Sink"))
        self.assertIn("no weather for it", problem)

    def test_all_sinks_problems_at_once(self) -> None:
        dispatchers = {name: {"class": f"{self.module}:{name}"} for name in ("NoSink", "Broken")}
        self.assertEqual(len(self.problems(records={"V": ["NoSink", "Broken"]}, dispatchers=dispatchers)), 2)

    def test_a_third_party_may_confirm(self) -> None:
        parts = self.compose(**self.third_party("Sink"), reliable_ack_sources={"V": "mine"})
        route = parts.gateway.routes.find(b"V")
        assert route is not None
        self.assertIs(route.awaits, parts.lanes["mine"])


class ImportTests(CompositionCase):
    def test_only_client_libraries_of_routed_sinks_are_imported(self) -> None:
        kafka = {"bootstrap.servers": "localhost:1"}
        (self.folder / "config.json").write_text(self.text(kafka=kafka))
        result = subprocess.run(
            [sys.executable, "-c", COMPOSE_AND_TELL], cwd=self.folder, capture_output=True, text=True, timeout=DEADLINE_S
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        packages, sinks = (set(line.split()) for line in result.stdout.splitlines())
        unwanted = {"confluent_kafka", "kafka", "boto3", "botocore", "grpc", "paho", "zmq", "redis", "hypothesis", "pytest"}
        self.assertEqual(packages & unwanted, set())
        below = {module.removeprefix("fleetgw.adapters.sinks").lstrip(".") for module in sinks}
        declarations = {module for module in below if module.rpartition(".")[2] in {"type", "settings", "checks"}}
        self.assertGreaterEqual(declarations, {f"{name}.type" for name in BUILT_IN_SINKS})
        self.assertEqual(
            {module for module in below - declarations - BUILT_IN_SINKS if not module.startswith("support")},
            {"", "registry", "sink_type", "logger.data", "logger.sink", "mqtt.broker_url", "mqtt.packets", "mqtt.topics"},
            "and nothing else of any other sink",
        )
