"""Failures of histories; a module of its own, which spawned processes can import."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from tests.simulation.history import History

if TYPE_CHECKING:
    from collections.abc import Sequence

LAST_STEPS = 40


def failure_of(seed: int, last_steps: int = LAST_STEPS) -> str | None:
    """Run one history; returns the trace and the fault, None when there is none."""
    history = History(seed)
    try:
        history.run()
    except Exception:
        return "\n".join([history.trace[0], "...", *history.trace[1:][-last_steps:], traceback.format_exc()])
    finally:
        history.close()
    return None


def failures_of(seeds: Sequence[int]) -> list[tuple[int, str]]:
    """Run some histories; returns the seeds that fail."""
    return [(seed, failure) for seed in seeds if (failure := failure_of(seed)) is not None]
