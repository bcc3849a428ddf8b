"""Signals by vehicle and day: each counts once, whatever the order of days; old days and too many vehicles are bounded."""

from collections import Counter
from unittest import TestCase
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.domain import signal_counts
from fleetgw.domain.signal_counts import KEPT_DAYS, DayCount, SignalCounts

VINS = st.sampled_from("ABC")


class SignalCountsTests(TestCase):
    @given(st.lists(st.tuples(st.integers(0, 3), VINS, st.integers(1, 1000))), st.integers(1, 3))
    def test_no_signal_is_lost_nor_counted_twice(self, added: list[tuple[int, str, int]], most: int) -> None:
        counts, expected, day = SignalCounts(100), Counter[int](), 100
        with patch.object(signal_counts, "MAX_VEHICLES", most):
            for days_later, vin, signals in added:
                day += days_later
                counts.begin_day(day)
                counts.today.add(vin, signals)
                expected[day] += signals
        kept = {day: sum(each.vehicles.values()) + each.others for day, each in counts.days.items()}
        self.assertEqual({d: n for d, n in kept.items() if n}, {d: expected[d] for d in sorted(expected)[-KEPT_DAYS:]})
        self.assertTrue(all(len(each.vehicles) <= most for each in counts.days.values()))
        self.assertEqual([*counts.days], sorted(counts.days, reverse=True))

    def test_a_clock_that_is_set_back_over_midnight_keeps_both_days(self) -> None:
        counts = SignalCounts(100)
        for day in (100, 101, 100, 101):
            counts.begin_day(day)
            counts.today.add("A", 1)
        self.assertEqual([*counts.of("A")], [(101, 2), (100, 2)])

    def test_totals_of_earlier_days_go_on_with_the_day(self) -> None:
        counts = SignalCounts(100)
        counts.today.add("A", 1)
        self.assertEqual(counts.earlier_totals, {})
        counts.begin_day(101)
        self.assertEqual(counts.earlier_totals, {"A": 1})
        counts.restore(100, DayCount({"A": 2, "B": 3}))
        self.assertEqual(counts.earlier_totals, {"A": 3, "B": 3})
        for day in range(102, 100 + KEPT_DAYS + 1):
            counts.begin_day(day)
        self.assertEqual(counts.earlier_totals, {})

    def test_a_clock_that_is_far_ahead_for_a_while_costs_the_oldest_day_alone(self) -> None:
        counts = SignalCounts(100)
        for day in (*range(100, 100 + KEPT_DAYS), 5000, 99 + KEPT_DAYS):
            counts.begin_day(day)
            counts.today.add("A", 1)
        self.assertEqual([day for day, _ in counts.of("A")], [*range(99 + KEPT_DAYS, 100, -1)])
        self.assertEqual(counts.today.vehicles, {"A": 2})

    def test_counts_of_an_earlier_run_are_added(self) -> None:
        counts = SignalCounts(100)
        counts.today.add("A", 1)
        counts.restore(100, DayCount({"A": 2, "B": 3}, 4))
        counts.restore(99, DayCount({"A": 5}))
        self.assertEqual([*counts.of("A")], [(100, 3), (99, 5)])
        self.assertEqual(counts.days, {100: DayCount({"A": 3, "B": 3}, 4), 99: DayCount({"A": 5})})
        for day in range(98, 98 - KEPT_DAYS, -1):
            counts.restore(day, DayCount({"A": 1}))
        self.assertEqual([*counts.days], [*range(100, 100 - KEPT_DAYS, -1)])
