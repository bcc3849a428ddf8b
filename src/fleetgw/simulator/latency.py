"""A distribution of latencies in bounded memory."""

from __future__ import annotations

import math

_SHORTEST_S = 1e-5
_STEPS_PER_DOUBLING = 32
_STEPS = _STEPS_PER_DOUBLING * 27  # up to about 22 minutes


class LatencyHistogram:
    """Counts latencies in steps of about 2 %; 10 us and less are one step, 22 minutes and more another."""

    def __init__(self) -> None:
        self._counts = [0] * (_STEPS + 1)
        self.count = 0
        self.longest_s = 0.0

    def add(self, latency_s: float) -> None:
        """Count one latency, in seconds (at least 0)."""
        self.count += 1
        self.longest_s = max(self.longest_s, latency_s)
        step = math.ceil(math.log2(latency_s / _SHORTEST_S) * _STEPS_PER_DOUBLING) if latency_s > _SHORTEST_S else 0
        self._counts[min(step, _STEPS)] += 1

    def quantile_s(self, fraction: float) -> float:
        """The latency that ``fraction`` (above 0, at most 1) of all do not exceed, at most 2 % too high; 0.0 without any."""
        wanted = math.ceil(fraction * self.count)
        seen = 0
        for step, count in enumerate(self._counts):
            seen += count
            if seen >= wanted > 0:
                return min(_SHORTEST_S * math.exp2(step / _STEPS_PER_DOUBLING), self.longest_s)
        return 0.0
