"""Texts about the running process: its memory, and its threads. Both are to be made off the reactor's thread."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from threading import enumerate as live_threads

from fleetgw.adapters.metrics.runtime import process_status
from fleetgw.adapters.monitoring.cpu_sampler import frame_names

MAX_OBJECTS = 1_000_000
"""Objects of the garbage collector that are counted by type: a list of more would hold up the reactor."""

SHOWN_TYPES = 50
"""Types with the most objects."""

_AT_A_TIME = 5_000


def memory_summary() -> str:
    """Resident memory, Python's allocator and garbage collector, and the types with most objects."""
    lines = [f"{name} {number}" for name, number in process_status().items()]
    lines.append(f"allocated_blocks {sys.getallocatedblocks()}")
    lines.append(f"frozen_objects {gc.get_freeze_count()}")  # of the start: the collector leaves them out
    counts, stats = gc.get_count(), gc.get_stats()
    for generation, (count, stat) in enumerate(zip(counts, stats, strict=True)):
        figures = " ".join(f"{name}={number}" for name, number in stat.items())
        lines.append(f"gc generation {generation}: waiting={count} {figures}")
    return "\n".join([*lines, "", *_types(), ""])


def _types() -> list[str]:
    if sys.getallocatedblocks() > 3 * MAX_OBJECTS:
        return [f"objects by type: left out, there are more than {MAX_OBJECTS}"]
    objects = gc.get_objects()
    counter: Counter[type] = Counter()
    for start in range(0, min(len(objects), MAX_OBJECTS), _AT_A_TIME):  # other threads run between the parts
        counter.update(map(type, objects[start : start + _AT_A_TIME]))
    heading = f"objects by type, of {len(objects)} that the garbage collector tracks:"
    return [heading, *(f"{count} {kind.__module__}.{kind.__qualname__}" for kind, count in counter.most_common(SHOWN_TYPES))]


def thread_stacks() -> str:
    """Every thread with its stack, innermost frame last."""
    frames = sys._current_frames()
    parts = []
    for thread in live_threads():
        kind = " daemon" if thread.daemon else ""
        names = frame_names(frames.get(thread.ident or 0))
        parts.append("\n".join([f"{thread.name} ({thread.native_id}{kind})", *(f"  {name}" for name in names), ""]))
    return "\n".join(parts)
