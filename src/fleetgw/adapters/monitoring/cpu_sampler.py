"""CPU profile of the running process: a thread samples stacks, weighted by the CPU time that each thread has used."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event, Thread, current_thread
from threading import enumerate as live_threads
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

INTERVAL_S = 0.01
"""Time between two samples."""

MAX_FRAMES = 128
"""Maximum number of frames of a stack; the outermost ones beyond it are left out."""

MAX_STACKS = 10_000
"""Maximum number of different stacks of a profile; the time of all further stacks is one sum."""

_TASKS = Path("/proc/self/task")
_OTHERS = "(further stacks)"


def frame_names(frame: FrameType | None) -> list[str]:
    """``module:function`` of every frame, outermost first, at most ``MAX_FRAMES``."""
    names: list[str] = []
    while frame is not None and len(names) < MAX_FRAMES:
        names.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    return names[::-1]


def cpu_time_us(native_id: int) -> int | None:
    """CPU time of a thread in microseconds; None when it has ended, or the kernel keeps no such figure."""
    try:
        return int((_TASKS / str(native_id) / "schedstat").read_bytes().split()[0]) // 1000
    except (OSError, IndexError):
        return None


class Stacks:
    """CPU time by stack."""

    def __init__(self) -> None:
        self._time_us: dict[str, int] = {}

    def add(self, thread: str, names: list[str], time_us: int) -> None:
        """Add CPU time that a thread has spent in a stack."""
        stack = ";".join([thread.replace(";", ":"), *names])
        if stack not in self._time_us and len(self._time_us) >= MAX_STACKS:
            stack = _OTHERS
        self._time_us[stack] = self._time_us.get(stack, 0) + time_us

    def collapsed(self) -> str:
        """One line per stack, ``thread;outer;...;inner microseconds``, which flamegraph.pl and speedscope read."""
        return "".join(f"{stack} {time_us}\n" for stack, time_us in sorted(self._time_us.items()))


class CpuSampler:
    """Samples in a thread of its own, from the constructor to ``end``.

    :param done: called once, in the sampler's thread, with the collapsed stacks.
    :param cpu_time: CPU time of a thread in microseconds, by its native id.
    """

    def __init__(self, done: Callable[[str], None], cpu_time: Callable[[int], int | None] = cpu_time_us) -> None:
        self._done = done
        self._cpu_time = cpu_time
        self._ended = Event()
        self._stacks = Stacks()
        self._cpu_us: dict[int, int] = {}
        Thread(target=self._run, name="cpu sampler", daemon=True).start()

    def end(self) -> None:
        """Stop sampling; ``done`` is called soon after. Harmless when it has stopped."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._sample()
        self._done(self._stacks.collapsed())

    def _sample(self) -> None:
        frames = sys._current_frames()
        before, self._cpu_us = self._cpu_us, {}
        for thread in live_threads():
            frame = frames.get(thread.ident or 0)
            if frame is None or thread is current_thread() or thread.native_id is None:
                continue
            now_us = self._cpu_time(thread.native_id)
            if now_us is None:
                continue
            self._cpu_us[thread.native_id] = now_us
            used_us = now_us - before.get(thread.native_id, now_us)
            if used_us > 0:
                self._stacks.add(thread.name, frame_names(frame), used_us)
