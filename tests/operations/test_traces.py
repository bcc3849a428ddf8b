"""Traces of whole conversations in memory: from the socket to the outcomes of the records."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import TestCase
from unittest.mock import patch

from fleetgw.app.operations.traces import MAX_DURATION_S, MAX_TRACES, TraceRefused, Traces
from fleetgw.domain.allow_list import AllowList
from fleetgw.domain.errors import Rejected, Retryable, Unheard
from tests.support.client_certificates import client_certificate, root_authority
from tests.support.client_frames import frame_of, stream
from tests.support.gateway_in_memory import VIN, GatewayCase, GatewayInMemory
from tests.support.raw_vehicle import RawClientTls, RawVehicle
from tests.support.workers import InlineWorker

if TYPE_CHECKING:
    from fleetgw.simulator.certificates import Credential

OTHER_VIN = "5YJ3E1EA7KF000002"
HOST = "127.0.0.1"
GOING_AWAY = b"\x88\x82\x00\x00\x00\x00\x03\xe9"
HANDSHAKE = ["accepted", "client_hello", "certificate", "handshake"]


class Reader:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.got = b""
        self.has_ended = False

    def write(self, chunk: bytes) -> bool:
        """Keep it."""
        self.got += chunk
        return True

    def end(self) -> None:
        """Take note."""
        self.has_ended = True


class TraceCase(GatewayCase):
    authority: Credential

    def setUp(self) -> None:
        super().setUp()
        self.authority = root_authority("TeslaMotors")
        self.now_ms = 1_800_000_000_000

    def start(self, environ: Any = None, **config: Any) -> GatewayInMemory:
        with patch.object(time, "time_ns", lambda: self.now_ms * 1_000_000):
            gateway = super().start(environ, authority=self.authority, **({"records": {"custom": ["memory"]}} | config))
        self.traces: Traces = gateway.parts.traces
        self.traces._wall_ns = lambda: self.now_ms * 1_000_000
        self.traces.start()
        gateway.clock.advance(0)
        return gateway

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.now_ms += int(seconds * 1000)
        self.gateway.clock.advance(seconds)

    def begin(self, for_s: float = 3600, **whom: str) -> str:
        """Begin or join a trace; returns its id."""
        shown, _ = self.traces.begin({"for_s": for_s, **whom})
        return str(shown["id"])

    def lines(self, number: str, first: int = 1) -> list[dict[str, Any]]:
        """The lines of a trace."""
        answers: list[bytes] = []
        self.traces.read(number, str(first)).addCallback(answers.append)
        self.gateway.clock.advance(0)
        return [json.loads(line) for line in answers[0].splitlines()]

    def stages(self, number: str) -> list[str]:
        """The names of the stages of a trace."""
        return [line["stage"] for line in self.lines(number)]

    def vehicle(self, vin: str = VIN) -> RawVehicle:
        """A connection that has sent nothing."""
        return self.gateway.connect(RawClientTls(client_certificate(self.authority, vin)))


class ConversationTests(TraceCase):
    def test_a_vehicle_from_the_handshake_to_the_outcomes(self) -> None:
        self.start()
        number = self.begin(vin=VIN)
        vehicle = self.vehicle()
        vehicle.upgrade()
        vehicle.send(frame_of(stream(b"t1", b"custom")) + frame_of(stream(b"t2", b"custom")))
        self.advance(0.1)
        vehicle.send(frame_of(b"no envelope"))
        vehicle.send(GOING_AWAY)
        vehicle.close()
        expected = ["certificate", "handshake", "request", "upgrade", "received", "placed", "acked", "delivered"]
        self.assertEqual(self.stages(number), [*expected, "refused", "closing", "disconnected"])
        by_stage = {line["stage"]: line for line in self.lines(number)}
        self.assertEqual(by_stage["certificate"]["subject"], VIN)
        self.assertEqual(by_stage["certificate"]["verdict"], "accepted")
        self.assertEqual(by_stage["upgrade"]["device_id"], VIN)
        for stage in ("received", "placed", "acked", "delivered"):
            self.assertEqual(by_stage[stage]["txids"], ["t1", "t2"], stage)
            self.assertEqual(by_stage[stage]["connection"], "127.0.0.1:50000")
        self.assertEqual(by_stage["received"]["size_bytes"], 2 * len(b"payload"))
        self.assertIn("memory", by_stage["received"]["text"])
        self.assertEqual(by_stage["delivered"]["sink"], "memory")
        self.assertIn("1001", by_stage["closing"]["text"])
        self.assertEqual([line["n"] for line in self.lines(number)], list(range(1, 12)))

    def test_an_address_from_the_accepted_socket_on(self) -> None:
        self.start()
        number = self.begin(ip="::ffff:127.0.0.1")
        self.vehicle().upgrade()
        self.assertEqual(self.stages(number), [*HANDSHAKE, "request", "upgrade"])
        hello = self.lines(number)[1]
        self.assertEqual(hello["versions"], ["TLS 1.3", "TLS 1.2"])
        self.assertGreater(hello["ciphers"], 5)

    def test_a_refused_handshake_says_what_to_fix(self) -> None:
        self.start()
        by_ip, by_vin = self.begin(ip=HOST), self.begin(vin=VIN)
        vehicle = self.gateway.connect(RawClientTls(client_certificate(root_authority("Eng CA"), VIN)))
        vehicle.link.pump()
        self.assertEqual(self.stages(by_ip), [*HANDSHAKE, "disconnected"])
        certificate, handshake = self.lines(by_ip)[2:4]
        self.assertEqual((certificate["issuer"], certificate["verdict"]), ("Eng CA", "refused"))
        self.assertIn("fetch-ca", handshake["fix"])
        self.assertIn('no authority "Eng CA"', handshake["text"])
        self.assertEqual(self.stages(by_vin), ["certificate", "handshake", "disconnected"])

    def test_what_is_no_vehicle(self) -> None:
        self.start()
        number = self.begin(ip=HOST)
        self.gateway.connect(None).close()
        self.assertEqual(self.stages(number), ["accepted", "disconnected"])
        self.assertIn("probes", self.lines(number)[-1]["text"])
        self.gateway.connect(None).send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIn("plain HTTP", self.lines(number)[-2]["text"])

    def test_a_refused_upgrade(self) -> None:
        self.start(limits={"max_connections_per_vehicle": 1})
        number = self.begin(vin=VIN)
        self.vehicle().upgrade()
        self.vehicle().upgrade()
        last = next(line for line in reversed(self.lines(number)) if line["stage"] == "upgrade")
        self.assertEqual(last["status"], "503 Service Unavailable")
        self.assertIn("max_connections_per_vehicle", last["text"])

    def test_a_vehicle_that_the_allow_list_does_not_have(self) -> None:
        self.start()
        allow_list = self.gateway.vehicles.context.allow_list = AllowList(0)
        number = self.begin(vin=VIN)
        for answer, status in ((None, "503 Service Unavailable"), (frozenset[str](), "403 Forbidden")):
            if answer is not None:
                allow_list.answered(answer, 0.0)
            self.vehicle().upgrade()
            (*_, upgrade) = [line for line in self.lines(number) if line["stage"] == "upgrade"]
            self.assertEqual(upgrade["status"], status)
            self.assertIn("vehicles.allow", upgrade["text"])

    def test_a_socket_that_is_not_accepted(self) -> None:
        self.start(limits={"max_half_open_per_address": 1})
        number = self.begin(ip=HOST)
        self.gateway.connect(None)
        with self.assertRaisesRegex(RuntimeError, "takes no connection"):
            self.gateway.connect(None)
        self.assertEqual(self.stages(number), ["accepted", "refused_socket"])

    def test_a_certificate_that_is_no_vehicles(self) -> None:
        unknown = root_authority("Nobody's CA")
        self.authority = unknown
        self.start()
        number = self.begin(ip=HOST)
        self.vehicle().upgrade()
        (refused,) = [line for line in self.lines(number) if line["stage"] == "upgrade"]
        self.assertIn("issuer table", refused["text"])

    def test_requests_that_are_no_upgrade(self) -> None:
        self.start()
        number = self.begin(ip=HOST)
        vehicle = self.vehicle()
        vehicle.link.pump()
        vehicle.send(b"GET /path?key=hidden HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer hidden\r\nCookie: hidden\r\n\r\n")
        vehicle.send(b"nonsense\r\n\r\n")
        kept = json.dumps(self.lines(number))
        self.assertIn("/path", kept)
        self.assertIn("400 Bad Request", kept)
        self.assertNotIn("hidden", kept)

    def test_no_value_of_a_payload_is_kept(self) -> None:
        self.start()
        number = self.begin(vin=VIN)
        vehicle = self.vehicle()
        vehicle.upgrade()
        for topic in (b"custom", b"V", b"unknown"):
            vehicle.send(frame_of(stream(b"t", topic, b"\x0a\x04hidden-value")))
        self.advance(1)
        self.assertNotIn("hidden", json.dumps(self.lines(number)))
        self.assertIn("refused", self.stages(number))

    def test_outcomes(self) -> None:
        self.start()
        number = self.begin(vin=VIN)
        sink = self.gateway.memory_sink()
        vehicle = self.vehicle()
        vehicle.upgrade()
        for stage, outcome in (
            ("retried", Retryable("throttled")),
            ("dead_letter", Rejected("too large")),
            ("unheard", Unheard("no subscriber")),
        ):
            sink.verdict = lambda _, outcome=outcome: outcome  # type: ignore[misc]  # bound in the loop
            vehicle.send(frame_of(stream(stage.encode(), b"custom")))
            self.advance(0.1)
            line = self.lines(number)[-1]
            self.assertEqual((line["stage"], line["txids"][0], line["reason"]), (stage, stage, str(outcome)))
            sink.verdict = lambda _: None
            self.advance(60)
        self.assertEqual(self.stages(number).count("delivered"), 1)

    def test_no_outcome_shows_a_password(self) -> None:
        self.start()
        number = self.begin(vin=VIN)
        vehicle = self.vehicle()
        vehicle.upgrade()
        self.gateway.memory_sink().verdict = lambda _: Rejected("refused by redis://:hunter2@host:1 " + "." * 5000)
        vehicle.send(frame_of(stream(b"t", b"custom")))
        self.advance(0.1)
        line = self.lines(number)[-1]
        self.assertTrue(line["reason"].startswith("refused by redis://:********@host:1 ..."), line)
        self.assertNotIn("hunter2", json.dumps(line))

    def test_outcomes_after_the_vehicle_has_left(self) -> None:
        self.start()
        number = self.begin(ip=HOST)
        sink = self.gateway.memory_sink()
        sink.hold()
        vehicle = self.vehicle()
        vehicle.upgrade()
        vehicle.send(frame_of(stream(b"t", b"custom")))
        self.advance(0.1)
        vehicle.close()
        sink.release()
        self.advance(0.1)
        self.assertEqual(self.stages(number)[-2:], ["disconnected", "delivered"])

    def test_waiting_for_room_and_the_confirmation(self) -> None:
        delivery = {"queue_records": 1, "in_flight_records": 1}
        self.start(delivery=delivery, reliable_ack_sources={"custom": "memory"})
        number = self.begin(vin=VIN)
        sink = self.gateway.memory_sink()
        sink.hold()
        vehicle = self.vehicle()
        vehicle.upgrade()
        vehicle.send(b"".join(frame_of(stream(b"t%d" % each, b"custom")) for each in range(6)))
        self.advance(0.1)
        waiting = next(line for line in self.lines(number) if line["stage"] == "waiting")
        self.assertEqual(waiting["sinks"], ["memory"])
        self.assertNotIn("acked", self.stages(number))
        vehicle.cut()
        sink.release()
        self.advance(1)
        unacked = [line for line in self.lines(number) if line["stage"] == "not_acked"]
        self.assertEqual({line["reason"] for line in unacked}, {"disconnected"})
        self.assertEqual({txid for line in unacked for txid in line["txids"]}, {f"t{each}" for each in range(6)})

    def test_duplicates_and_the_rate_limit(self) -> None:
        limit = {"enabled": True, "message_limit": 2, "message_interval_time": 30}
        self.start(deduplication={"window_s": 60}, rate_limit=limit)
        number = self.begin(vin=VIN)
        vehicle = self.vehicle()
        vehicle.upgrade()
        for txid in (b"a", b"a", b"b"):
            vehicle.send(frame_of(stream(txid, b"custom")))
        stages = self.stages(number)
        self.assertIn("duplicate", stages)
        self.assertEqual(stages[-1], "rate_limited")

    def test_long_texts_of_vehicles_are_cut(self) -> None:
        self.start()
        number = self.begin(vin=VIN)
        vehicle = self.vehicle()
        vehicle.upgrade()
        for _ in range(100):
            vehicle.send(frame_of(stream(b"\x1b" * 1000, b"custom")))
        self.assertLess(max(len(json.dumps(line)) for line in self.lines(number)), 20_000)


class IdleTests(TraceCase):
    def attributes(self) -> list[object]:
        """The attributes that the hot path tests: of the connections, of their sessions, and of the lanes."""
        found: list[object] = [self.gateway.parts.lane_maker.watch.observer]
        for connection in self.gateway.vehicles.connections:
            assert connection._session is not None
            found += [connection.trace, connection._session.trace]
        return found

    def test_nothing_is_followed_but_what_is_traced(self) -> None:
        self.start()
        self.vehicle(OTHER_VIN).upgrade()
        self.vehicle().upgrade()
        self.assertEqual(set(self.attributes()), {None})
        number = self.begin(vin=VIN, for_s=60)
        self.assertEqual(self.attributes().count(None), 2)
        self.assertEqual(self.stages(number), ["connected"])
        self.advance(61)
        self.assertEqual(set(self.attributes()), {None})
        self.assertFalse(self.traces.is_on)

    def test_an_end_by_hand(self) -> None:
        self.start()
        self.vehicle().upgrade()
        number = self.begin(ip=HOST)
        self.assertIs(self.traces.change(number, {"for_s": 0})["is_on"], False)
        self.assertEqual(set(self.attributes()), {None})
        self.assertEqual(self.stages(number), ["connected"])
        self.begin(ip=HOST)
        self.traces.remove(number)
        self.assertNotEqual(set(self.attributes()), {None})


class RequestTests(TraceCase):
    def assertRefused(self, wanted: dict[str, Any], code: int = 400) -> None:
        with self.assertRaises(TraceRefused) as caught:
            self.traces.begin(wanted)
        self.assertEqual(caught.exception.code, code)
        self.assertTrue(caught.exception.fix)

    def test_wrong_requests(self) -> None:
        self.start()
        good = {"vin": VIN, "for_s": 60}
        for wrong in (
            {"vin": ""},
            {"vin": "x" * 129},
            {"vin": "a\nb"},
            {"vin": None, "ip": "fe80::1%" + "z" * 9000},
            {"vin": None, "ip": "fe80::1%\x1b[2J"},
            {"vin": 1},
            {"vin": None},
            {"ip": HOST},
            {"vin": None, "ip": "localhost"},
            {"vin": None, "ip": "127.0.0.1/8"},
            {"for_s": None},
            {"for_s": "60"},
            {"for_s": True},
            {"for_s": 0},
            {"for_s": -1},
            {"for_s": float("nan")},
            {"for_s": float("inf")},
            {"for_s": 10**400},
            {"for_s": MAX_DURATION_S + 1},
        ):
            self.assertRefused(good | wrong)
        for number in ("", "x", "0", "-1", "99", "9" * 5000, "\u0661"):
            for call in (
                self.traces.remove,
                lambda each: self.traces.read(each, "1"),
                lambda each: self.traces.change(each, {}),
            ):
                with self.assertRaises(TraceRefused):
                    call(number)
        number = self.begin(vin=VIN)
        for first in ("", "x", "-1", "9" * 5000):
            with self.assertRaises(TraceRefused):
                self.traces.read(number, first)
        for for_s in (False, None, -1, "0"):
            with self.assertRaises(TraceRefused):
                self.traces.change(number, {"for_s": for_s})
        self.assertEqual(self.lines(number, 10**6), [])

    def test_joining_a_trace_that_is_on(self) -> None:
        self.start()
        first, is_new = self.traces.begin({"vin": VIN, "for_s": 60})
        again, is_new_again = self.traces.begin({"vin": VIN, "for_s": 600})
        self.assertEqual((is_new, is_new_again, first["id"]), (True, False, again["id"]))
        self.assertEqual(again["until_ms"], self.now_ms + 600_000)
        shorter, _ = self.traces.begin({"vin": VIN, "for_s": 1})
        self.assertEqual(shorter["until_ms"], again["until_ms"])
        self.advance(599)
        self.assertTrue(self.traces.is_on)
        self.advance(2)
        self.assertFalse(self.traces.is_on)
        _, is_new = self.traces.begin({"vin": VIN, "for_s": 60})
        self.assertTrue(is_new)

    def test_at_most_ten(self) -> None:
        self.start()
        numbers = [self.begin(vin=f"VIN{each}", for_s=60 + each) for each in range(MAX_TRACES)]
        self.assertRefused({"vin": "ANOTHER", "for_s": 60}, 409)
        self.advance(60 + 1.5)
        self.begin(vin="ANOTHER")
        kept = [str(trace["id"]) for trace in self.traces.listed()["traces"]]  # type: ignore[attr-defined]  # JSON
        self.assertEqual(kept, [*numbers[1:], "11"])

    def test_room_is_made_by_the_wall_clock_even_when_it_is_ahead_of_the_timer(self) -> None:
        self.start()
        numbers = [self.begin(vin=f"VIN{each}", for_s=60 + each) for each in range(MAX_TRACES)]
        self.now_ms += 60_500
        self.begin(vin="ANOTHER")
        self.gateway.clock.advance(3600)
        kept = [str(trace["id"]) for trace in self.traces.listed()["traces"]]  # type: ignore[attr-defined]  # JSON
        self.assertEqual(kept, [*numbers[1:], "11"])

    def test_a_connection_that_outlives_its_trace_writes_nothing_into_it(self) -> None:
        self.start()
        number = self.begin(vin=VIN, for_s=60)
        trace = self.traces.trace(HOST, "127.0.0.1:1", VIN)
        assert trace is not None
        self.now_ms += 61_000
        trace.note("received", "too late")
        self.assertEqual(self.stages(number), [])

    def test_a_trace_that_is_removed(self) -> None:
        self.start()
        number = self.begin(vin=VIN)
        self.traces.write((int(number),), "", "x", "text", {})
        self.traces.remove(number)
        self.assertEqual(self.traces.listed()["traces"], [])
        self.assertFalse(self.traces.is_on)
        self.advance(10)

    def test_readers_get_lines_as_they_are_written_until_the_end(self) -> None:
        self.start()
        number = self.begin(vin=VIN, for_s=60)
        stays, leaves, late = Reader(), Reader(), Reader()
        self.traces.read_on(self.traces.lines(number), stays)
        leave = self.traces.read_on(self.traces.lines(number), leaves)
        self.vehicle().upgrade()
        self.advance(1)
        leave()
        leave()
        self.vehicle().upgrade()
        self.traces.change(number, {"for_s": 0})
        self.assertEqual((stays.got.count(b"\n"), stays.has_ended), (8, True))
        self.assertEqual((leaves.got.count(b"\n"), leaves.has_ended), (4, False))
        self.traces.read_on(self.traces.lines(number), late)
        self.assertTrue(late.has_ended)


class RestartTests(TraceCase):
    def setUp(self) -> None:
        super().setUp()
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def start(self, environ: Any = None, **config: Any) -> GatewayInMemory:
        with patch("fleetgw.app.service.trace_maker.SerialWorker", InlineWorker):
            return super().start(environ, operations={"folder": str(self.folder)}, **config)

    def stop(self) -> None:
        """The gateway stops."""
        self.traces.stop()
        self.gateway.close()

    def test_a_trace_goes_on_until_its_end(self) -> None:
        self.start()
        number, short = self.begin(vin=VIN, for_s=3600), self.begin(ip="192.0.2.1", for_s=5)
        self.vehicle().upgrade()
        self.stop()
        self.now_ms += 10_000
        self.start()
        self.assertEqual([trace["is_on"] for trace in self.traces.listed()["traces"]], [True, False])  # type: ignore[attr-defined]  # JSON
        self.vehicle().upgrade()
        stages = self.stages(number)
        once = ["certificate", "handshake", "request", "upgrade"]
        self.assertEqual(stages, [*once, "gateway_stopped", "gateway_started", *once])
        self.assertEqual([line["n"] for line in self.lines(number)], list(range(1, 11)))
        self.assertEqual(self.stages(short), ["gateway_stopped"])
        self.advance(3600)
        self.assertFalse(self.traces.is_on)
        self.stop()
        self.start()
        self.assertFalse(self.traces.is_on)
        self.assertEqual(self.begin(vin=OTHER_VIN), "3")

    def test_nobody_else_may_read_the_files(self) -> None:
        self.start()
        self.begin(vin=VIN)
        self.vehicle().upgrade()
        self.advance(1)
        files = [*(self.folder / "traces").iterdir()]
        self.assertEqual(len(files), 2)
        for file in files:
            self.assertEqual(file.stat().st_mode & 0o077, 0, file.name)
        self.assertEqual((self.folder / "traces").stat().st_mode & 0o077, 0)


class WordsTests(TestCase):
    def test_every_stage_is_documented(self) -> None:
        """The table of docs/status-port.md has each stage that the source notes, and no other."""
        root = Path(__file__).parents[2]
        page = (root / "docs" / "status-port.md").read_text().partition("## Tracing")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
        files = ("adapters/ingress/*.py", "adapters/traces/*.py", "app/operations/traces.py", "domain/record_stages.py")
        source = "".join(file.read_text() for each in files for file in (root / "src" / "fleetgw").glob(each))
        patterns = (r'\.note\(\s*"(\w+)"', r'"stage": "(\w+)"', r'self\.write\([^"]*"", "(\w+)"')
        noted = {name for pattern in patterns for name in re.findall(pattern, source)}
        outcomes = {"delivered", "retried", "dead_letter", "unheard"}
        self.assertEqual({name for row in rows for name in re.findall(r"`(\w+)`", row)}, noted | outcomes)
