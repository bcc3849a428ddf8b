"""Uptime, memory, threads and garbage collection before each export."""

import gc
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Event, Thread

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.metrics import runtime
from fleetgw.adapters.metrics.runtime import RuntimeGauges
from fleetgw.adapters.metrics.store import MetricStore


class RuntimeGaugesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.store = MetricStore()
        self.gauges = RuntimeGauges(self.store, self.clock.seconds)
        self.successResultOf(self.gauges.start())
        self.addCleanup(self.gauges.stop)

    def numbers(self) -> dict[str, float]:
        return {family.metric.name: family.series[()] for family in self.store.snapshot()}

    def test_uptime_before_each_export(self) -> None:
        self.clock.advance(61.5)
        self.assertEqual(self.numbers()["uptime_sec"], 61)
        self.clock.advance(0.5)
        self.assertEqual(self.numbers()["uptime_sec"], 62)

    def test_each_figure_of_the_kernel_has_its_gauge(self) -> None:
        with NamedTemporaryFile("w") as status:
            status.write("VmPeak:\t900 kB\nVmRSS:\t300 kB\nRssAnon:\t200 kB\nVmStk:\t100 kB\nThreads:\t7\n")
            status.flush()
            self.patch(runtime, "_STATUS", Path(status.name))
            numbers = self.numbers()
        names = ("memory_allocated_bytes", "memory_heap", "memory_stack", "num_goroutine")
        self.assertEqual([numbers[name] for name in names], [307_200, 204_800, 102_400, 7])

    def test_memory(self) -> None:
        numbers = self.numbers()
        self.assertGreater(numbers["memory_allocated_bytes"], 1_000_000)
        self.assertGreaterEqual(numbers["memory_allocated_bytes"], numbers["memory_heap"])
        self.assertGreater(numbers["memory_heap"], numbers["memory_stack"])
        self.assertGreater(numbers["memory_stack"], 0)

    def test_threads_are_counted_at_most_once_a_second(self) -> None:
        before = self.numbers()["num_goroutine"]
        release = Event()
        thread = Thread(target=release.wait)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(release.set)
        self.clock.advance(0.9)
        self.assertEqual(self.numbers()["num_goroutine"], before)
        self.clock.advance(0.1)
        self.assertEqual(self.numbers()["num_goroutine"], before + 1)

    def test_collections(self) -> None:
        gc.disable()
        self.addCleanup(gc.enable)
        before, began_ns = self.numbers()["gc_total_pause"], time.time_ns()
        for _ in range(3):
            gc.collect()
        self.clock.advance(2)
        numbers = self.numbers()
        self.assertGreater(numbers["gc_total_pause"], before)
        self.assertEqual(numbers["gc_per_second"], 1.5)
        self.assertGreaterEqual(self.gauges.pauses.last_end_ns, began_ns)
        self.assertAlmostEqual(numbers["gc_pause_per_second"], (numbers["gc_total_pause"] - before) / 2)
        self.clock.advance(1)
        self.assertEqual(self.numbers()["gc_per_second"], 0)

    def test_the_callback_is_removed_from_the_collector(self) -> None:
        self.gauges.stop()
        self.gauges.stop()
        before = self.gauges.pauses.count
        gc.collect()
        self.assertEqual(self.gauges.pauses.count, before)

    def test_gauges_stand_still_after_the_stop(self) -> None:
        before = self.numbers()
        self.gauges.stop()
        self.clock.advance(100)
        self.assertEqual(self.numbers(), before)

    def test_without_proc_the_other_figures_are_there(self) -> None:
        self.patch(runtime, "_STATUS", Path("/nowhere/status"))
        store = MetricStore()
        gauges = RuntimeGauges(store, self.clock.seconds)
        gauges.start()
        self.addCleanup(gauges.stop)
        self.assertEqual({family.metric.name for family in store.snapshot()}, {"gc_total_pause", "uptime_sec"})
