"""Traces of whole conversations in memory: from the socket to the outcomes of the records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from unittest import TestCase

from fleetgw.domain.allow_list import AllowList
from fleetgw.domain.errors import Rejected, Retryable, Unheard
from tests.operations.trace_case import HOST, OTHER_VIN, TraceCase
from tests.support.client_certificates import client_certificate, root_authority
from tests.support.client_frames import frame_of, stream
from tests.support.gateway_in_memory import VIN
from tests.support.raw_vehicle import RawClientTls

GOING_AWAY = b"\x88\x82\x00\x00\x00\x00\x03\xe9"
HANDSHAKE = ["accepted", "client_hello", "certificate", "handshake"]


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
