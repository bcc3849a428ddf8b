"""Prometheus' figures of the process: memory, CPU, start, file descriptors."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

_PROC = Path("/proc")
_USER_TICKS, _SYSTEM_TICKS, _START_TICKS, _VIRTUAL_BYTES, _RESIDENT_PAGES = 11, 12, 19, 20, 21
"""Places of fields in ``stat``, behind the name of the command."""


def open_descriptors(folder: Path) -> int:
    """Number of entries of a folder of descriptors. Since Linux 6.2 the kernel knows it; before, they are listed."""
    return folder.stat().st_size or len(os.listdir(folder))


class ProcessFigures(Collector):
    """Collects the same as prometheus-client's ``ProcessCollector``, which takes 20 ms with 10,000 vehicles.

    That one lists every descriptor. Without ``/proc`` there is nothing to collect.
    """

    def __init__(self) -> None:
        self._boot_s = 0.0
        with suppress(OSError, IndexError):
            self._boot_s = float((_PROC / "stat").read_text().partition("\nbtime ")[2].split()[0])

    def collect(self) -> Iterable[Metric]:
        """The figures now."""
        try:
            stat = (_PROC / "self/stat").read_text().rpartition(")")[2].split()
            descriptors = open_descriptors(_PROC / "self/fd")
        except OSError:
            return
        ticks_per_s = os.sysconf("SC_CLK_TCK")
        cpu_s = (int(stat[_USER_TICKS]) + int(stat[_SYSTEM_TICKS])) / ticks_per_s
        started_s = self._boot_s + int(stat[_START_TICKS]) / ticks_per_s
        resident_bytes = int(stat[_RESIDENT_PAGES]) * resource.getpagesize()
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        for name, text, value in (
            ("virtual_memory_bytes", "Virtual memory size in bytes.", int(stat[_VIRTUAL_BYTES])),
            ("resident_memory_bytes", "Resident memory size in bytes.", resident_bytes),
            ("start_time_seconds", "Start time of the process since unix epoch in seconds.", started_s),
        ):
            yield GaugeMetricFamily(f"process_{name}", text, value)
        yield CounterMetricFamily("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", cpu_s)
        yield GaugeMetricFamily("process_open_fds", "Number of open file descriptors.", descriptors)
        yield GaugeMetricFamily("process_max_fds", "Maximum number of open file descriptors.", most)
