"""When librdkafka is asked for reports."""

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.kafka.poll_pace import POLL_LONGEST_S, POLL_SHORTEST_S, PollPace


def looks(pace: PollPace, took_s: float, *, timers_late_s: float = 0) -> list[float]:
    """When one batch is looked after, its reports coming ``took_s`` after it was handed over; the pace learns from it."""
    at_s = pace.pause_s(0) + timers_late_s
    found = [0.0, at_s]
    while at_s < took_s:
        at_s += pace.pause_s(at_s) + timers_late_s
        found.append(at_s)
    pace.heard(at_s, found[-2])
    return found[1:]


class PollPaceTests(SynchronousTestCase):
    def test_looks_come_soon_after_reports_and_few_in_vain(self) -> None:
        for timers_late_s in (0, 0.0005, 0.0012):
            for took_s in (0.0012, 0.0043, 0.0087):
                pace = PollPace()
                for _ in range(100):
                    looks(pace, took_s, timers_late_s=timers_late_s)
                later = [looks(pace, took_s, timers_late_s=timers_late_s) for _ in range(100)]
                with self.subTest(took_s=took_s, timers_late_s=timers_late_s):
                    late_s = sum(each[-1] - took_s for each in later) / len(later)
                    self.assertLess(late_s, POLL_SHORTEST_S + timers_late_s / 2)
                    self.assertLessEqual(max(map(len, later)), 2 + took_s // POLL_LONGEST_S)

    def test_a_quicker_broker_is_noticed(self) -> None:
        pace = PollPace()
        for _ in range(100):
            looks(pace, 0.02)
        for _ in range(100):
            last = looks(pace, 0.002)
        self.assertLess(last[-1], 0.003)

    def test_overdue_reports_are_looked_for_ever_less_often(self) -> None:
        pace = PollPace()
        waited = looks(pace, 0.1)
        pauses = [round(after - before, 9) for before, after in pairwise(waited)]
        self.assertEqual(pauses, sorted(pauses))
        self.assertEqual(pauses[-1], POLL_LONGEST_S)

    def test_an_outage_is_soon_forgotten(self) -> None:
        pace = PollPace()
        pace.heard(300, 299)
        for _ in range(40):
            last = looks(pace, 0.002)
        self.assertLess(last[-1], 0.004)

    def test_reports_found_on_the_way_to_another_look_are_no_reason_to_look_later(self) -> None:
        pace = PollPace()
        for _ in range(100):
            looks(pace, 0.004)
        before_s = pace.pause_s(0)
        pace.heard(0.0035, 0.003)
        self.assertLessEqual(pace.pause_s(0), before_s)
