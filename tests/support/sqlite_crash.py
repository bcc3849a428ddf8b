"""A process that writes records to SQLite as fast as it can and prints the confirmed ones, to be killed at any moment.

Run as ``python -m tests.support.sqlite_crash FILE FIRST [BATCHES [AT_ONCE]]``: records are numbered from FIRST on; the
number is the txid and the signal ``Odometer``. Confirmed numbers go to standard output, a line for each batch, at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import apsw

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.adapters.sinks.sqlite.sink import SqliteSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import RECEIPT
from fleetgw.domain.records import PeerIdentity, Record, Vehicle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from fleetgw.domain.ports import Outcome

BATCH_RECORDS = 7
START_MS = 1_700_000_000_000

_VEHICLES = [
    Vehicle(PeerIdentity("vehicle_device", vin), vin, f"connection of {vin}")
    for vin in ("5YJ3E1EA7KF000001", "LRW3E7EK4NC000003")
]


def numbered_record(number: int) -> Record:
    """A ``V`` record with a number as txid and ``Odometer``."""
    content = Payload()
    created_at_ms = START_MS + number
    content.created_at.seconds, content.created_at.nanos = created_at_ms // 1000, created_at_ms % 1000 * 1_000_000
    content.data.add(key=Field.Odometer).value.double_value = number
    content.data.add(key=Field.Version).value.string_value = "2026.38.4"
    vehicle = _VEHICLES[number % len(_VEHICLES)]
    return Record("V", str(number).encode(), vehicle, content.SerializeToString(), created_at_ms, content, 2)


def write_until_killed(path: str, first: int, batches_limit: int = sys.maxsize, at_once: int = 4) -> None:
    """Run the process, which ends by itself after ``batches_limit`` batches, with ``at_once`` in flight together."""
    from twisted.internet import reactor
    from twisted.internet.interfaces import IReactorCore

    sink = SqliteSink(SinkContext("sqlite", {"path": path}, "n", ("V",), reactor, NullMetrics(), NullLog()))  # type: ignore[arg-type]  # a module to mypy
    left = batches_limit
    batches = (range(start, start + BATCH_RECORDS) for start in range(first, sys.maxsize, BATCH_RECORDS))

    def send_next() -> None:
        numbers = next(batches)
        sink.dispatch([numbered_record(number) for number in numbers]).addCallback(confirmed, numbers)

    def confirmed(outcomes: Sequence[Outcome], numbers: Collection[int]) -> None:
        done = [str(number) for number, outcome in zip(numbers, outcomes, strict=True) if outcome is RECEIPT]
        os.write(1, (" ".join(done) + "\n").encode())
        nonlocal left
        left -= 1
        if left > 0:
            send_next()
        elif left == 0:
            IReactorCore(reactor).stop()

    sink.start()
    for _ in range(at_once):
        send_next()
    IReactorCore(reactor).run()


def killed_writer(path: Path, first: int, life_s: float) -> set[int]:
    """Kill the process (SIGKILL) ``life_s`` seconds after its first receipt; returns the confirmed numbers."""
    command = [sys.executable, "-m", "tests.support.sqlite_crash", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603  ourselves
        assert process.stdout is not None  # noqa: S101  it was asked for
        try:
            lines = [process.stdout.readline()]
            time.sleep(life_s)
        finally:
            process.kill()
        lines += process.stdout.readlines()
    # a line without an end may have a number without its last digits
    whole = [line for line in lines if line.endswith(b"\n")]
    return {int(number) for line in whole for number in line.split()}


def recorded(path: Path) -> dict[int, float]:
    """The ``Odometer`` of every record in the file, by number.

    :raises AssertionError: SQLite finds the file damaged.
    """
    with closing(apsw.Connection(str(path))) as connection:
        sound = connection.execute("PRAGMA integrity_check").get
        if sound != "ok":
            raise AssertionError(f"{path} is damaged: {sound}")
        return {
            int(txid): odometer
            for txid, odometer in connection.execute("SELECT txid, json_extract(signals, '$.Odometer') FROM record")
        }


def kill_over_and_over(path: Path, lives_s: Sequence[float]) -> Iterator[tuple[set[int], dict[int, float]]]:
    """Kill one writer after the other on the same file; yields all confirmed numbers so far, and the file's records."""
    confirmed: set[int] = set()
    for index, life_s in enumerate(lives_s):
        confirmed |= killed_writer(path, index * 1_000_000, life_s)
        yield confirmed, recorded(path)


if __name__ == "__main__":
    write_until_killed(sys.argv[1], *map(int, sys.argv[2:]))
