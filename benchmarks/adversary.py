"""Acknowledgement latency of twenty honest vehicles during the attacks of a hostile one. ``make adversary``.

The gateway runs on one CPU; brokers, the honest vehicles and the hostile one share another. Ends with status 1 when a bound
is missed: the 99th percentile of the honest vehicles' acknowledgements, a session cut, an acknowledgement that never came.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attacks import ATTACKS
from attrs import frozen
from brokers import Broker, missing, section
from honest import Fleet, Sent
from rich import box
from rich.console import Console
from rich.table import Table
from servers import HERE, LOAD_CPU, SERVER_CPU, Server, bind, on_cpu, start_gateway_with

from fleetgw.simulator.certificate_folder import CertificateFolder

SINKS = ("kafka", "mqtt", "sqlite")
TYPES = ("V", "alerts", "errors")
HONEST = 20
RECORDS_PER_S = 5
CONNECTIONS = (1, 50)
LAST_ACKS_S = 5.0
WARM_UP_S = 1.0


@frozen
class Phase:
    """A phase with one attack.

    :ivar sent: the honest vehicles' records of that time.
    :ivar cpu_us: the gateway's.
    :ivar hostile: the report of the hostile vehicle.
    """

    name: str
    seconds: float
    sent: Sequence[Sent]
    cpu_us: float
    rss_kib: int
    hostile: dict[str, int]


@frozen
class Run:
    """One sink's figures; the first phase is without the hostile vehicle."""

    phases: Sequence[Phase]
    cut: int
    peak_kib: int
    log_bytes: int

    @property
    def attacked(self) -> list[Sent]:
        return [each for phase in self.phases[1:] for each in phase.sent]


def percentile_ms(sent: Sequence[Sent], share: float) -> float:
    """A quantile of the latencies; that of a record without an acknowledgement is infinite."""
    took = sorted(float("inf") if each.took_s is None else each.took_s for each in sent)
    return took[min(len(took) - 1, int(share * len(took)))] * 1000 if took else 0.0


def unacked(sent: Sequence[Sent]) -> int:
    return sum(each.took_s is None for each in sent)


def attack(sink: str, names: Sequence[str], seconds: float, bits_per_s: float, config: dict[str, object]) -> Run:
    """Run one gateway against every attack in turn, each over one connection and over many."""
    with tempfile.TemporaryDirectory() as name, Broker(sink) as broker:
        folder = Path(name)
        certificates = CertificateFolder(folder / "certs")
        certificates.ensure_all()
        certificates.ensure_vehicles(HONEST + 1)
        hostile_certificate, *honest_certificates = certificates.vehicle_files()
        own = {"path": str(folder / "records.sqlite3")} if sink == "sqlite" else section(sink, broker.port)
        routes: dict[str, object] = {
            "records": {each: [sink] for each in TYPES},
            "reliable_ack_sources": dict.fromkeys(TYPES, sink),
        }
        server = start_gateway_with(folder, sink, sink, own, reliable=True, **routes | config)
        try:
            fleet = Fleet(server.port, certificates.authority_file, honest_certificates)
            fleet.connect()
            schedule = [(each, connections) for each in names for connections in CONNECTIONS]
            phase_s = seconds / len(schedule)
            hostile = _start_hostile(server, certificates, hostile_certificate, schedule, phase_s, bits_per_s)
            phases = _phases(server, fleet, hostile, [f"{each} x {number}" for each, number in schedule], phase_s)
            log_bytes = (folder / f"{sink}.log").stat().st_size
            return Run(phases, fleet.cut, _peak_kib(server), log_bytes)
        finally:
            server.stop()


def _start_hostile(
    server: Server,
    certificates: CertificateFolder,
    certificate: Path,
    schedule: Sequence[tuple[str, int]],
    phase_s: float,
    bits_per_s: float,
) -> subprocess.Popen[str]:
    command: list[str | Path] = [
        sys.executable,
        HERE / "hostile.py",
        str(server.port),
        certificates.authority_file,
        certificate,
    ]
    command += ["--bits-per-s", str(bits_per_s), "--phase-s", str(phase_s)]
    command += ["--phases", ",".join(f"{name}:{connections}" for name, connections in schedule)]
    process = on_cpu(LOAD_CPU, command)
    assert process.stdout is not None
    if "READY" not in process.stdout.readline():
        raise SystemExit("the hostile vehicle did not start")
    return process


