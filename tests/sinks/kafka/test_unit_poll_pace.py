"""Adaptive polling for librdkafka's delivery reports."""

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.kafka.poll_pace import POLL_LONGEST_S, POLL_SHORTEST_S, PollPace


def polls(pace: PollPace, took_s: float, *, timers_late_s: float = 0) -> list[float]:
    """The times of the polls for one batch whose reports come ``took_s`` after its dispatch; the pace learns from them."""
    at_s = pace.pause_s(0) + timers_late_s
    times_s = [0.0, at_s]
    while at_s < took_s:
        at_s += pace.pause_s(at_s) + timers_late_s
        times_s.append(at_s)
    pace.learn(at_s, times_s[-2])
    return times_s[1:]


class PollPaceTests(SynchronousTestCase):
    def test_polls_come_soon_after_reports_and_few_too_early(self) -> None:
        for timers_late_s in (0, 0.0005, 0.0012):
            for took_s in (0.0012, 0.0043, 0.0087):
                pace = PollPace()
                for _ in range(100):
                    polls(pace, took_s, timers_late_s=timers_late_s)
                later = [polls(pace, took_s, timers_late_s=timers_late_s) for _ in range(100)]
                with self.subTest(took_s=took_s, timers_late_s=timers_late_s):
                    late_s = sum(each[-1] - took_s for each in later) / len(later)
                    self.assertLess(late_s, POLL_SHORTEST_S + timers_late_s / 2)
                    self.assertLessEqual(max(map(len, later)), 2 + took_s // POLL_LONGEST_S)

    def test_the_pace_follows_a_broker_that_becomes_faster(self) -> None:
        pace = PollPace()
        for _ in range(100):
            polls(pace, 0.02)
        for _ in range(100):
            last = polls(pace, 0.002)
        self.assertLess(last[-1], 0.003)

    def test_polls_for_overdue_reports_become_rarer(self) -> None:
        pace = PollPace()
        waited = polls(pace, 0.1)
        pauses = [round(after - before, 9) for before, after in pairwise(waited)]
        self.assertEqual(pauses, sorted(pauses))
        self.assertEqual(pauses[-1], POLL_LONGEST_S)

    def test_an_outage_does_not_slow_later_polls(self) -> None:
        pace = PollPace()
        pace.learn(300, 299)
        for _ in range(40):
            last = polls(pace, 0.002)
        self.assertLess(last[-1], 0.004)

    def test_reports_found_by_an_extra_poll_do_not_delay_later_polls(self) -> None:
        pace = PollPace()
        for _ in range(100):
            polls(pace, 0.004)
        before_s = pace.pause_s(0)
        pace.learn(0.0035, 0.003)
        self.assertLessEqual(pace.pause_s(0), before_s)
