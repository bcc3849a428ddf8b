"""Traces as operators ask for them, and over a restart."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from fleetgw.app.operations.traces import MAX_DURATION_S, MAX_TRACES, TraceRefused
from tests.operations.trace_case import HOST, OTHER_VIN, TraceCase
from tests.support.gateway_in_memory import VIN, GatewayInMemory
from tests.support.observed_case import Reader
from tests.support.workers import InlineWorker


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
        self.assertEqual((b"".join(stays.chunks).count(b"\n"), stays.has_ended), (8, True))
        self.assertEqual((b"".join(leaves.chunks).count(b"\n"), leaves.has_ended), (4, False))
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
