"""Estimates when something that grows is full."""

from __future__ import annotations

from collections import deque
from math import inf

WINDOW_S = 300.0
"""The growth of so many seconds is taken to go on: long enough for the steps in which files are removed."""

SAMPLE_INTERVAL_S = 10.0


class FillEstimate:
    """Estimates the time until a size reaches its maximum, from its growth in the last minutes."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def seconds_until_full(self, size: float, max_size: float, now_s: float) -> float:
        """Take a size into account, and estimate. Called at any rate: few of the sizes are kept.

        :param now_s: monotonic time.
        :return: 0 when it is full; infinite while it does not grow, or nothing is known about its growth.
        """
        samples = self._samples
        while len(samples) > 1 and samples[1][0] <= now_s - WINDOW_S:
            samples.popleft()
        if not samples or now_s - samples[-1][0] >= SAMPLE_INTERVAL_S:
            samples.append((now_s, size))
        if size >= max_size:
            return 0.0
        began_s, first_size = samples[0]
        growth = size - first_size
        return (max_size - size) * (now_s - began_s) / growth if growth > 0 and now_s > began_s else inf