def _phases(
    server: Server, fleet: Fleet, hostile: subprocess.Popen[str], names: Sequence[str], phase_s: float
) -> list[Phase]:
    fleet.warm_up(WARM_UP_S, HONEST * RECORDS_PER_S)
    figures: list[tuple[str, int, int, float, int]] = []
    begin = time.monotonic()
    for number, name in enumerate(("no attack", *names)):
        if number == 1:
            assert hostile.stdin is not None
            hostile.stdin.write("go\n")
            hostile.stdin.flush()
        first, cpu_us, peak = len(fleet.sent), server.cpu_us(), [0]

        def look(peak: list[int] = peak) -> None:
            peak[0] = max(peak[0], server.resident_kib())

        fleet.run(begin + (number + 1) * phase_s, HONEST * RECORDS_PER_S, look)
        figures.append((name, first, len(fleet.sent), server.cpu_us() - cpu_us, peak[0]))
    fleet.wait(time.monotonic() + LAST_ACKS_S)
    assert hostile.stdout is not None
    did = [{"sent_bytes": 0, "cut": 0}, *(json.loads(hostile.stdout.readline()) for _ in names)]
    hostile.kill()
    hostile.wait()
    return [
        Phase(name, phase_s, fleet.sent[first:end], cpu_us, rss_kib, each)
        for (name, first, end, cpu_us, rss_kib), each in zip(figures, did, strict=True)
    ]


def _peak_kib(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def show(sink: str, run: Run, console: Console) -> None:
    table = Table(title=f"{sink}: honest vehicles beside a hostile one", title_justify="left", box=box.SIMPLE_HEAD)
    columns = ("", "p50 ms", "p99 ms", "max ms", "acks/s", "unacked", "hostile Mbit/s", "hostile cut", "CPU %", "RSS MiB")
    for name in columns:
        table.add_column(name, justify="right" if name else "left")
    for phase in run.phases:
        latencies = [f"{percentile_ms(phase.sent, share):.1f}" for share in (0.5, 0.99, 1)]
        missed = unacked(phase.sent)
        table.add_row(
            phase.name,
            *latencies,
            f"{(len(phase.sent) - missed) / phase.seconds:.0f}",
            f"{missed}",
            f"{phase.hostile['sent_bytes'] * 8 / phase.seconds / 1e6:.1f}",
            f"{phase.hostile['cut']}",
            f"{phase.cpu_us / phase.seconds / 1e4:.0f}",
            f"{phase.rss_kib / 1024:.0f}",
        )
    console.print(table)


def verdict(sink: str, run: Run, p99_ms: float, rss_mib: float, console: Console) -> bool:
    """Print which bounds were kept; whether all were."""
    sent = run.attacked
    taken_ms, missed, peak_mib = percentile_ms(sent, 0.99), unacked(sent), run.peak_kib / 1024
    kept = taken_ms < p99_ms and not missed and not run.cut and (not rss_mib or peak_mib < rss_mib)
    console.print(
        f"  {sink}, attacked: p50 {percentile_ms(sent, 0.5):.1f} ms, p99 {taken_ms:.1f} ms (bound {p99_ms:g}), "
        f"max {percentile_ms(sent, 1):.1f} ms; {missed} of {len(sent)} unacknowledged; {run.cut} sessions cut; "
        f"RSS at most {peak_mib:.0f} MiB; log {run.log_bytes / 1e6:.1f} MB: {'kept' if kept else 'MISSED'}\n"
    )
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description="Honest vehicles' latency beside a hostile one.")
    parser.add_argument("sinks", nargs="*", choices=[*SINKS, []], help="default: all")
    parser.add_argument("--attacks", nargs="+", choices=[*ATTACKS], default=[*ATTACKS], help="default: all")
    parser.add_argument("--seconds", type=float, default=60, help="for each sink (default %(default)s)")
    parser.add_argument("--mbit-per-s", type=float, default=30, help="of the hostile vehicle (default %(default)s)")
    parser.add_argument("--p99-ms", type=float, default=100, help="the honest vehicles' bound (default %(default)s)")
    parser.add_argument("--rss-mib", type=float, default=0, help="the gateway's bound; 0: none")
    parser.add_argument("--config", type=json.loads, default={}, help="further keys of the configuration, as JSON")
    arguments = parser.parse_args()
    bind(LOAD_CPU if LOAD_CPU != SERVER_CPU else 0)
    console = Console(highlight=False, width=140)
    all_kept = True
    for sink in arguments.sinks or SINKS:
        lacks = missing(sink)
        if lacks is not None:
            print(f"{sink} is left out: {lacks}", file=sys.stderr)
            continue
        run = attack(sink, arguments.attacks, arguments.seconds, arguments.mbit_per_s * 1e6, arguments.config)
        show(sink, run, console)
        all_kept &= verdict(sink, run, arguments.p99_ms, arguments.rss_mib, console)
    sys.exit(not all_kept)


if __name__ == "__main__":
    main()
