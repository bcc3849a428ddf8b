"""The profiler port: the Go server's responses, profiles of the running process, and their bounds."""

import json
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event, Thread, get_native_id
from time import thread_time
from unittest import SkipTest

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.metrics.runtime import CollectionPauses
from fleetgw.adapters.monitoring import inspection, profiler
from fleetgw.adapters.monitoring.cpu_sampler import MAX_FRAMES, MAX_STACKS, CpuSampler, Stacks, cpu_time_us, frame_names
from fleetgw.adapters.monitoring.profiler import (
    MAX_CONNECTIONS,
    MAX_PROFILE_S,
    Profiler,
    make_profiler_site,
)
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor
from tests.monitoring.test_pages import Connection, faults, refusals

HANGS_S = 60
"""Longest wait for a thread, so that a failing test ends."""


class MemorySampler:
    """A sampler that a test ends."""

    def __init__(self, done: Callable[[str], None]) -> None:
        self._done = done
        self.ended = False

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self._done("main;fleetgw:work 1000\n")


class ProfilerCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "profile"
        self.reactor = ThreadlessReactor()
        self.log = ReadableLog()
        self.pauses = CollectionPauses()
        self.samplers: list[MemorySampler] = []
        self.make(str(self.file))

    def make(self, profiling_path: str) -> None:
        self.profiler = Profiler(self.pauses, profiling_path, self.reactor, self.log, self.sampler)
        self.successResultOf(self.profiler.start())
        self.site = make_profiler_site(self.profiler, self.reactor, refusals("profiler"), faults("profiler"))

    def sampler(self, done: Callable[[str], None]) -> MemorySampler:
        self.samplers.append(MemorySampler(done))
        return self.samplers[-1]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an immediate response."""
        status_line, _, body = Connection(self.site).ask(f"GET {path} HTTP/1.1\r\n\r\n")
        return int(status_line.split()[1]), body.decode()

    def begin(self, path: str) -> Connection:
        """Send a request whose response comes later."""
        connection = Connection(self.site)
        connection.protocol.dataReceived(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        return connection


class GoServerTests(ProfilerCase):
    def test_gc_stats(self) -> None:
        self.pauses.count, self.pauses.total_ns = 3, 4000
        status, body = self.get("/gc_stats")
        self.assertEqual(status, 200)
        stats = json.loads(body)
        self.assertEqual((stats["NumGC"], stats["PauseTotal"], stats["LastGC"]), (3, 4000, None))
        self.pauses.last_end_ns = 1_000_000_000
        self.assertEqual(json.loads(self.get("/gc_stats")[1])["LastGC"], "1970-01-01T00:00:01+00:00")

    def test_live_profiler_without_a_file(self) -> None:
        self.make("")
        self.assertEqual(self.get("/live_profiler?mode=on")[0], 405)
        self.assertEqual(self.samplers, [])

    def test_live_profiler_without_a_mode(self) -> None:
        for query in ("", "?mode=", "?other=on"):
            self.assertEqual(self.get(f"/live_profiler{query}")[0], 400)

    def test_live_profiler_is_off_until_the_mode_is_on(self) -> None:
        """Any other mode than ``on`` means off, as in the Go server."""
        modes = ("off", "cpu", "on", "on", "off", "off", "on", "ON")
        answers = [self.get(f"/live_profiler?mode={mode}") for mode in modes]
        self.assertEqual([status for status, _ in answers], [304, 304, 200, 304, 200, 304, 200, 200])
        self.assertEqual([json.loads(body)["mode"] for _, body in answers if body], ["on", "off", "on", "off"])

    def test_index(self) -> None:
        status, body = self.get("/debug/pprof/")
        self.assertEqual(status, 200)
        for route in self.profiler.routes:
            if route.pattern != "/debug/pprof/":
                self.assertIn(route.pattern, body)

    def test_connections_are_bounded(self) -> None:
        connections = [Connection(self.site) for _ in range(MAX_CONNECTIONS)]
        address = connections[0].transport.getPeer()
        self.assertIsNone(self.site.buildProtocol(address))

    def test_other_paths(self) -> None:
        self.assertEqual(self.get("/debug/pprof")[0], 404)


class LiveProfilerTests(ProfilerCase):
    def test_the_file_is_written_when_another_mode_is_set(self) -> None:
        self.get("/live_profiler?mode=on")
        self.assertFalse(self.file.exists())
        self.get("/live_profiler?mode=off")
        self.assertEqual(self.file.read_text(), "main;fleetgw:work 1000\n")
        self.assertTrue(self.samplers[0].ended)

    def test_the_stop_writes_it_too(self) -> None:
        self.get("/live_profiler?mode=on")
        stopped = self.profiler.stop()
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(self.file.exists())
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)  # the time-out of the idle connection

    def test_the_stop_waits_for_the_file_in_bounds(self) -> None:
        self.get("/live_profiler?mode=on")
        self.samplers[0].ended = True  # it never answers
        stopped = self.profiler.stop()
        self.assertNoResult(stopped)
        self.reactor.advance(profiler.FILE_TIMEOUT_S)
        self.successResultOf(stopped)

    def test_a_file_that_cannot_be_written_is_logged(self) -> None:
        self.make(str(self.file / "nowhere"))
        self.get("/live_profiler?mode=on")
        self.get("/live_profiler?mode=off")
        self.reactor.advance(0)
        ((level, event, fields),) = self.log.entries
        self.assertEqual((level, event), ("error", "profiling_file_error"))
        self.assertIn("nowhere", str(fields["error"]))


class ProfileTests(ProfilerCase):
    def test_a_profile_takes_the_seconds_that_are_asked_for(self) -> None:
        connection = self.begin("/debug/pprof/profile?seconds=5")
        self.reactor.advance(4.9)
        self.assertEqual(connection.transport.value(), b"")
        self.reactor.advance(0.1)
        self.reactor.advance(0)
        self.assertIn(b" 200 OK\r\n", connection.transport.value())
        self.assertTrue(connection.transport.value().endswith(b"\r\n\r\nmain;fleetgw:work 1000\n"))

    def test_thirty_by_default(self) -> None:
        self.begin("/debug/pprof/profile")
        self.reactor.advance(29.9)
        self.assertFalse(self.samplers[0].ended)
        self.reactor.advance(0.1)
        self.assertTrue(self.samplers[0].ended)

    def test_seconds_are_bounded(self) -> None:
        for seconds in ("0", "-1", "x", "1.5", str(MAX_PROFILE_S + 1), "9" * 5000, "\u0663"):
            self.assertEqual(self.get(f"/debug/pprof/profile?seconds={seconds}")[0], 400, seconds)
        self.assertEqual(self.samplers, [])

    def test_one_at_a_time(self) -> None:
        self.begin("/debug/pprof/profile?seconds=5")
        self.assertEqual(self.get("/debug/pprof/profile?seconds=5")[0], 503)
        self.reactor.advance(5)
        self.reactor.advance(0)
        self.begin("/debug/pprof/profile?seconds=5")
        self.assertEqual(len(self.samplers), 2)

    def test_a_client_that_leaves_ends_its_profile(self) -> None:
        connection = self.begin("/debug/pprof/profile?seconds=5")
        connection.protocol.connectionLost(Failure(ConnectionDone()))
        self.reactor.advance(0)
        self.assertTrue(self.samplers[0].ended)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.begin("/debug/pprof/profile?seconds=5")
        self.assertEqual(len(self.samplers), 2)

    def ending(self) -> tuple[Connection, Callable[[], None]]:
        """A profile whose time is over, with a sampler that has not answered yet; the call lets it answer."""
        connection = self.begin("/debug/pprof/profile?seconds=5")
        sampler = self.samplers[-1]
        answer, sampler._done = sampler._done, lambda _: None
        self.reactor.advance(5)
        return connection, lambda: (answer("main 1\n"), self.reactor.advance(0))

    def test_a_client_that_leaves_while_its_profile_ends(self) -> None:
        connection, answer = self.ending()
        connection.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.get("/debug/pprof/profile?seconds=5")[0], 503, "the sampler has not answered")
        answer()
        self.begin("/debug/pprof/profile?seconds=5")
        self.assertEqual(len(self.samplers), 2)

    def test_the_stop_while_a_profile_ends(self) -> None:
        connection, answer = self.ending()
        self.successResultOf(self.profiler.stop())
        answer()
        self.assertIn(b" 503 ", connection.transport.value())

    def test_a_sampler_that_cannot_start_does_not_block_later_profiles(self) -> None:
        def fail(_done: object) -> None:
            raise RuntimeError("can't start new thread")

        sampler, self.profiler._sampler = self.profiler._sampler, fail
        self.assertEqual(self.get("/debug/pprof/profile?seconds=5")[0], 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.profiler._sampler = sampler
        self.begin("/debug/pprof/profile?seconds=5")
        self.assertEqual(len(self.samplers), 1)

    def test_the_stop_ends_it(self) -> None:
        connection = self.begin("/debug/pprof/profile?seconds=5")
        self.successResultOf(self.profiler.stop())
        self.assertTrue(self.samplers[0].ended)
        self.assertIn(b" 503 ", connection.transport.value())


class InspectionTests(ProfilerCase):
    def body(self, path: str) -> str:
        connection = self.begin(path)
        self.assertEqual(connection.transport.value(), b"")
        self.assertEqual(self.get(path)[0], 503)
        self.reactor.advance(0)
        head, _, body = connection.transport.value().decode().partition("\r\n\r\n")
        self.assertIn(" 200 OK", head)
        return body

    def test_heap(self) -> None:
        self.body("/debug/pprof/heap")
        body = self.body("/debug/pprof/heap")
        self.assertEqual(len(body.partition("objects by type")[2].splitlines()), 1 + inspection.SHOWN_TYPES)
        self.assertRegex(body, r"(?m)^VmRSS \d+$")
        self.assertRegex(body, r"(?m)^frozen_objects \d+$")
        self.assertRegex(body, r"(?m)^gc generation 2: waiting=\d+ collections=\d+")
        self.assertRegex(body, r"(?m)^\d+ builtins\.dict$")

    def test_types_of_too_many_objects_are_left_out(self) -> None:
        self.patch(inspection, "MAX_OBJECTS", 10)
        self.assertIn("left out", self.body("/debug/pprof/heap"))

    def test_threads(self) -> None:
        release = Event()
        thread = Thread(target=release.wait, name="waiting thread")
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(release.set)
        body = self.body("/debug/pprof/threads")
        self.assertRegex(body, r"(?m)^MainThread \(\d+\)$")
        self.assertIn("waiting thread", body)
        self.assertIn("  fleetgw.adapters.monitoring.inspection:thread_stacks\n\n", body, "the innermost frame is the last")

    def test_a_failing_inspection_is_an_error_for_its_client_only(self) -> None:
        def broken() -> str:
            raise OSError("no such figure")

        self.patch(profiler, "thread_stacks", broken)
        connection = self.begin("/debug/pprof/threads")
        self.reactor.advance(0)
        self.assertIn(b" 500 ", connection.transport.value())
        self.assertTrue(connection.transport.value().endswith(b"OSError: no such figure\n"))


class StacksTests(SynchronousTestCase):
    def test_collapsed(self) -> None:
        stacks = Stacks()
        stacks.add("a;b", ["m:outer", "m:inner"], 5)
        stacks.add("a;b", ["m:outer", "m:inner"], 6)
        stacks.add("c", [], 7)
        self.assertEqual(stacks.collapsed(), "a:b;m:outer;m:inner 11\nc 7\n")

    def test_different_stacks_are_bounded(self) -> None:
        stacks = Stacks()
        for number in range(MAX_STACKS + 10):
            stacks.add("t", [str(number)], 1)
        lines = stacks.collapsed().splitlines()
        self.assertEqual(len(lines), MAX_STACKS + 1)
        self.assertIn("(further stacks) 10", lines)

    def test_frames_are_bounded(self) -> None:
        def deep(depth: int) -> list[str]:
            if depth:
                return deep(depth - 1)
            return frame_names(__import__("sys")._getframe())

        names = deep(2 * MAX_FRAMES)
        self.assertEqual(len(names), MAX_FRAMES)
        self.assertTrue(names[-1].endswith("test_frames_are_bounded.<locals>.deep"), names[-1])

    def test_a_thread_that_has_ended_has_no_time(self) -> None:
        self.assertIsNone(cpu_time_us(2**31 - 2))


class CpuSamplerTests(SynchronousTestCase):
    def test_a_thread_that_computes_is_seen_where_it_does(self) -> None:
        """On a fake CPU clock, which advances by a millisecond per reading for this thread and the sampler's."""
        got: list[str] = []
        finished = Event()
        seen = Event()
        here = get_native_id()
        readings_us = count(1_000_000_000, 1000)
        real = Stacks.add

        def add(stacks: Stacks, thread: str, names: list[str], time_us: int) -> None:
            real(stacks, thread, names, time_us)
            if any("compute_until" in name for name in names):
                seen.set()

        def cpu_time(native_id: int) -> int:
            return next(readings_us) if native_id in (here, get_native_id()) else 0

        self.patch(Stacks, "add", add)
        sampler = CpuSampler(lambda text: (got.append(text), finished.set()), cpu_time)
        compute_until(seen)
        sampler.end()
        self.assertTrue(finished.wait(HANGS_S))
        self.assertRegex(got[0], r"(?m)^MainThread;.*:compute_until(;.*)? \d+$")
        self.assertEqual({line.partition(";")[0] for line in got[0].splitlines()}, {"MainThread"})
        spent_us = sum(int(line.rpartition(" ")[2]) for line in got[0].splitlines())
        self.assertLess(spent_us, 1_000_000_000, "time before the profile is no part of it")

    def test_the_kernels_cpu_time_grows_while_a_thread_computes(self) -> None:
        before_us = cpu_time_us(get_native_id())
        if before_us is None:
            raise SkipTest("this kernel keeps no CPU time by thread")
        began_s = thread_time()
        while thread_time() - began_s < 0.1:
            sum(range(1000))
        self.assertGreater(cpu_time_us(get_native_id()), before_us)


def compute_until(seen: Event) -> None:
    seen.wait(HANGS_S)
