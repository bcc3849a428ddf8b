"""Gauges of the running process under the names of the Go server's runtime gauges, and the uptime."""

from __future__ import annotations

import gc
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from fleetgw.domain.metrics import (
    GC_PAUSE_PER_SECOND,
    GC_PER_SECOND,
    GC_TOTAL_PAUSE,
    MEMORY_ALLOCATED_BYTES,
    MEMORY_HEAP,
    MEMORY_STACK,
    NUM_GOROUTINE,
    UPTIME_SEC,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.adapters.metrics.store import MetricStore

MEASURE_INTERVAL_S = 1.0
"""Shortest time between two measurements of the process and the collector, whatever the rate of exports."""

_STATUS = Path("/proc/self/status")
_LINE = re.compile(r"^(VmRSS|RssAnon|VmStk|Threads):\s+(\d+)", re.MULTILINE)


def process_status() -> Mapping[str, int]:
    """``VmRSS``, ``RssAnon`` and ``VmStk`` in bytes, and the number of ``Threads``; those that the kernel shows."""
    try:
        text = _STATUS.read_text()
    except OSError:
        return {}
    return {name: int(number) * (1 if name == "Threads" else 1024) for name, number in _LINE.findall(text)}


class CollectionPauses:
    """Counts and times the garbage collector's runs, from ``start`` to ``stop``.

    :ivar count: number of runs.
    :ivar total_ns: duration of all runs together.
    :ivar last_end_ns: end of the latest run, in nanoseconds since the epoch; 0 before the first.
    """

    def __init__(self) -> None:
        self.count = self.total_ns = self.last_end_ns = 0
        self._began_ns = 0

    def start(self) -> None:
        """Start counting."""
        gc.callbacks.append(self._collected)

    def stop(self) -> None:
        """Stop counting; harmless when it has stopped."""
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, _info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began_ns = time.perf_counter_ns()
        elif self._began_ns:
            self.total_ns += time.perf_counter_ns() - self._began_ns
            self.count += 1
            self.last_end_ns = time.time_ns()


class RuntimeGauges:
    """Sets the gauges of the process, the garbage collector and the uptime before each export.

    :ivar pauses: runs of the garbage collector between ``start`` and ``stop``.
    """

    def __init__(self, store: MetricStore, monotonic: Callable[[], float]) -> None:
        self.pauses = CollectionPauses()
        self._store = store
        self._monotonic = monotonic
        self._started_s = 0.0
        self._measured_s: float | None = None
        self._count = self._total_ns = 0

    def start(self) -> Deferred[None]:
        """Start the uptime and set the gauges from now on. Fires at once; never fails."""
        self.pauses.start()
        self._started_s = self._monotonic()
        self._store.before_export(self._before_export)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Stop setting the gauges. Fires at once; never fails."""
        self.pauses.stop()
        self._store.remove_hook(self._before_export)
        return succeed(None)

    def _before_export(self) -> None:
        now = self._monotonic()
        self._store.gauge(UPTIME_SEC).set_to(int(now - self._started_s))
        if self._measured_s is None or now - self._measured_s >= MEASURE_INTERVAL_S:
            self._measure(now - (self._started_s if self._measured_s is None else self._measured_s))
            self._measured_s = now

    def _measure(self, elapsed_s: float) -> None:
        gauge, pauses = self._store.gauge, self.pauses
        status = process_status()
        for name, metric in (
            ("Threads", NUM_GOROUTINE),
            ("VmRSS", MEMORY_ALLOCATED_BYTES),
            ("RssAnon", MEMORY_HEAP),
            ("VmStk", MEMORY_STACK),
        ):
            if name in status:
                gauge(metric).set_to(status[name])
        gauge(GC_TOTAL_PAUSE).set_to(pauses.total_ns / 1e6)
        if elapsed_s:
            gauge(GC_PAUSE_PER_SECOND).set_to((pauses.total_ns - self._total_ns) / 1e6 / elapsed_s)
            gauge(GC_PER_SECOND).set_to((pauses.count - self._count) / elapsed_s)
        self._count, self._total_ns = pauses.count, pauses.total_ns
