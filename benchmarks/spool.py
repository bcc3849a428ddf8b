"""The spool: records a second with many vehicles, against a bare group-commit loop on apsw; start and memory of a full one.

    python benchmarks/spool.py [--vehicles 64] [--seconds 4] [--rounds 3] [--work-us 0] [--million]

Both append records of the same size, one for each vehicle, which sends its next one after the sync of the last. The bare
loop (``bare_commits.py``) inserts a row for each record; it encodes and checks nothing. CPU is that of the process; written
bytes are those that the kernel sent to the disk. ``--work-us`` keeps the reactor busy for so long with each record, as a
gateway's is: a thread then waits for the interpreter's lock. ``spooled.py`` measures the whole gateway.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import shutil
import sys
import tempfile
import time

from bare_commits import Figures, Measurement, run_bare, work
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


def show(name: str, figures: Figures) -> float:
    print(
        f"{name:8} {figures.records_s:9.0f} records/s  {figures.cpu_us:6.2f} us CPU/record"
        f"  p50 {figures.p50_ms:6.2f} ms  p99 {figures.p99_ms:6.2f} ms  written {figures.written:4.2f} x what is stored",
        flush=True,
    )
    return figures.records_s


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
    figures = measurement.figures(len(RecordEncoder(json_payloads=False).encode(1, records[0])))
    await spool.stop()
    return show("spool", figures)


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
            body = bytes(len(RecordEncoder(json_payloads=False).encode(1, records[0])))
            bare = show("bare", await run_bare(bare_folder, body, len(records), arguments.seconds, arguments.work_us))
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
