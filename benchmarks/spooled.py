"""The policy ``spooled`` beside ``accepted``, through the whole gateway. ``make bench-spooled``.

    python benchmarks/spooled.py [--rounds 5] [--folder .] [--million] [--json]

Two gateways run on one CPU, the load on another one. Rounds of both, and of a bare loop of group commits on the same CPU
and disk (``bare_commits.py``), take turns. Kafka is librdkafka's mock cluster in the gateways' processes. ``--million``
fills a spool with a million records, starts a gateway on it, and waits until Kafka has them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from attrs import asdict, frozen
from bare_commits import written_bytes
from frames import SIGNALS, VIN, write_frames
from loads import go, start_load
from servers import HERE, SERVER_CPU, Server, on_cpu, start_gateway_with
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

from fleetgw.adapters.codec import RecordCodec
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.adapters.process.reactor import run_on_monotonic_time
from fleetgw.adapters.spool.folder import Folder
from fleetgw.adapters.spool.limits import SpoolLimits
from fleetgw.adapters.spool.record_format import RecordEncoder
from fleetgw.adapters.spool.spool import Spool
from fleetgw.domain.records import Envelope, MessageType, PeerIdentity, Record, Vehicle
from fleetgw.simulator.certificate_folder import CertificateFolder
from fleetgw.simulator.payloads import DriveReporter

SHAPES = {"W1": 24_000, "W16": 48_000}
"""The measured shapes of load, with their records in a round."""

VEHICLES = 64

KAFKA = {"bootstrap.servers": "localhost:1", "test.mock.num.brokers": "1"}
SETTLE_S = 0.3
"""Pause in which the gateway ends its work for the records before: its CPU is read on both sides of a run."""

MILLION = 1_000_000


@frozen
class Round:
    """One round of one server."""

    records_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    written: float


def stored_record() -> Record:
    """A record as the load sends them."""
    payload = DriveReporter(VIN, 1).payload("V", 1_790_000_000_000_000_000)
    envelope = Envelope(MessageType.STREAM.value, True, b"x" * 36, b"V", f"vehicle_device.{VIN}".encode(), payload)
    vehicle = Vehicle(PeerIdentity("vehicle_device", VIN), VIN, "x" * 36)
    return RecordCodec(transmit_decoded_records=False).read_record("V", envelope, vehicle, 1_790_000_000_000)


def round_of(server: Server, folder: Path, shape: str, stored_bytes: int) -> Round:
    with start_load(server, folder, shape, "--number", str(SHAPES[shape]), "--vehicles", str(VEHICLES)) as load:
        time.sleep(SETTLE_S)
        cpu_us, written = server.cpu_us(), written_bytes(server.process.pid)
        figures = go(load)
        time.sleep(SETTLE_S)
        done = figures["done"]
        return Round(
            figures["records_s"],
            (server.cpu_us() - cpu_us) / done,
            figures["p50_ms"],
            figures["p99_ms"],
            (written_bytes(server.process.pid) - written) / (done * stored_bytes),
        )


def bare_round(disk: Path, stored_bytes: int) -> Round:
    folder = tempfile.mkdtemp(dir=disk)
    try:
        command = [sys.executable, HERE / "bare_commits.py", folder, str(stored_bytes), "--vehicles", str(VEHICLES)]
        with on_cpu(SERVER_CPU, command) as process:
            assert process.stdout is not None
            return Round(**json.loads(process.stdout.readline()))
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, disk: Path, rounds: int) -> dict[str, dict[str, list[Round]]]:
    """By shape and server: one figure for each round."""
    stored_bytes = len(RecordEncoder(json_payloads=False).encode(1, stored_record()))
    spool = {"path": str(disk / "spool")}
    servers = [
        start_gateway_with(folder, "accepted", "kafka", KAFKA, reliable=False),
        start_gateway_with(
            folder,
            "spooled",
            "kafka",
            KAFKA,
            reliable=False,
            ack_policies={"V": "spooled"},
            reliable_ack_sources={},
            spool=spool,
        ),
    ]
    results: dict[str, dict[str, list[Round]]] = {shape: {"accepted": [], "spooled": [], "bare": []} for shape in SHAPES}
    try:
        for server in servers:
            round_of(server, folder, "W16", stored_bytes)  # imports, and the first file
        for shape, of_shape in results.items():
            for number in range(rounds):
                print(f"{shape}, round {number + 1}", file=sys.stderr, flush=True)
                for server in servers:
                    of_shape[server.name].append(round_of(server, folder, shape, stored_bytes))
                of_shape["bare"].append(bare_round(disk, stored_bytes))
    finally:
        for server in servers:
            server.stop()
    return results


def show(results: dict[str, dict[str, list[Round]]]) -> None:
    """Medians of the rounds, and how the policies and the bare loop relate."""
    print(f"{'':14}{'records/s':>10}{'CPU us':>8}{'p50 ms':>8}{'p99 ms':>8}{'written':>9}")
    for shape, of_shape in results.items():
        median = {
            name: {each: statistics.median([getattr(figures, each) for figures in rounds]) for each in Round.__annotations__}
            for name, rounds in of_shape.items()
        }
        for name, figures in median.items():
            print(
                f"{shape:4} {name:9}{figures['records_s']:10.0f}{figures['cpu_us']:8.1f}{figures['p50_ms']:8.2f}"
                f"{figures['p99_ms']:8.2f}{figures['written']:9.2f}"
            )
        accepted, spooled, bare = (median[name] for name in ("accepted", "spooled", "bare"))
        above_us = spooled["cpu_us"] - accepted["cpu_us"]
        print(
            f"{shape:4} spooled has {spooled['records_s'] / accepted['records_s']:.2f} of the throughput of accepted,"
            f" {spooled['records_s'] / bare['records_s']:.2f} of the bare loop's;"
            f" {above_us:.1f} us of CPU above accepted, {above_us / bare['cpu_us']:.2f} of the bare loop's"
        )
    print(f"{VEHICLES} vehicles. Records have {SIGNALS} signals. written: bytes sent to the disk, in bytes stored.")


async def fill(path: str) -> None:
    """Store a million records for Kafka."""
    spool = Spool(Folder(path), SpoolLimits(max_bytes=8 * 1024**3), reactor, NullMetrics(), NullLog(), wall_s=time.time)
    await spool.start({"kafka": ("V",)})
    batch = [stored_record()] * 640
    for _ in range(MILLION // len(batch) + 1):
        assert await spool.append(batch).synced is None
    await spool.stop()


def replay(folder: Path, disk: Path) -> None:
    """Start a gateway on a spool with a million records, and wait until Kafka has them."""
    starts_s = []
    for name in ("empty", "spool"):
        spool = {"path": str(disk / name), "max_mib": 8192}
        began_s = time.monotonic()
        server = start_gateway_with(
            folder, name, "kafka", KAFKA, reliable=False, ack_policies={"V": "spooled"}, reliable_ack_sources={}, spool=spool
        )
        starts_s.append(time.monotonic() - began_s)
        if name == "empty":
            server.stop()
    port = json.loads((folder / "spool.json").read_text())["monitoring"]["prometheus_metrics_port"]
    cpu_us, began_s, resident_kib = server.cpu_us(), time.monotonic(), [server.resident_kib()]
    try:
        while (produced := metric(port, "kafka_produce_ack_total")) < MILLION:
            resident_kib.append(server.resident_kib())
            time.sleep(0.5)
        seconds, cpu_us = time.monotonic() - began_s, server.cpu_us() - cpu_us
    finally:
        server.stop()
    print(f"the gateway takes vehicles after {starts_s[1]:.2f} s; after {starts_s[0]:.2f} s with an empty spool")
    print(f"{produced / seconds:.0f} records/s to Kafka, {cpu_us / produced:.1f} us of CPU each")
    print(f"resident: {resident_kib[0] / 1024:.0f} MiB at the start, {max(resident_kib) / 1024:.0f} MiB at most")


def metric(port: int, name: str) -> float:
    """The sum of a metric's series."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and line[len(name)] in "{ ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to be measured (default: here)")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON: every round")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory(dir=arguments.folder) as disk_name:
        folder, disk = Path(name), Path(disk_name)
        CertificateFolder(folder / "certs").ensure_all(vehicles=1)
        write_frames(folder / "frames.json")
        if arguments.million:
            run_on_monotonic_time(reactor)
            task.react(
                lambda _: Deferred.fromCoroutine(fill(str(disk / "spool"))).addCallback(lambda _: replay(folder, disk))
            )
        results = measure(folder, disk, arguments.rounds)
    if arguments.json:
        print(json.dumps(results, default=asdict, indent=1))
    else:
        show(results)


if __name__ == "__main__":
    main()
