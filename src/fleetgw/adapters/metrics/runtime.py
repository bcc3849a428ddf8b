"""Figures of the running process under the names of the Go server's runtime gauges, and the uptime."""

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

MEASURE_AGAIN_S = 1.0
"""Process and collector are measured at most this often, however often numbers are exported."""

_STATUS = Path("/proc/self/status")
_LINE = re.compile(r"^(VmRSS|RssAnon|VmStk|Threads):\s+(\d+)", re.MULTILINE)


def process_status() -> Mapping[str, int]:
    """``VmRSS``, ``RssAnon``, ``VmStk`` in bytes and ``Threads``, as far as the kernel gives them."""
    try:
        text = _STATUS.read_text()
    except OSError:
        return {}
    return {name: int(number) * (1 if name == "Threads" else 1024) for name, number in _LINE.findall(text)}


class CollectionPauses:
    """Counts the garbage collector's runs and their time, from ``start`` to ``stop``.

    :ivar count: runs.
    :ivar total_ns: nanoseconds of all runs together.
    :ivar last_end_ns: the end of the latest run, nanoseconds since the epoch; 0: there was none.
    """

    def __init__(self) -> None:
        self.count = self.total_ns = self.last_end_ns = 0
        self._began_ns = 0

    def start(self) -> None:
        """Begin to count."""
        gc.callbacks.append(self._collected)

    def stop(self) -> None:
        """End to count; harmless when it has ended."""
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
    """Sets the gauges of process, collector and uptime before each export.

    :ivar pauses: of the garbage collector, counted while this runs.
    """

    def __init__(self, store: MetricStore, monotonic: Callable[[], float]) -> None:
        self.pauses = CollectionPauses()
        self._store = store
        self._monotonic = monotonic
        self._started_s = 0.0
        self._measured_s: float | None = None
        self._count = self._total_ns = 0

    def start(self) -> Deferred[None]:
        """Begin to count the uptime, and to set the gauges. Fires at once; never fails."""
        self.pauses.start()
        self._started_s = self._monotonic()
        self._store.before_export(self._before_export)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """End to count. Fires at once; never fails."""
        self.pauses.stop()
        self._store.forget_hook(self._before_export)
        return succeed(None)

    def _before_export(self) -> None:
        now = self._monotonic()
        self._store.gauge(UPTIME_SEC).set_to(int(now - self._started_s))
        if self._measured_s is None or now - self._measured_s >= MEASURE_AGAIN_S:
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
