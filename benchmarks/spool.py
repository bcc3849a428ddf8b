"""The spool: records a second with many vehicles, against a bare group-commit loop on apsw; start and memory of a full one.

    python benchmarks/spool.py [--vehicles 64] [--seconds 4] [--rounds 3] [--work-us 0] [--million]

Both append records of the same size, one for each vehicle, which sends its next one after the sync of the last. The bare
loop inserts a row for each record and commits all that wait, in a thread; it encodes and checks nothing. CPU is that of
the process; written bytes are those that the kernel sent to the disk. ``--work-us`` keeps the reactor busy for so long with
each record, as a gateway's is: a thread then waits for the interpreter's lock.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING

import apsw
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.adapters.process.reactor import run_on_monotonic_time
from fleetgw.adapters.spool.folder import Folder
from fleetgw.adapters.spool.limits import SpoolLimits
from fleetgw.adapters.spool.record_format import RecordEncoder
from fleetgw.adapters.spool.spool import Spool
from fleetgw.domain.records import PeerIdentity, Record, Vehicle

if TYPE_CHECKING:
    from collections.abc import Callable

SINKS = {"kafka": ("V",)}
LIMITS = SpoolLimits(max_bytes=8 * 1024**3)


def record_of(vehicle: Vehicle, signals: int = 16) -> Record:
    content = Payload(vin=vehicle.vin)
    for number in range(signals):
        content.data.add(key=Field.Odometer).value.double_value = number + 0.5
    payload = content.SerializeToString()
    return Record("V", b"a-txid-of-some-length", vehicle, payload, 1_700_000_000_000, content, signals, (), signals, 4096)


def fleet(size: int) -> list[Record]:
    vins = [f"5YJ3E1EA7KF{number:06}" for number in range(size)]
    return [
        record_of(Vehicle(PeerIdentity("vehicle_device", vin), vin, f"connection-of-{vin}-000000", "1.2.0")) for vin in vins
    ]


def work(work_us: float) -> None:
    until_s = time.perf_counter() + work_us / 1e6
    while time.perf_counter() < until_s:
        pass


def written_bytes() -> int:
    with open("/proc/self/io") as file:
        return int(dict(line.split(": ") for line in file.read().splitlines())["write_bytes"])


class Measurement:
    """Records, CPU, latencies and written bytes of one run."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.began_s, self.cpu_s, self.written = time.monotonic(), time.process_time(), written_bytes()

    def report(self, name: str, stored_bytes: int) -> float:
        seconds, cpu_s = time.monotonic() - self.began_s, time.process_time() - self.cpu_s
        latencies, records = sorted(self.latencies_s), len(self.latencies_s)
        p50, p99 = latencies[records // 2] * 1e3, latencies[records * 99 // 100] * 1e3
        amplification = (written_bytes() - self.written) / (records * stored_bytes)
        print(
            f"{name:8} {records / seconds:9.0f} records/s  {cpu_s / records * 1e6:6.2f} us CPU/record"
            f"  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  written {amplification:4.2f} x what is stored",
            flush=True,
        )
        return records / seconds


class BareLoop:
    """A thread that commits all rows that wait."""

    def __init__(self, path: str) -> None:
        self._connection = apsw.Connection(path + "/bare.sqlite")
        self._connection.execute(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE record(position INTEGER PRIMARY KEY, body BLOB)"
        ).fetchall()
        self._waiting: list[tuple[int, bytes, Callable[[], None]]] = []
        self._positions = count(1)
        self._jobs: SimpleQueue[list[tuple[int, bytes, Callable[[], None]]] | None] = SimpleQueue()
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

    def _committed(self, taken: list[tuple[int, bytes, Callable[[], None]]]) -> None:
        self._busy = False
        self._commit_next()
        for _, _, done in taken:
            done()


async def run_bare(path: str, records: list[Record], seconds: float, work_us: float) -> float:
    loop = BareLoop(path)
    body = bytes(len(RecordEncoder(json_payloads=False).encode(1, records[0])))
    measurement = Measurement()
    until_s = time.monotonic() + seconds

    def send(record: Record) -> None:
        work(work_us)
        began_s = time.monotonic()

        def done() -> None:
            measurement.latencies_s.append(time.monotonic() - began_s)
            if time.monotonic() < until_s:
                send(record)

        loop.append(body, done)

    for record in records:
        send(record)
    await task.deferLater(reactor, seconds + 0.2)
    return measurement.report("bare", len(body))


async def run_spool(path: str, records: list[Record], seconds: float, work_us: float) -> float:
    spool = Spool(Folder(path), LIMITS, reactor, NullMetrics(), NullLog(), wall_s=time.time)
    await spool.start(SINKS)
    measurement = Measurement()
    until_s = time.monotonic() + seconds

    def send(record: Record) -> None:
        work(work_us)
        began_s = time.monotonic()

        def done(failure: object) -> None:
            assert failure is None, failure
            measurement.latencies_s.append(time.monotonic() - began_s)
            if time.monotonic() < until_s:
                send(record)

        spool.append([record]).synced.addCallback(done)

    for record in records:
        send(record)
    await task.deferLater(reactor, seconds + 0.2)
    rate = measurement.report("spool", len(RecordEncoder(json_payloads=False).encode(1, records[0])))
    await spool.stop()
    return rate


def resident_mib() -> float:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1024**2


async def run_million(path: str, records: list[Record]) -> None:
    spool = Spool(Folder(path), LIMITS, reactor, NullMetrics(), NullLog(), wall_s=time.time)
    await spool.start(SINKS)
    print(f"resident with an empty spool: {resident_mib():.1f} MiB")
    began_s = time.monotonic()
    batch = (records * 64)[:640]
    for _ in range(1_000_000 // len(batch) + 1):
        assert await spool.append(batch).synced is None
    print(f"a million records appended in {time.monotonic() - began_s:.1f} s, resident {resident_mib():.1f} MiB")
    await spool.stop()
    spool = Spool(Folder(path), LIMITS, reactor, NullMetrics(), NullLog(), wall_s=time.time)
    began_s = time.monotonic()
    cursors = await spool.start(SINKS)
    print(f"started in {time.monotonic() - began_s:.3f} s: {spool.state().size_bytes / 1024**2:.0f} MiB on disk")
    position, read = cursors["kafka"], 0
    began_s, cpu_s = time.monotonic(), time.process_time()
    while (page := await spool.read("kafka", position, 300, 1024**2)).next_position > position:
        position, read = page.next_position, read + len(page.records)
        spool.settle("kafka", position)
    seconds, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    print(f"read {read} records: {read / seconds:.0f} a second, {cpu_s / read * 1e6:.2f} us CPU each")
    print(f"resident {resident_mib():.1f} MiB")
    await spool.stop()


async def main(arguments: argparse.Namespace) -> None:
    run_on_monotonic_time(reactor)
    records = fleet(arguments.vehicles)
    print(f"{arguments.vehicles} vehicles, payloads of {len(records[0].payload)} bytes")
    folder = tempfile.mkdtemp(dir=arguments.folder)
    try:
        if arguments.million:
            await run_million(folder + "/million", records)
            return
        ratios = []
        for number in range(arguments.rounds):
            bare_folder = f"{folder}/bare{number}"
            os.mkdir(bare_folder)
            bare = await run_bare(bare_folder, records, arguments.seconds, arguments.work_us)
            ratios.append(await run_spool(f"{folder}/spool{number}", records, arguments.seconds, arguments.work_us) / bare)
        print("spool / bare:", " ".join(f"{ratio:.2f}" for ratio in ratios))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vehicles", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work-us", type=float, default=0.0)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--folder", default=os.getcwd(), help="on the disk to be measured")
    chosen = parser.parse_args()
    sys.exit(task.react(lambda _: Deferred.fromCoroutine(main(chosen))))
