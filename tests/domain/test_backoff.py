"""Exponential backoff with jitter."""

from typing import ClassVar
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.domain.backoff import Backoff


class BackoffTests(TestCase):
    cases: ClassVar[list[float]] = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]

    def test_pauses_double_up_to_the_maximum(self) -> None:
        backoff = Backoff(0.5, 30)
        self.assertEqual([backoff.failed(0.0) for _ in self.cases], self.cases)

    def test_a_success_starts_over(self) -> None:
        backoff = Backoff(0.5, 30)
        for _ in range(4):
            backoff.failed(0.0)
        backoff.succeeded()
        self.assertEqual(backoff.failed(0.0), 0.5)

    @given(st.floats(0.001, 60), st.floats(0.001, 600), st.lists(st.floats(0, 1, exclude_max=True), max_size=80))
    def test_jitter_shortens_a_pause_by_at_most_half(self, initial_s: float, more_s: float, chances: list[float]) -> None:
        backoff = Backoff(initial_s, initial_s + more_s)
        for failures, chance in enumerate(chances):
            longest = min(initial_s + more_s, initial_s * 2.0**failures)
            pause_s = backoff.failed(chance)
            self.assertLessEqual(pause_s, longest)
            self.assertGreater(pause_s, longest * 0.4999)
