"""Compares the C functions with their Python twins, on many random inputs: ``make fuzz``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tests.fuzz.runs import COMPARISONS, INPUTS_OF_PARTS, Report, parts_of, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRESS_EVERY_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("inputs", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first input; the others follow (default: 0)")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    if not all(comparison.functions[1:] for comparison in COMPARISONS):
        print("The C extension is not built: only the Python twins are compared with the independent readings.", flush=True)
        if os.environ.get("CI"):
            return 1
    parts = parts_of(options.seed, options.inputs, INPUTS_OF_PARTS)
    if options.processes == 1:
        return _report(map(run, parts), options.inputs, quiet=options.quiet)
    with get_context("spawn").Pool(options.processes) as pool:  # a fork of a program with threads may hang
        return _report(pool.imap_unordered(run, parts), options.inputs, quiet=options.quiet)


def _report(parts: Iterator[Report], count: int, *, quiet: bool) -> int:
    """Tell of progress, of the first part that fails, and of the share of inputs that the fast path has taken."""
    began = told = time.monotonic()
    report = Report()
    for part in parts:
        report.add(part)
        for seed, failure in report.failures:
            print(f"seed {seed} fails: {failure}\nTo replay it: make fuzz N=1 SEED={seed}", flush=True)
        if report.failures:
            return 1
        now = time.monotonic()
        if not quiet and now - told >= PROGRESS_EVERY_S:
            told = now
            print(f"{report.inputs.total()} of {count} inputs, {(now - began):.0f} s", flush=True)
    for function, kind, inputs, share in report.taken():
        print(f"{function:<14}{kind:<14}{inputs:>10} inputs, {share:.0%} taken by the fast path")
    print(f"{count} inputs without a difference in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
