"""The lines of traces: within bounds, in order, and off the reactor's thread."""

from __future__ import annotations

import errno
import json
from unittest import TestCase
from unittest.mock import patch

from fleetgw.adapters.traces import lines as traces
from fleetgw.adapters.traces.files import FilesInMemory, Segment, StoredTrace, TraceDescription
from fleetgw.adapters.traces.lines import FLUSH_S, STOP_S, TraceLines, TraceStore
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor
from tests.support.workers import HeldWorker


class Failing(FilesInMemory):
    """Fails while a test says so."""

    fails = False
    unreadable: int | None = None
    stored: tuple[StoredTrace, ...] = ()

    def load(self) -> list[StoredTrace]:
        return list(self.stored)

    def read(self, trace: int, segment: int) -> bytes:
        if segment == self.unreadable:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(trace, segment)

    def append(self, trace: int, segment: int, lines: bytes) -> None:
        if self.fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(trace, segment, lines)


class StoreTests(TestCase):
    def setUp(self) -> None:
        self.reactor, self.log, self.files, self.worker = ThreadlessReactor(), ReadableLog(), Failing(), HeldWorker()
        self.store = TraceStore(self.files, "/folder", lambda: self.worker, self.reactor, self.log)

    def begin(self, number: int = 1) -> TraceLines:
        return self.store.begin(TraceDescription(number, "VIN", "", 0, 1))

    def pass_time(self) -> None:
        """Flush, have the worker write, and hear of it."""
        self.reactor.advance(FLUSH_S)
        self.worker.work()
        self.reactor.advance(0)

    def read(self, lines: TraceLines, number: int = 1) -> list[dict[str, object]]:
        answers: list[bytes] = []
        self.store.read(lines, number).addCallback(answers.append)
        self.worker.work()
        self.reactor.advance(0)
        return [json.loads(line) for line in answers[0].splitlines()]

    def test_the_reactor_writes_nothing_itself(self) -> None:
        lines = self.begin()
        self.store.add(lines, '"stage": "x"')
        self.reactor.advance(FLUSH_S)
        self.assertEqual(self.files.read(1, 1), b"")
        self.worker.work()
        self.assertEqual(self.files.read(1, 1), b'{"n": 1, "stage": "x"}\n')

    def test_reading_gets_every_line_in_segments(self) -> None:
        lines = self.begin()
        with patch.object(traces, "SEGMENT_BYTES", 100):
            for number in range(20):
                self.store.add(lines, f'"stage": "x{number}"')
                if number % 3 == 0:
                    self.pass_time()
            self.pass_time()
        self.assertGreater(len(lines.segments), 3)
        found: list[object] = []
        while more := self.read(lines, len(found) + 1):
            found += [each["n"] for each in more]
        self.assertEqual(found, list(range(1, 21)))
        self.store.add(lines, '"stage": "last"')
        self.assertEqual(self.read(lines, 21), [{"n": 21, "stage": "last"}], "a line that waits is read, too")

    def test_all_traces_together_are_bounded(self) -> None:
        large, small = self.begin(1), self.begin(2)
        with patch.object(traces, "MAX_BYTES", 5_000), patch.object(traces, "SEGMENT_BYTES", 500):
            self.store.add(small, '"stage": "first"')
            for number in range(200):
                self.store.add(large, f'"stage": "x{number}"' + " " * 100)
                if number % 3 == 0:
                    self.pass_time()
            self.pass_time()
        self.assertLess(sum(map(len, self.files._segments.values())), 5_000 + 600)
        self.assertEqual(large.size_bytes + small.size_bytes, sum(map(len, self.files._segments.values())))
        self.assertEqual(self.read(small)[0]["stage"], "first", "the largest trace gives way")
        self.assertGreater(self.read(large)[0]["n"], 100)  # type: ignore[operator]  # a number

    def test_a_disk_that_is_too_slow_costs_lines_and_no_memory(self) -> None:
        lines = self.begin()
        with patch.object(traces, "MAX_WAITING_BYTES", 1000):
            for number in range(100):
                self.store.add(lines, f'"stage": "x{number}"')
                self.reactor.advance(FLUSH_S)
            dropped = lines.dropped
            self.assertGreater(dropped, 40)
            self.worker.work()
            self.reactor.advance(0)
            self.store.add(lines, '"stage": "after"')
        found = self.read(lines)
        self.assertEqual([each["stage"] for each in found[-2:]], ["dropped", "after"])
        self.assertEqual(found[-2]["lines"], dropped)

    def test_a_full_disk_is_an_event_and_no_stop(self) -> None:
        lines = self.begin()
        self.files.fails = True
        for _ in range(10):
            self.store.add(lines, '"stage": "lost"')
            self.pass_time()
        self.files.fails = False
        self.store.add(lines, '"stage": "kept"')
        self.pass_time()
        self.assertEqual([each["stage"] for each in self.read(lines)], ["dropped", "kept"])
        self.assertEqual(self.read(lines)[0]["lines"], 10)
        self.assertEqual(lines.size_bytes, len(self.files.read(1, 1)) + len(self.files.read(1, 12)))
        self.assertEqual(
            self.log.fields_of("traces_failed"), [{"path": "/folder", "error": "No space left on device"}], "once a minute"
        )

    def test_a_segment_that_cannot_be_read_is_passed_over(self) -> None:
        self.files.append(1, 1, b'{"n": 1, "stage": "x"}\n')
        self.files.append(1, 2, b'{"n": 2, "stage": "lost"}\n')
        fault, self.files.unreadable = OSError(errno.EIO, "Input/output error"), 2
        segments = [Segment(1, 23), Segment(2, 26, is_readable=False)]
        self.files.stored = (StoredTrace(TraceDescription(1, "VIN", "", 0, 1), segments, 29, fault),)
        self.store.load()
        self.pass_time()
        self.assertEqual(self.log.fields_of("traces_failed"), [{"path": "/folder", "error": "Input/output error"}])
        lines = self.store.traces[1]
        self.assertEqual([each["n"] for each in self.read(lines)], [1])
        self.assertEqual(self.read(lines, 2), [], "and this does not fail")
        self.store.add(lines, '"stage": "y"')
        self.pass_time()
        self.assertEqual([segment.first for segment in lines.segments], [1, 2, 29], "it takes no more lines")
        self.assertEqual([each["n"] for each in self.read(lines, 2)], [29])

    def test_a_trace_that_is_removed_while_lines_wait(self) -> None:
        lines = self.begin()
        self.store.add(lines, '"stage": "x"')
        self.store.remove(lines)
        self.pass_time()
        self.assertEqual(self.files._segments, {})
        self.assertEqual(self.store._waiting_bytes, 0)

    def test_the_stop_writes_what_waits(self) -> None:
        lines = self.begin()
        self.store.add(lines, '"stage": "x"')
        stopped: list[None] = []
        self.store.stop().addCallback(stopped.append)
        self.assertTrue(self.worker.has_quit)
        self.worker.work()
        self.reactor.advance(0)
        self.assertEqual((stopped, self.files.read(1, 1).count(b"\n")), ([None], 1))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_disk_that_hangs_does_not_hold_up_the_stop(self) -> None:
        self.store.add(self.begin(), '"stage": "x"')
        stopped: list[None] = []
        self.store.stop().addCallback(stopped.append)
        self.reactor.advance(STOP_S)
        self.assertEqual(stopped, [None])
        self.worker.work()
        self.reactor.advance(0)
