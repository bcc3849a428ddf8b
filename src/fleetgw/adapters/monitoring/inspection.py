"""Reports on the memory and the threads of the running process. They take long: call them off the reactor's thread."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from threading import enumerate as live_threads

from fleetgw.adapters.metrics.runtime import process_status
from fleetgw.adapters.monitoring.cpu_sampler import frame_names

MAX_OBJECTS = 1_000_000
"""Maximum number of the garbage collector's objects for a count by type: a longer list would block the reactor."""

SHOWN_TYPES = 50
"""Number of types in the report, those with the most objects first."""

_CHUNK = 5_000


def memory_summary() -> str:
    """Resident memory, figures of the allocator and the garbage collector, and the types with the most objects."""
    lines = [f"{name} {number}" for name, number in process_status().items()]
    lines.append(f"allocated_blocks {sys.getallocatedblocks()}")
    lines.append(f"frozen_objects {gc.get_freeze_count()}")  # of the start, which the collector skips
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
    for start in range(0, min(len(objects), MAX_OBJECTS), _CHUNK):  # other threads run between two chunks
        counter.update(map(type, objects[start : start + _CHUNK]))
    heading = f"objects by type, of {len(objects)} that the garbage collector tracks:"
    return [heading, *(f"{count} {kind.__module__}.{kind.__qualname__}" for kind, count in counter.most_common(SHOWN_TYPES))]


def thread_stacks() -> str:
    """Every thread and its stack, innermost frame last."""
    frames = sys._current_frames()
    parts = []
    for thread in live_threads():
        kind = " daemon" if thread.daemon else ""
        names = frame_names(frames.get(thread.ident or 0))
        parts.append("\n".join([f"{thread.name} ({thread.native_id}{kind})", *(f"  {name}" for name in names), ""]))
    return "\n".join(parts)
