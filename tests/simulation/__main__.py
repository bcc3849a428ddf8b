"""Runs many histories in several processes: ``make simulate``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tests.simulation.failures import failure_of, failures_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PART = 50
"""Histories that a process runs without a break."""

PROGRESS_EVERY_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("histories", type=int, nargs="?", default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first history; the others follow (default: 0)")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    if options.histories == 1:
        failure = failure_of(options.seed, last_steps=sys.maxsize)
        print(failure or f"seed {options.seed}: no failure")
        return failure is not None
    parts = _parts(options.seed, options.histories)
    if options.processes == 1:
        return _report(map(failures_of, parts), options.histories, quiet=options.quiet)
    with get_context("spawn").Pool(options.processes) as pool:  # a fork of a program with threads may hang
        return _report(pool.imap_unordered(failures_of, parts), options.histories, quiet=options.quiet)


def _parts(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, PART):
        yield range(start, min(start + PART, first + count))


def _report(parts: Iterator[list[tuple[int, str]]], count: int, *, quiet: bool) -> int:
    """Tell of progress, and of the first part that fails."""
    began = told = time.monotonic()
    done = 0
    for failures in parts:
        done = min(done + PART, count)
        now = time.monotonic()
        for seed, failure in failures:
            print(f"seed {seed} fails:\n{failure}\nTo replay it: make simulate N=1 SEED={seed}", flush=True)
        if failures:
            return 1
        if not quiet and now - told >= PROGRESS_EVERY_S:
            told = now
            print(f"{done} of {count} histories, {(now - began):.0f} s", flush=True)
    took_s = time.monotonic() - began
    print(f"{count} histories without a failure in {took_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
