"""Estimates of when a spool is full."""

from math import inf
from unittest import TestCase

from fleetgw.domain.fill_estimate import SAMPLE_INTERVAL_S, WINDOW_S, FillEstimate


class FillEstimateTests(TestCase):
    def setUp(self) -> None:
        self.estimate = FillEstimate()

    def seconds(self, size: float, now_s: float) -> float:
        return self.estimate.seconds_until_full(size, 1000, now_s)

    def test_nothing_is_known_at_first(self) -> None:
        self.assertEqual([self.seconds(10, 0), self.seconds(900, 0)], [inf, inf])

    def test_growth_goes_on(self) -> None:
        for now_s in range(100):
            seconds = self.seconds(2 * now_s, now_s)
        self.assertAlmostEqual(seconds, (1000 - 2 * 99) / 2)

    def test_what_shrinks_or_stays_is_never_full(self) -> None:
        self.assertEqual([self.seconds(size, now_s) for now_s, size in enumerate((500, 500, 400))], [inf] * 3)

    def test_full_is_full(self) -> None:
        self.assertEqual([self.seconds(1000, 0), self.seconds(1100, 10), self.seconds(1000, 20)], [0, 0, 0])

    def test_growth_of_long_ago_is_forgotten(self) -> None:
        for now_s in range(0, 100, 10):
            self.seconds(now_s, now_s)
        self.assertLess(self.seconds(100, 100), inf)
        for now_s in range(110, 120 + int(WINDOW_S), 10):
            seconds = self.seconds(100, now_s)
        self.assertEqual(seconds, inf)

    def test_a_pause_between_two_looks_leaves_the_growth_in_between(self) -> None:
        self.seconds(0, 0)
        self.assertAlmostEqual(self.seconds(500, 10 * WINDOW_S), 10 * WINDOW_S)

    def test_few_sizes_are_kept_at_any_rate(self) -> None:
        for step in range(100_000):
            self.seconds(step / 1000, step / 10)
        self.assertLessEqual(len(self.estimate._samples), WINDOW_S / SAMPLE_INTERVAL_S + 2)
