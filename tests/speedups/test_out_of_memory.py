"""Each allocation of a function in C fails once: a MemoryError, and every reference is released, once."""

import gc
import sys
from importlib import import_module
from random import Random
from unittest import TestCase

from fleetgw.domain.records import Envelope
from tests.fuzz.comparisons import Comparison
from tests.fuzz.rewrite_data import RewriteComparison
from tests.fuzz.split import SplitComparison
from tests.support.needed import needed
from tests.support.speedups import speedups

MOST_ALLOCATIONS = 1000
INPUTS = 200


class OutOfMemoryTests(TestCase):
    def setUp(self) -> None:
        speedups()
        try:
            self.python = import_module("_testcapi")
        except ImportError as error:
            needed(f"Python's module for tests of itself is not there: {error}")

    def fail_each_allocation(self, comparison: Comparison, seed: int) -> int:
        """Call until no allocation fails; returns the number of calls that failed."""
        function = comparison.functions[1]
        arguments = comparison.arguments(comparison.draw(Random(seed))[1])
        wanted = repr(function(*arguments))
        tracked = [each for each in arguments if isinstance(each, bytes) or each is Envelope]
        references = [sys.getrefcount(each) for each in tracked]
        for failing in range(MOST_ALLOCATIONS):
            self.python.set_nomemory(failing, failing + 1)
            try:
                result = function(*arguments)
            except MemoryError:
                result = None
                is_done = False
            else:
                is_done = True
            finally:
                self.python.remove_mem_hooks()
            if is_done:
                self.assertEqual(repr(result), wanted)
            del result
            self.assertEqual([sys.getrefcount(each) for each in tracked], references)
            if is_done:
                return failing
        raise AssertionError("every call fails")

    def fail_for_each_input(self, comparison: Comparison) -> None:
        for _ in range(2):  # the first time fills caches
            blocks = sys.getallocatedblocks()
            failures = sum(self.fail_each_allocation(comparison, seed) for seed in range(INPUTS))
            gc.collect()
            left = sys.getallocatedblocks() - blocks
        self.assertGreater(failures, INPUTS // 4)
        self.assertLess(left, failures // 10)

    def test_rewrite_data(self) -> None:
        self.fail_for_each_input(RewriteComparison(0))

    def test_split(self) -> None:
        self.fail_for_each_input(SplitComparison(0))
