"""Distributions: sums, differences, quantiles."""

import math
import random
from unittest import TestCase

from fleetgw.domain.distribution import Distribution

BOUNDS = (1.0, 2.0, 4.0, 8.0)


def of(*counts: int) -> Distribution:
    return Distribution(BOUNDS, counts, float(sum(counts)))


class DistributionTests(TestCase):
    def test_cumulative_counts_have_their_bounds_as_text(self) -> None:
        self.assertEqual(of(1, 0, 2, 0, 4).cumulative(), [("1", 1), ("2", 1), ("4", 3), ("8", 3), ("+Inf", 7)])
        self.assertEqual(Distribution((0.0005, 1e6), (0, 0, 0), 0).cumulative()[:2], [("0.0005", 0), ("1e+06", 0)])

    def test_sums_and_differences(self) -> None:
        early, later = of(1, 0, 0, 0, 1), of(3, 1, 0, 0, 1)
        self.assertEqual(later.since(early), of(2, 1, 0, 0, 0))
        self.assertEqual(early.plus(later.since(early)), later)

    def test_a_quantile_is_interpolated_in_its_bucket(self) -> None:
        for fraction, value in ((0, 1.0), (0.25, 1.5), (0.5, 2.0), (0.75, 6.0), (1, 8.0)):
            with self.subTest(fraction=fraction):
                self.assertEqual(of(0, 2, 0, 2, 0).quantile(fraction), value)

    def test_values_above_every_bound_count_as_the_largest(self) -> None:
        self.assertEqual(of(1, 0, 0, 0, 9).quantile(0.5), 8.0)

    def test_no_quantile_without_values(self) -> None:
        self.assertTrue(math.isnan(of(0, 0, 0, 0, 0).quantile(0.5)))

    def test_quantiles_are_within_a_bucket_of_the_values(self) -> None:
        rng = random.Random(7)
        values = sorted(rng.uniform(0, 8) for _ in range(1000))
        counts = [sum(low < value <= bound for value in values) for low, bound in zip((0, *BOUNDS), BOUNDS, strict=False)]
        for fraction in (0.1, 0.5, 0.9, 0.99):
            self.assertAlmostEqual(of(*counts, 0).quantile(fraction), values[int(fraction * 1000)], delta=0.3)
