"""Histories of a spool with crashes at any moment, against a model."""

from random import Random
from unittest import TestCase

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.spool_model import SINKS, SpoolHistory

SEEDS = st.integers(0, 2**32).map(Random)
SINK = st.sampled_from(sorted(SINKS))


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.history = SpoolHistory()

    @rule(count=st.integers(1, 5), record_type=st.sampled_from(["V", "custom", "none"]), padding=st.integers(0, 9000))
    def append(self, count: int, record_type: str, padding: int) -> None:
        self.history.append(count, record_type, padding)

    @rule()
    def work(self) -> None:
        self.history.work()

    @rule(sink=SINK, most_records=st.integers(1, 10))
    def read(self, sink: str, most_records: int) -> None:
        self.history.read(sink, most_records)

    @rule(sink=SINK, random=SEEDS)
    def settle(self, sink: str, random: Random) -> None:
        self.history.settle(sink, random)

    @rule(seconds=st.sampled_from([0.5, 2.0]))
    def pass_time(self, seconds: float) -> None:
        self.history.pass_time(seconds)

    @rule(step=st.integers(1, 40), random=SEEDS)
    def lose_power_at_a_step(self, step: int, random: Random) -> None:
        self.history.disk.steps_left = step
        self.history.append(2, "custom", 3000)
        self.history.pass_time(2.0)
        self.history.work()
        self.history.lose_power(random)

    @rule(random=SEEDS)
    def lose_power(self, random: Random) -> None:
        self.history.lose_power(random)

    @rule()
    def kill(self) -> None:
        self.history.kill()

    @rule()
    def stop_and_start(self) -> None:
        self.history.stop_and_start()

    @rule(count=st.integers(1, 3))
    def fail_syncs(self, count: int) -> None:
        self.history.disk.failing_syncs = count

    @rule(is_full=st.booleans())
    def fill(self, *, is_full: bool) -> None:
        self.history.disk.is_full = is_full

    @invariant()
    def no_cursor_leads(self) -> None:
        for sink, cursor in self.history.cursors.items():
            assert cursor.position <= min(self.history.owed(sink), default=cursor.position)

    def teardown(self) -> None:
        try:
            self.history.check()
            self.history.lose_power(Random(1))
            self.history.check()
        finally:
            self.history.close()


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, suppress_health_check=list(HealthCheck))
HistoryTests = SpoolMachine.TestCase


class SeededHistoryTests(TestCase):
    def test_long_histories(self) -> None:
        for seed in range(40):
            with self.subTest(seed=seed):
                run(seed)


def run(seed: int, steps: int = 120) -> None:
    """One history, the same each time."""
    random = Random(seed)
    history = SpoolHistory()
    try:
        for _ in range(steps):
            step(history, random)
        history.check()
        history.lose_power(random)
        history.check()
    finally:
        history.close()


def step(history: SpoolHistory, random: Random) -> None:
    sink = random.choice(sorted(SINKS))
    match random.randrange(20):
        case 0:
            history.lose_power(random)
        case 1:
            history.disk.steps_left = random.randint(1, 60)
        case 2:
            history.work()
            history.lose_power(random)
        case 3:
            history.disk.failing_syncs = random.randint(1, 2)
        case 4:
            history.disk.is_full = random.random() < 0.5
        case 5:
            history.kill()
        case 6:
            history.stop_and_start()
        case 7 | 8 | 9:
            history.read(sink, random.randint(1, 20))
        case 10 | 11:
            history.settle(sink, random)
        case 12:
            history.pass_time(1.0)
        case 13 | 14 | 15:
            history.work()
        case _:
            history.append(
                random.randint(1, 5), random.choice(["V", "custom", "none"]), random.choice([0, 100, 5000, 50_000])
            )
