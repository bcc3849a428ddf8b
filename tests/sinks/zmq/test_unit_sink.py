"""The ``zmq`` sink: frames, admission of clients, slow subscribers."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import zmq
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.zmq.admission import Admission
from fleetgw.adapters.sinks.zmq.held_memory import MARK_BYTES
from fleetgw.adapters.sinks.zmq.probe import look
from fleetgw.adapters.sinks.zmq.settings import CurveKeys
from fleetgw.adapters.sinks.zmq.sink import ZmqSink
from fleetgw.adapters.sinks.zmq.type import ZMQ
from fleetgw.domain.errors import ConfigurationError, Rejected
from fleetgw.domain.ports import RECEIPT, IReloadable, NotReady, Outcome, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port
from tests.support.record_vectors import record_of
from tests.support.zmq_subscriber import Subscriber

VECTORS = Path(__file__).parents[2] / "vectors"
CASES = [case for case in json.loads((VECTORS / "dispatch.json").read_text())["cases"] if case["sink"] == "zmq"]
DIFFERENCES = {case["name"]: case for case in json.loads((VECTORS / "zmq_differences.json").read_text())["cases"]}
EXAMPLE = Path(__file__).parents[3] / "examples" / "consumers" / "zmq_subscriber.py"
PROBE = b"probe"


def frames_of(case: dict[str, Any]) -> list[bytes]:
    return [frame["json"].encode() if isinstance(frame, dict) else bytes.fromhex(frame) for frame in case["frames"]]


class ZmqCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fleetgw-zmq-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.addr = f"ipc://{self.folder}/records"
        self.reactor, self.metrics, self.log = ThreadlessReactor(), ReadableMetrics(), ReadableLog()
        self.server_keys, self.client_keys = zmq.curve_keypair(), zmq.curve_keypair()

    def context(self, namespace: str = "ns", types: tuple[str, ...] = ("V", "probe"), **settings: object) -> SinkContext:
        settings = {"addr": self.addr} | settings
        return SinkContext("zmq", settings, namespace, types, self.reactor, self.metrics, self.log)

    def started(self, context: SinkContext) -> ZmqSink:
        sink = ZmqSink(context)
        self.successResultOf(sink.start())
        self.addCleanup(self.stop, sink)
        return sink

    def stop(self, sink: ZmqSink) -> None:
        stopped = sink.stop()
        self.reactor.advance(0)
        self.successResultOf(stopped)

    def subscriber(self, keys: tuple[bytes, bytes, bytes] | None = None, mark: int = 100_000) -> Subscriber:
        subscriber = Subscriber(self.addr, keys, mark)
        self.addCleanup(subscriber.close)
        return subscriber

    def join(self, sink: ZmqSink, subscriber: Subscriber) -> bool:
        return subscriber.wait_until_joined(lambda: self.probe(sink), lambda payload: payload == PROBE)

    def probe(self, sink: ZmqSink) -> None:
        self.reactor.advance(0.1)
        sink.dispatch([make_record(record_type="probe", payload=PROBE)])

    def outcomes(self, sink: ZmqSink, records: Sequence[Record]) -> Sequence[Outcome]:
        return self.successResultOf(sink.dispatch(records))

    def curve_settings(self, allowed: object) -> dict[str, object]:
        public, secret = (key.decode() for key in self.server_keys)
        (self.folder / "server.json").write_text(json.dumps({"public": public, "secret": secret}))
        (self.folder / "allowed.json").write_text(json.dumps(allowed))
        return {
            "server_key_json_path": str(self.folder / "server.json"),
            "allowed_public_keys_json_path": str(self.folder / "allowed.json"),
        }


class RefusalLogTests(SynchronousTestCase):
    def test_refused_clients_do_not_flood_the_log(self) -> None:
        context = zmq.Context()
        self.addCleanup(context.term)
        log, clock = ReadableLog(), ThreadlessReactor()
        admission = Admission(context, CurveKeys(*zmq.curve_keypair(), frozenset()), log, clock)
        self.addCleanup(admission.close)
        keys = [f"key-{number}" for number in range(100)]
        for _ in range(3):
            for key in keys:
                admission._log_refused("1.2.3.4", key)
        self.assertEqual([fields["public_key"] for fields in log.fields_of("zmq_client_refused")], keys[:10])
        clock.advance(10)
        admission._log_refused("1.2.3.4", keys[0])
        self.assertEqual(len(log.fields_of("zmq_client_refused")), 11)


class RotationTests(ZmqCase):
    def test_clients_allowed_later_and_no_more(self) -> None:
        sink = self.started(self.context(**self.curve_settings([self.client_keys[0].decode()])))
        self.assertTrue(IReloadable.providedBy(sink))
        self.assertEqual(sink.reload(), [])
        other_keys = zmq.curve_keypair()
        allowed = self.folder / "allowed.json"
        allowed.write_text(json.dumps([other_keys[0].decode()]))
        self.assertEqual(sink.reload(), [str(allowed)])
        self.assertTrue(self.join(sink, self.subscriber((*other_keys, self.server_keys[0]))))
        refused = self.subscriber((*self.client_keys, self.server_keys[0]))
        for _ in range(100):
            self.probe(sink)
            if self.log.fields_of("zmq_client_refused"):
                break
            self.assertEqual(refused.receive(1, 20), [])
        self.assertEqual(self.log.fields_of("zmq_client_refused")[0]["public_key"], self.client_keys[0].decode())

    def test_own_keys(self) -> None:
        self.addr = f"tcp://127.0.0.1:{free_port()}"
        settings = self.curve_settings([self.client_keys[0].decode()])
        sink = self.started(self.context(**settings))
        self.assertTrue(self.join(sink, self.subscriber((*self.client_keys, self.server_keys[0]))))
        self.server_keys = zmq.curve_keypair()
        self.curve_settings([self.client_keys[0].decode()])
        self.assertIn(str(self.folder / "server.json"), sink.reload())
        self.assertTrue(self.join(sink, self.subscriber((*self.client_keys, self.server_keys[0]))))
        self.assertEqual(sink.readiness(), Ready())

    def test_a_file_without_keys_leaves_the_old_ones(self) -> None:
        sink = self.started(self.context(**self.curve_settings([self.client_keys[0].decode()])))
        (self.folder / "allowed.json").write_text("[1]")
        for _ in range(2):
            with self.assertRaisesRegex(ConfigurationError, "allowed.json cannot be read or holds no keys"):
                sink.reload()
        self.assertTrue(self.join(sink, self.subscriber((*self.client_keys, self.server_keys[0]))))

    def test_a_place_that_is_not_free_at_once(self) -> None:
        sink = self.started(self.context(**self.curve_settings([])))
        self.server_keys = zmq.curve_keypair()
        self.curve_settings([])
        with mock.patch.object(sink._socket, "bind", side_effect=zmq.ZMQError(zmq.EADDRINUSE)):
            sink.reload()
            self.assertIsInstance(sink.readiness(), NotReady)
        self.reactor.advance(0.1)
        self.assertEqual(sink.readiness(), Ready())


class GoServerVectorTests(ZmqCase):
    def frames(self, case: dict[str, Any]) -> list[bytes]:
        sink = ZmqSink(self.context(case["namespace"], (case["type"], "probe")))
        self.successResultOf(sink.start())
        subscriber = Subscriber(self.addr)
        try:
            self.assertTrue(self.join(sink, subscriber))
            self.assertEqual(self.outcomes(sink, [record_of(case)]), [RECEIPT])
            (frames,) = subscriber.receive(1)
        finally:
            subscriber.close()
            self.stop(sink)
        return frames

    def test_frames(self) -> None:
        wrong = []
        for case in CASES:
            ours, theirs, listed = self.frames(case), frames_of(case), DIFFERENCES.get(case["name"])
            if listed is None and ours != theirs:
                wrong.append((case["name"], ours, theirs))
            elif listed is not None and (ours == theirs or ours != frames_of(listed)):
                wrong.append((case["name"], ours, "listed as a difference"))
        self.assertEqual(wrong, [])
        self.assertGreater(len(CASES), 10)

    def test_every_listed_difference_is_a_case_and_says_why(self) -> None:
        self.assertEqual(set(DIFFERENCES) - {case["name"] for case in CASES}, set())
        self.assertEqual([name for name, case in DIFFERENCES.items() if not case["reason"]], [])


class SubscriberTests(ZmqCase):
    def test_numbers_include_the_topic_frame(self) -> None:
        sink = self.started(self.context())
        self.assertEqual(self.outcomes(sink, [make_record(payload=b"12345"), make_record(payload=b"1")]), [RECEIPT] * 2)
        self.assertEqual(self.metrics.value("zmq_publish_total", "V"), 2)
        self.assertEqual(self.metrics.value("zmq_publish_total_bytes", "V"), 2 * len("ns_V") + 6)

    def test_a_slow_subscriber_misses_records_and_is_counted_and_others_miss_none(self) -> None:
        sink = self.started(self.context(high_water_mark=10))
        slow, quick = self.subscriber(mark=1), self.subscriber()
        self.assertTrue(self.join(sink, slow))
        self.assertTrue(self.join(sink, quick))
        for times in (1, 2):
            arrived: list[bytes] = []
            for number in range(200):
                record = make_record(payload=b"%06d" % number + bytes(50_000))
                self.assertEqual(self.outcomes(sink, [record]), [RECEIPT])
                while b"%06d" % number not in arrived:
                    arrived += self.numbers(quick.receive(1))
            self.assertEqual(arrived, [b"%06d" % number for number in range(200)])
            self.assertEqual(self.metrics.value("zmq_subscriber_full_total"), times)
            self.assertLess(len(self.numbers(slow.receive(200, 300))), 200)  # now it has caught up
        (event,) = self.log.fields_of("zmq_dispatch_error")
        self.assertEqual(event["kind"], "dropped")

    def test_a_subscriber_that_never_reads_holds_bounded_memory_and_others_miss_nothing(self) -> None:
        for addr in (f"tcp://127.0.0.1:{free_port()}", f"ipc://{self.folder}/bytes"):
            self.addr = addr
            limit_bytes, size_bytes = 8_000_000, 900_000
            sink = self.started(self.context(high_water_bytes=limit_bytes))
            deaf, quick = self.subscriber(mark=1), self.subscriber()
            self.assertTrue(self.join(sink, deaf))
            self.assertTrue(self.join(sink, quick))
            before = self.metrics.value("zmq_subscriber_full_total")
            seen: list[bytes] = []
            refused = 0
            for number in range(60):
                record = make_record(payload=b"%06d" % number + bytes(size_bytes))
                while self.outcomes(sink, [record]) != [RECEIPT]:
                    refused += 1
                    self.assertLess(refused, 1000)
                    self.reactor.advance(0.05)
                    seen += self.numbers(quick.receive(1, 5), some=False)
                self.assertLess(sink._memory.held_bytes, limit_bytes + 2 * size_bytes)
                while b"%06d" % number not in seen:
                    seen += self.numbers(quick.receive(1))
            self.assertEqual(seen, [b"%06d" % number for number in range(60)])
            self.assertGreater(refused, 0)
            self.assertGreater(self.metrics.value("zmq_subscriber_full_total"), before)
            self.stop(sink)

    def test_small_records_are_counted_by_samples(self) -> None:
        sink = self.started(self.context(high_water_mark=100_000, high_water_bytes=2_000_000))
        self.assertTrue(self.join(sink, self.subscriber(mark=1)))
        taken = [self.outcomes(sink, [make_record(payload=bytes(1000))])[0] for _ in range(50_000)].count(RECEIPT)
        self.assertLess(sink._memory.held_bytes, 2_000_000 + 2 * MARK_BYTES)
        self.assertLess(taken, 50_000)
        self.assertIn("full", [fields["kind"] for fields in self.log.fields_of("zmq_dispatch_error")])

    def test_all_are_disconnected_when_the_slow_ones_are_unknown(self) -> None:
        sink = self.started(self.context(high_water_bytes=1_000_000))
        self.assertTrue(self.join(sink, self.subscriber(mark=1)))
        sink._connections = mock.Mock(disconnect_slowest=mock.Mock(return_value=0))
        for _ in range(20):
            self.outcomes(sink, [make_record(payload=bytes(900_000))])
        with mock.patch.object(sink._socket, "unbind", wraps=sink._socket.unbind) as unbound:
            self.reactor.pump([0.1] * 7)
        self.assertEqual(unbound.call_count, 1)

    def numbers(self, messages: list[list[bytes]], *, some: bool = True) -> list[bytes]:
        if some:
            self.assertNotEqual(messages, [])
        return [frames[-1][:6] for frames in messages if frames[-1] != PROBE]

    def test_a_record_of_a_type_that_is_not_routed_is_rejected_and_not_counted(self) -> None:
        sink = self.started(self.context())
        (outcome,) = self.outcomes(sink, [make_record(record_type="alerts")])
        self.assertIsInstance(outcome, Rejected)
        self.assertEqual(self.metrics.value("zmq_err", "alerts"), 0)
        self.assertIn("'alerts' is not routed to zmq", str(outcome))

    def test_verbose_logs_the_events_of_the_socket(self) -> None:
        sink = self.started(self.context(verbose=True))
        subscriber = self.subscriber()
        self.assertTrue(self.join(sink, subscriber))
        self.reactor.advance(0.1)
        events = [fields["socket_event"] for fields in self.log.fields_of("zmq_socket_event")]
        self.assertEqual(events[0], "listening")
        self.assertIn("accepted", events)
        self.assertIn("handshake_succeeded", events)

    def test_quiet_without_verbose(self) -> None:
        sink = self.started(self.context())
        self.assertTrue(self.join(sink, self.subscriber()))
        self.assertEqual(self.log.fields_of("zmq_socket_event"), [])


class CurveTests(ZmqCase):
    def test_client_whose_key_is_not_listed_gets_nothing(self) -> None:
        sink = self.started(self.context(**self.curve_settings([self.client_keys[0].decode()])))
        friend = self.subscriber((*self.client_keys, self.server_keys[0]))
        stranger_keys = zmq.curve_keypair()
        stranger = self.subscriber((*stranger_keys, self.server_keys[0]))
        plain = self.subscriber()
        self.assertTrue(self.join(sink, friend))
        deadline_s = time.monotonic() + DEADLINE_S
        while not self.log.fields_of("zmq_client_refused") and time.monotonic() < deadline_s:
            self.probe(sink)
            friend.receive(1)
        self.assertEqual(self.outcomes(sink, [make_record()]), [RECEIPT])
        self.assertEqual(friend.receive(1)[-1], [b"ns_V", b"payload"])
        self.assertEqual(stranger.receive(1, 50), [])
        self.assertEqual(plain.receive(1, 50), [])
        refused = {fields["public_key"] for fields in self.log.fields_of("zmq_client_refused")}
        self.assertEqual(refused, {stranger_keys[0].decode()})

    def test_without_a_list_every_client_with_our_public_key_is_admitted(self) -> None:
        settings = self.curve_settings([]) | {"allowed_public_keys_json_path": None}
        sink = self.started(self.context(**settings))
        self.assertTrue(self.join(sink, self.subscriber((*zmq.curve_keypair(), self.server_keys[0]))))

    def test_secret_key_is_not_shown(self) -> None:
        sink = ZmqSink(self.context(**self.curve_settings([])))
        self.assertNotIn(self.server_keys[1].decode(), repr(sink._settings))


class ExampleTests(ZmqCase):
    def test_example_consumer_shows_records(self) -> None:
        curve = self.curve_settings([self.client_keys[0].decode()])
        mine = zip(("public", "secret", "server"), (*self.client_keys, self.server_keys[0]), strict=True)
        (self.folder / "mine.json").write_text(json.dumps({name: key.decode() for name, key in mine}))
        payload = Payload(vin="VIN", data=[Datum(key=Field.VehicleName, value=Value(string_value="My car"))])
        record = make_record("VIN", payload=payload.SerializeToString())
        for settings, options in (({}, []), (curve, ["--keys", str(self.folder / "mine.json")])):
            sink = ZmqSink(self.context(**settings))
            self.successResultOf(sink.start())
            example = [sys.executable, str(EXAMPLE), self.addr, "ns", "--count", "1", *options]
            with subprocess.Popen(example, stdout=subprocess.PIPE) as consumer:
                self.addCleanup(consumer.kill)
                while consumer.poll() is None:
                    self.reactor.advance(0.1)
                    self.outcomes(sink, [record])
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        consumer.wait(0.02)
                self.assertEqual(consumer.stdout.read(), b'VIN VehicleName string_value: "My car"\n')
            self.stop(sink)


class LifeTests(ZmqCase):
    def test_address_in_use_is_named_at_start(self) -> None:
        with zmq.Context() as other, other.socket(zmq.PUB) as taken:
            port = taken.bind_to_random_port("tcp://127.0.0.1")
            sink = ZmqSink(self.context(addr=f"tcp://127.0.0.1:{port}"))
            error = self.failureResultOf(sink.start(), ConfigurationError).value
        self.assertIn("zmq.addr", str(error))
        self.assertIn("in use", str(error))
        self.assertIsInstance(sink.readiness(), NotReady)

    def test_addresses_of_ipv6(self) -> None:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("no IPv6 here")
        for interface, hosts in (("[::]", ("::1", "127.0.0.1")), ("[::1]", ("::1",)), ("*", ("::1", "127.0.0.1"))):
            port = free_port()
            context = self.context(addr=f"tcp://{interface}:{port}")
            self.assertIn("can be bound", " ".join(finding.what for finding in look(context)))
            sink = self.started(context)
            for host in hosts:
                socket.create_connection((host, port), DEADLINE_S).close()
            self.stop(sink)

    def test_address_can_be_bound_again_after_stop(self) -> None:
        for _ in range(2):
            sink = ZmqSink(self.context())
            self.successResultOf(sink.start())
            self.assertEqual(sink.readiness(), Ready())
            self.stop(sink)
            self.assertIsInstance(sink.readiness(), NotReady)


class SettingsTests(ZmqCase):
    def test_settings_that_cannot_work_are_named(self) -> None:
        (self.folder / "short.json").write_text('{"public": "a", "secret": "b"}')
        keys = self.curve_settings(["too short"])
        cases = {
            "zmq.addr": {"addr": ""},
            "zmq.high_water_mark": {"high_water_mark": 0},
            "zmq.high_water_bytes": {"high_water_bytes": 0},
            "zmq.server_key_json_path": {"server_key_json_path": str(self.folder / "short.json")},
            "zmq.allowed_public_keys_json_path": keys,
        }
        for path, settings in cases.items():
            with self.subTest(path=path), self.assertRaisesRegex(ConfigurationError, path):
                ZmqSink(self.context(**settings))

    def test_a_missing_library_has_the_command_that_installs_it(self) -> None:
        hidden = [name for name in sys.modules if name.startswith("fleetgw.adapters.sinks.zmq.")]
        with (
            mock.patch.dict(sys.modules, {"zmq": None}),
            self.assertRaisesRegex(ConfigurationError, r"pip install 'fleetgw\[zmq\]'"),
        ):
            for name in hidden:
                del sys.modules[name]
            ZMQ.make(self.context())
