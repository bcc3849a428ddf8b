"""A million calls of each function in C, failing ones included, leave no memory and no reference behind."""

import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from random import Random
from unittest import TestCase

from fleetgw.domain.records import Envelope
from tests.fuzz.comparisons import Comparison
from tests.fuzz.rewrite_data import RewriteComparison
from tests.fuzz.split import SplitComparison
from tests.support.speedups import speedups

CALLS = 1_000_000
INPUTS = 450

MOST_BLOCKS = 300
MOST_BYTES = 4 << 20
"""Bounds on what is there after the calls and not before: one call of all that leaks exceeds one of them."""

Arguments = tuple[object, ...]


def wrong(arguments: Arguments) -> list[Arguments]:
    """Too few arguments, too many, and each of a wrong type, negative or too large."""
    calls = [(), arguments[:-1], (*arguments, None)]
    for at in range(len(arguments)):
        calls += [(*arguments[:at], value, *arguments[at + 1 :]) for value in (None, "text", -1, 1 << 70, int)]
    return calls


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class LeaksTests(TestCase):
    def assert_nothing_left(self, function: Callable[..., object], calls: Sequence[Arguments]) -> None:
        def call(times: int) -> None:
            for _ in range(times):
                for arguments in calls:
                    with suppress(Exception):
                        function(*arguments)

        # not empty or single bytes: the interpreter shares them with everybody
        tracked = [each for each in chain(*calls) if each is Envelope or (isinstance(each, bytes) and len(each) > 1)]
        call(20)
        references = [sys.getrefcount(each) for each in tracked]
        gc.collect()
        blocks, resident = sys.getallocatedblocks(), resident_bytes()
        call(CALLS // len(calls))
        gc.collect()
        self.assertLess(sys.getallocatedblocks() - blocks, MOST_BLOCKS)
        self.assertLess(resident_bytes() - resident, MOST_BYTES)
        self.assertEqual([sys.getrefcount(each) for each in tracked], references)

    def calls(self, comparison: Comparison) -> list[Arguments]:
        """Calls with inputs of the fuzz and with wrong arguments."""
        inputs = [comparison.arguments(comparison.draw(Random(seed))[1]) for seed in range(INPUTS)]
        return inputs + wrong(inputs[0])

    def test_rewrite_data(self) -> None:
        self.assert_nothing_left(speedups().rewrite_data, self.calls(RewriteComparison(0)))

    def test_split(self) -> None:
        self.assert_nothing_left(speedups().split, self.calls(SplitComparison(0)))
