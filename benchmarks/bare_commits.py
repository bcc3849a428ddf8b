"""The floor of the spool's benchmarks: a thread that inserts rows with apsw, and commits all that wait (group commit).

Run as a process it prints JSON: records a second, CPU in microseconds a record, latencies in milliseconds.

    python benchmarks/bare_commits.py FOLDER ROW_BYTES [--vehicles 64] [--seconds 2]

Each vehicle sends its next record after the sync of the last. The loop encodes and checks nothing.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING

import apsw
from attrs import asdict, frozen
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

from fleetgw.adapters.process.reactor import run_on_monotonic_time

if TYPE_CHECKING:
    from collections.abc import Callable


@frozen
class Figures:
    """The result of one run.

    :ivar cpu_us: of the process, for each record.
    :ivar written: bytes sent to the disk, as a multiple of the bytes stored.
    """

    records_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    written: float


class Measurement:
    """Records, CPU, latencies and written bytes of one run."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self._began_s, self._cpu_s, self._written = time.monotonic(), time.process_time(), written_bytes("self")

    def figures(self, stored_bytes: int) -> Figures:
        """:param stored_bytes: of each record."""
        seconds, cpu_s = time.monotonic() - self._began_s, time.process_time() - self._cpu_s
        latencies, records = sorted(self.latencies_s), len(self.latencies_s)
        return Figures(
            records / seconds,
            cpu_s / records * 1e6,
            latencies[records // 2] * 1e3,
            latencies[records * 99 // 100] * 1e3,
            (written_bytes("self") - self._written) / (records * stored_bytes),
        )


def written_bytes(process: int | str) -> int:
    """Bytes that a process has had sent to the disk."""
    with open(f"/proc/{process}/io") as file:
        return int(dict(line.split(": ") for line in file.read().splitlines())["write_bytes"])


def work(work_us: float) -> None:
    """Keep the thread busy."""
    until_s = time.perf_counter() + work_us / 1e6
    while time.perf_counter() < until_s:
        pass


Waiting = tuple[int, bytes, "Callable[[], None]"]


class BareLoop:
    """A thread that commits all rows that wait."""

    def __init__(self, path: str) -> None:
        self._connection = apsw.Connection(path + "/bare.sqlite")
        self._connection.execute(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE record(position INTEGER PRIMARY KEY, body BLOB)"
        ).fetchall()
        self._waiting: list[Waiting] = []
        self._positions = count(1)
        self._jobs: SimpleQueue[list[Waiting] | None] = SimpleQueue()
        self._busy = False
        threading.Thread(target=self._run, daemon=True).start()

    def append(self, body: bytes, done: Callable[[], None]) -> None:
        self._waiting.append((next(self._positions), body, done))
        self._commit_next()

    def _commit_next(self) -> None:
        if self._waiting and not self._busy:
            self._busy = True
            taken, self._waiting = self._waiting, []
            self._jobs.put(taken)

    def _run(self) -> None:
        while (taken := self._jobs.get()) is not None:
            with self._connection:
                self._connection.executemany("INSERT INTO record VALUES(?, ?)", [each[:2] for each in taken])
            reactor.callFromThread(self._committed, taken)

    def _committed(self, taken: list[Waiting]) -> None:
        self._busy = False
        self._commit_next()
        for _, _, done in taken:
            done()


async def run_bare(path: str, body: bytes, vehicles: int, seconds: float, work_us: float = 0.0) -> Figures:
    """:param work_us: keeps the reactor busy for so long with each record, as a gateway's is."""
    loop = BareLoop(path)
    measurement = Measurement()
    until_s = time.monotonic() + seconds

    def send() -> None:
        work(work_us)
        began_s = time.monotonic()

        def done() -> None:
            measurement.latencies_s.append(time.monotonic() - began_s)
            if time.monotonic() < until_s:
                send()

        loop.append(body, done)

    for _ in range(vehicles):
        send()
    await task.deferLater(reactor, seconds + 0.2)
    return measurement.figures(len(body))


async def main(arguments: argparse.Namespace) -> None:
    run_on_monotonic_time(reactor)
    figures = await run_bare(arguments.folder, bytes(arguments.row_bytes), arguments.vehicles, arguments.seconds)
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("row_bytes", type=int)
    parser.add_argument("--vehicles", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    chosen = parser.parse_args()
    task.react(lambda _: Deferred.fromCoroutine(main(chosen)))
