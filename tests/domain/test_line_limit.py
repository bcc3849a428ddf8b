"""The rate limit of log lines."""

from unittest import TestCase

from fleetgw.domain.line_limit import INTERVAL_S, LINES, LineLimit, cut


class LineLimitTests(TestCase):
    def setUp(self) -> None:
        self.limit = LineLimit(max_tracked=10)

    def test_a_flood_writes_a_few_lines_in_each_interval_and_counts_the_others(self) -> None:
        written = [self.limit.admit("kind", "A", number / 100) for number in range(3000)]
        lines = [each for each in written if each is not None]
        self.assertEqual(len(lines), 3 * LINES)
        self.assertEqual(sum(lines), 2 * (INTERVAL_S * 100 - LINES))

    def test_vehicles_and_kinds_are_counted_apart(self) -> None:
        for _ in range(LINES):
            self.limit.admit("kind", "A", 0.0)
        self.assertIsNone(self.limit.admit("kind", "A", 0.0))
        self.assertEqual(self.limit.admit("kind", "B", 0.0), 0)
        self.assertEqual(self.limit.admit("other", "A", 0.0), 0)

    def test_the_table_is_bounded_and_vehicles_beyond_it_share_a_count(self) -> None:
        written = [self.limit.admit("kind", str(number), 0.0) for number in range(1000)]
        self.assertEqual(sum(each is not None for each in written), 10 + LINES)
        self.assertLessEqual(len(self.limit._windows), 11)

    def test_intervals_that_are_over_are_forgotten(self) -> None:
        for number in range(100):
            self.limit.admit("kind", str(number), 0.0)
        self.assertEqual(self.limit.admit("kind", "new", INTERVAL_S), 0)
        self.assertEqual(len(self.limit._windows), 1)

    def test_long_text_is_cut_and_its_length_is_added(self) -> None:
        self.assertEqual(cut("x" * 128), "x" * 128)
        self.assertEqual(cut("x" * 129), "x" * 128 + "... (129 characters)")
