"""Runs of inputs by their seeds; a module of its own, which spawned processes can import."""

from __future__ import annotations

import traceback
from collections import Counter
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from attrs import Factory, frozen

from tests.fuzz.rewrite_data import RewriteComparison
from tests.fuzz.split import SplitComparison

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.comparisons import Comparison, Input

COMPARISONS = (RewriteComparison, SplitComparison)

INPUTS_OF_PARTS = 5_000
"""Number of inputs composed of the same parts."""


@frozen
class Report:
    """The result of a run.

    :ivar inputs: number of inputs by function, kind of input, and whether the fast path took it.
    :ivar failures: seeds and descriptions.
    """

    inputs: Counter[tuple[str, str, bool]] = Factory(Counter)
    failures: list[tuple[int, str]] = Factory(list)

    def add(self, other: Report) -> None:
        """Add another run."""
        self.inputs.update(other.inputs)
        self.failures.extend(other.failures)

    def taken(self) -> Iterator[tuple[str, str, int, float]]:
        """Function, kind, number of inputs and share taken."""
        for function, kind in sorted({key[:2] for key in self.inputs}):
            taken, left = self.inputs[function, kind, True], self.inputs[function, kind, False]
            yield function, kind, taken + left, taken / (taken + left)


@lru_cache(2)
def _comparisons(parts: int) -> list[Comparison]:
    return [comparison(parts) for comparison in COMPARISONS]


def run(seeds: range) -> Report:
    """Run the inputs of some seeds; each has one function's, in turn."""
    report = Report()
    for seed in seeds:
        comparison = _comparisons(seed // INPUTS_OF_PARTS)[seed % len(COMPARISONS)]
        kind, given = comparison.draw(Random(seed))
        try:
            taken = comparison.check(given)
        except Exception:
            report.failures.append((seed, f"{comparison.name}, {kind}: {_words(given)}\n{traceback.format_exc()}"))
        else:
            report.inputs[comparison.name, kind, taken] += 1
    return report


def _words(given: Input) -> str:
    return ", ".join(argument.hex() if isinstance(argument, bytes) else str(argument) for argument in given)


def parts_of(first: int, count: int, most: int) -> Iterator[range]:
    """Ranges of at most ``most`` seeds that use the same parts."""
    start, end = first, first + count
    while start < end:
        stop = min(end, start + most, (start // INPUTS_OF_PARTS + 1) * INPUTS_OF_PARTS)
        yield range(start, stop)
        start = stop
