"""A distribution: the values that a histogram has observed, counted in buckets."""

from __future__ import annotations

from itertools import accumulate
from math import nan

from attrs import frozen


@frozen
class Distribution:
    """The values of one histogram at one moment, or of several with the same buckets.

    :ivar bounds: upper bounds of the buckets, ascending.
    :ivar counts: the number of values in each bucket, and, last, above every bound.
    :ivar sum: of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, int]]:
        """For each bound as text, ``+Inf`` last, the number of values up to it: as Prometheus shows a histogram."""
        return [*zip([*(f"{bound:g}" for bound in self.bounds), "+Inf"], accumulate(self.counts), strict=True)]

    def plus(self, other: Distribution) -> Distribution:
        """The values of both; they have the same bounds."""
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Distribution(self.bounds, counts, self.sum + other.sum)

    def since(self, earlier: Distribution) -> Distribution:
        """The values that were observed after ``earlier``, a distribution of the same histogram."""
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        return Distribution(self.bounds, counts, self.sum - earlier.sum)

    def quantile(self, fraction: float) -> float:
        """The value that ``fraction`` (0 to 1) of the values do not exceed, interpolated within its bucket.

        The largest bound stands for values above it. NaN without values.
        """
        total = self.count
        if not total:
            return nan
        rank, below, lower = fraction * total, 0, 0.0
        for bound, count in zip(self.bounds, self.counts[:-1], strict=True):
            if count and below + count >= rank:
                return lower + (bound - lower) * (rank - below) / count
            below, lower = below + count, bound
        return lower
