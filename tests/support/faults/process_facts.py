"""Facts about a process, from /proc."""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_TICK_S = 0.01


def resident_mib(pid: int, name: str = "VmRSS") -> float:
    """Resident memory now; with ``VmHWM`` the most there ever was."""
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{name}:")[1].split()[0]) / 1024


def descriptors(pid: int) -> int:
    """Number of open file descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def reactor_cpu_s(pid: int) -> float:
    """CPU time that the first thread has taken so far, in seconds; the reactor runs there."""
    user, system = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class ReactorCpu:
    """The CPU time of a gateway's reactor over time, for use in a ``with`` statement."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._times_s = [time.monotonic()]
        self._taken_s = [reactor_cpu_s(pid)]
        self._ended = Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, from_s: float, until_s: float) -> float:
        """CPU time, in seconds, from one time of ``time.monotonic`` to another."""
        return self._at(until_s) - self._at(from_s)

    def _at(self, time_s: float) -> float:
        return self._taken_s[max(0, bisect_right(self._times_s, time_s) - 1)]

    def _look(self) -> None:
        while not self._ended.wait(_TICK_S):
            self._taken_s.append(reactor_cpu_s(self._pid))
            self._times_s.append(time.monotonic())
