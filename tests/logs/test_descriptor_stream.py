"""Standard output without a reader must not block the reactor."""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.logs.descriptor_stream import DescriptorStream
from fleetgw.adapters.logs.lines import JsonLog
from tests.support.deadline import DEADLINE_S


class PipeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reader, self.writer = os.pipe()
        self.addCleanup(os.close, self.writer)
        os.set_blocking(self.reader, False)
        self.reader_open = True
        self.addCleanup(self.close_reader)

    def close_reader(self) -> None:
        if self.reader_open:
            os.close(self.reader)
        self.reader_open = False

    def read_all(self) -> bytes:
        pieces = []
        while True:
            try:
                pieces.append(os.read(self.reader, 1 << 20))
            except BlockingIOError:
                return b"".join(pieces)


class DescriptorStreamTests(PipeCase):
    def test_lines_arrive_at_once(self) -> None:
        stream = DescriptorStream(self.writer)
        stream.write(b"one\n")
        self.assertEqual(self.read_all(), b"one\n")

    def test_a_line_longer_than_a_pipe_takes_arrives_whole(self) -> None:
        stream = DescriptorStream(self.writer)
        line = bytes(range(1, 10)) * 30_000 + b"\n"
        stream.write(line)
        received = self.read_all()
        self.assertLess(len(received), len(line))
        for _ in range(10):
            stream.write(b"")
            received += self.read_all()
        self.assertEqual(received, line)

    def test_a_reader_that_stalls_costs_lines_not_time_or_memory(self) -> None:
        stream = DescriptorStream(self.writer, capacity_bytes=10_000)
        taken, refused = [], 0
        for number in range(2_000):
            line = b"%0999d\n" % number
            try:
                stream.write(line)
                taken.append(line)
            except BlockingIOError:
                refused += 1
        self.assertGreater(refused, 1_000)
        received = self.read_all()
        stream.write(b"after\n")
        received += self.read_all()
        self.assertEqual(received, b"".join(taken) + b"after\n")

    def test_a_line_over_the_capacity_is_taken_when_nothing_waits(self) -> None:
        stream = DescriptorStream(self.writer, capacity_bytes=10)
        stream.write(b"longer than ten bytes\n")
        self.assertEqual(self.read_all(), b"longer than ten bytes\n")

    def test_a_reader_that_has_gone_is_an_error_each_time(self) -> None:
        stream = DescriptorStream(self.writer)
        self.close_reader()
        for _ in range(2):
            with self.assertRaises(BrokenPipeError):
                stream.write(b"x\n")

    def test_unread_lines_do_not_go_to_the_next_reader(self) -> None:
        stream = DescriptorStream(self.writer)
        self.close_reader()
        with self.assertRaises(BrokenPipeError):
            stream.write(b"x\n")
        self.reader, writer = os.pipe()
        self.reader_open = True
        os.dup2(writer, self.writer)
        os.close(writer)
        stream.write(b"y\n")
        self.assertEqual(os.read(self.reader, 100), b"y\n")


class LastLinesTests(PipeCase):
    """At the end of the process the log may block for its reader, for a bounded time."""

    def fill(self) -> None:
        os.set_blocking(self.writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.writer, bytes(4096))
        os.set_blocking(self.writer, True)

    def test_a_slow_reader_gets_everything(self) -> None:
        stream = DescriptorStream(self.writer, capacity_bytes=10_000)
        lines = [b"%0999d\n" % number for number in range(2_000)]
        received = bytearray()

        def read() -> None:
            while len(received) < sum(map(len, lines)):
                received.extend(os.read(self.reader, 1_000))

        os.set_blocking(self.reader, True)
        reader = threading.Thread(target=read)
        reader.start()
        stream.wait_for_reader(DEADLINE_S)
        for line in lines:
            stream.write(line)
        self.assertEqual(stream.flush(), 0)
        reader.join(DEADLINE_S)
        self.assertEqual(received, b"".join(lines))

    def test_a_reader_that_never_reads_costs_the_time_allowed_once(self) -> None:
        now_s, waits_ms = [100.0], []

        class Poll:
            def poll(self, wait_ms: float) -> list[object]:
                waits_ms.append(wait_ms)
                now_s[0] += wait_ms / 1000
                return []

        stream = DescriptorStream(self.writer, capacity_bytes=2_500, seconds=lambda: now_s[0])
        stream._poll = Poll()
        for _ in range(2):
            stream.write(b"%0999d\n" % 0)
        self.assertEqual(sum(waits_ms), 0, "while the gateway runs nothing waits")
        stream.wait_for_reader(3)
        for _ in range(2):
            with self.assertRaises(BlockingIOError):
                stream.write(b"%0999d\n" % 0)
        self.assertEqual(stream.flush(), 2)
        self.assertAlmostEqual(sum(waits_ms), 3_000)

    def test_lines_that_a_reader_leaves_behind_are_counted(self) -> None:
        self.fill()
        stream = DescriptorStream(self.writer)
        for _ in range(3):
            stream.write(b"line\n")
        self.close_reader()
        self.assertEqual(stream.flush(), 3)


class ThreadTests(SynchronousTestCase):
    def test_lines_of_several_threads_are_whole_and_none_raises(self) -> None:
        """Twisted turns prints of a client library's thread into events, on that thread."""
        path = Path(self.enterContext(TemporaryDirectory())) / "log"
        interval_s = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        self.addCleanup(sys.setswitchinterval, interval_s)
        raised = []

        def write(log: JsonLog, thread: int) -> None:
            try:
                for number in range(2000):
                    log.info("line", number=number, thread=thread)
            except Exception as error:
                raised.append(error)

        with path.open("wb") as file:
            log = JsonLog(DescriptorStream(file.fileno()))
            threads = [threading.Thread(target=write, args=(log, thread)) for thread in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(raised, [])
        with path.open("rb") as file:
            numbers = [json.loads(line) for line in file]
        for thread in range(3):
            self.assertEqual([line["number"] for line in numbers if line["thread"] == thread], [*range(2000)])
