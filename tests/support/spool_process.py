"""A process that spools records as fast as it can and prints the synced ones, to be killed at any moment.

Run as ``python -m tests.support.spool_process FOLDER FIRST [--settle]``: records are numbered from FIRST on, and with
``--settle`` all but the latest are settled. Synced numbers go to standard output, a line for each append, at once; failures
as a line that begins with ``!``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import count
from typing import TYPE_CHECKING

from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.adapters.process.reactor import run_on_monotonic_time
from fleetgw.adapters.spool.folder import Folder
from fleetgw.adapters.spool.limits import SpoolLimits
from fleetgw.adapters.spool.spool import Spool
from fleetgw.domain.errors import StorageError
from tests.support.spool_case import KIB, spooled_record

if TYPE_CHECKING:
    from collections.abc import Sequence

SINKS = {"kafka": ("V",)}
AT_ONCE = 8
RECORDS = 5
UNSETTLED_RECORDS = 300
LIMITS = SpoolLimits(max_bytes=512 * 1024 * KIB, file_bytes=512 * KIB)


def spool_until_killed(path: str, first: int, *, settles: bool) -> None:
    """Run the process, with some appends under way together."""
    from twisted.internet import reactor
    from twisted.internet.interfaces import IReactorCore

    run_on_monotonic_time(reactor)
    spool = Spool(
        Folder(path),
        LIMITS,
        reactor,  # type: ignore[arg-type]  # a module to mypy
        NullMetrics(),
        NullLog(),
        wall_s=time.time,
    )
    numbers = count(first)

    def append() -> None:
        batch = [next(numbers) for _ in range(RECORDS)]
        appended = spool.append([spooled_record(number, "V", number % 700) for number in batch])
        if isinstance(appended, StorageError):
            reactor.callLater(0.1, append)
        else:
            appended.synced.addCallback(synced, batch)
            if settles:
                spool.settle("kafka", appended.positions.start - UNSETTLED_RECORDS)

    def synced(failure: StorageError | None, batch: Sequence[int]) -> None:
        os.write(1, (" ".join(map(str, batch)) if failure is None else f"! {failure}").encode() + b"\n")
        append()

    def started(_: object) -> None:
        for _ in range(AT_ONCE):
            append()

    spool.start(SINKS).addCallback(started)
    IReactorCore(reactor).run()


def killed_spooler(path: str, first: int, lines: int, wrapper: Sequence[str] = ()) -> tuple[set[int], int]:
    """Kill the process (SIGKILL) after it has printed so many lines; returns the synced numbers, and how many failures."""
    command = [*wrapper, sys.executable, "-m", "tests.support.spool_process", path, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # noqa: S603  ourselves
        assert process.stdout is not None  # it was asked for
        try:
            printed = [process.stdout.readline() for _ in range(lines)]
        finally:
            process.kill()
        printed += process.stdout.readlines()
    # a line without an end may have a number without its last digits
    whole = [line for line in printed if line.endswith(b"\n")]
    synced = {int(number) for line in whole if line[:1] != b"!" for number in line.split()}
    return synced, sum(line[:1] == b"!" for line in whole)


if __name__ == "__main__":
    spool_until_killed(sys.argv[1], int(sys.argv[2]), settles="--settle" in sys.argv)
