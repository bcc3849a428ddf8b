"""Answers of a gateway with many idle vehicles, and how long others wait for them. ``make bench-idle``.

The gateway runs on one CPU; the idle vehicles, twenty that send records, and the client of the status port share another.
Ends with status 1 when an answer takes longer than the bound, or an acknowledgement is delayed by more.
"""

import argparse
import http.client
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Thread

from adversary import percentile_ms, unacked
from attrs import define, field, frozen
from honest import Fleet, Sent
from rich import box
from rich.console import Console
from rich.table import Table
from servers import HERE, LOAD_CPU, SERVER_CPU, Server, bind, on_cpu, start_gateway_with

from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.free_ports import free_ports

HONEST = 20
RECORDS_PER_S = 100
LAST_ACKS_S = 5.0
WARM_UP_S = 2.0
PAUSE_S = 0.05
"""Between two requests."""

TIMEOUT_S = 30.0
SWITCH_S = 0.0005
"""The client and the vehicles take turns so often, as they share one process."""

PATHS = (
    "/",
    "/live",
    "/ready",
    "/health",
    "/health?verbose",
    "/metrics",
    "/api/overview",
    "/api/vehicles",
    "/api/vehicles?limit=1000",
    "/api/vehicles?search=5yj&limit=1000",
    "/api/vehicles/{vin}",
    "/api/signals",
    "/api/refusals",
)
STREAMS = (*["/api/overview/stream"] * 4, "/api/vehicles/{vin}/stream", "/api/tap?vin={vin}")
"""Streams that pages and commands follow meanwhile."""

LAG = re.compile(r'^reactor_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


@frozen
class Reply:
    """One answer: bytes, and milliseconds from the request to its last byte."""

    size_bytes: int
    took_ms: float


@define
class Client:
    """Asks for every path in turn.

    :ivar port: the status port.
    :ivar metrics_port: the port of ``/metrics``.
    :ivar vin: of the vehicle in paths.
    :ivar replies: by path.
    :ivar refused: the first answer that was not 200.
    """

    port: int
    metrics_port: int
    token: str
    vin: str
    replies: dict[str, list[Reply]] = field(factory=dict)
    refused: str = ""

    def run(self, until: float) -> None:
        while time.monotonic() < until:
            for path in PATHS:
                self.ask(path)
                time.sleep(PAUSE_S)  # as a browser or a scraper that asks again

    def ask(self, path: str) -> str:
        """The body of an answer."""
        began = time.monotonic()
        with closing(self.request(path)) as connection, connection.getresponse() as response:
            body = response.read()
        if response.status != http.client.OK and not self.refused:
            self.refused = f"{path}: {response.status} {body[:200]!r}"
        self.replies.setdefault(path, []).append(Reply(len(body), (time.monotonic() - began) * 1000))
        return body.decode()

    def request(self, path: str) -> http.client.HTTPConnection:
        """A connection on which the answer comes."""
        port = self.metrics_port if path == "/metrics" else self.port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        connection.request("GET", path.replace("{vin}", self.vin), headers={"Authorization": f"Bearer {self.token}"})
        return connection

    def lag(self) -> Mapping[float, int]:
        """The gateway's own histogram: the number of turns of its reactor that were at most so many seconds late."""
        return {float(bound): int(float(count)) for bound, count in LAG.findall(self.ask("/metrics"))}


@frozen
class Phase:
    """The records of a time, and by how much the reactor was late at most, by its histogram."""

    name: str
    sent: Sequence[Sent]
    latest_s: float


@contextmanager
def idle_vehicles(server: Server, folder: Path, number: int) -> Iterator[None]:
    """Connect a number of vehicles that send no records; they disconnect at the end of ``with``."""
    vehicles = on_cpu(LOAD_CPU, [sys.executable, HERE / "idle_vehicles.py", str(server.port), folder, str(number)])
    assert vehicles.stdout is not None
    try:
        if "READY" not in vehicles.stdout.readline():
            raise SystemExit("the idle vehicles could not connect")
        yield
        if vehicles.poll() is not None:
            raise SystemExit("the idle vehicles have ended")
    finally:
        vehicles.kill()
        vehicles.wait()


def latest_s(before: Mapping[float, int], after: Mapping[float, int]) -> float:
    """The bucket of the largest lag between two looks at the histogram; 0 where there was none."""
    grown = {bound: after[bound] - before.get(bound, 0) for bound in after}
    total = max(grown.values(), default=0)
    return min((bound for bound, count in grown.items() if count == total), default=0.0) if total else 0.0


def measure(folder: Path, number: int, seconds: float) -> tuple[Sequence[Phase], Client, int]:
    certificates = CertificateFolder(folder / "certs")
    certificates.ensure_all()
    certificates.ensure_vehicles(HONEST)
    (status_port, metrics_port), token = free_ports(2), secrets.token_hex(16)
    server = start_gateway_with(
        folder,
        "idle",
        "memory",
        {"capacity": 1000},
        reliable=True,
        status_port=status_port,
        monitoring={"prometheus_metrics_port": metrics_port},
        operations={"token": token},
    )
    vehicles = certificates.vehicle_files()[:HONEST]
    client = Client(status_port, metrics_port, token, vehicles[0].stem)
    try:
        with idle_vehicles(server, folder, number):
            print("connected", file=sys.stderr, flush=True)
            fleet = Fleet(server.port, certificates.authority_file, vehicles)
            fleet.connect()
            fleet.warm_up(WARM_UP_S, RECORDS_PER_S)
            phases = [
                _phase(name, fleet, client, seconds, asks=asks)
                for name, asks in (("no requests", False), ("requests", True))
            ]
            return phases, client, server.resident_kib()
    finally:
        server.stop()


def _phase(name: str, fleet: Fleet, client: Client, seconds: float, *, asks: bool) -> Phase:
    before, first, until = client.lag(), len(fleet.sent), time.monotonic() + seconds
    client.replies.clear()
    with ExitStack() as followed:
        asking = Thread(target=client.run, args=(until,))
        if asks:
            for path in STREAMS:
                followed.enter_context(closing(client.request(path)))
            asking.start()
        fleet.run(until, RECORDS_PER_S, lambda: None)
        fleet.wait(time.monotonic() + LAST_ACKS_S)
        if asks:
            asking.join()
    return Phase(name, fleet.sent[first:], latest_s(before, client.lag()))


def show(phases: Sequence[Phase], client: Client, number: int, resident_kib: int, console: Console) -> None:
    table = Table(title=f"Answers beside {number:,} idle vehicles", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("path", "answers", "KiB", "p50 ms", "max ms"):
        table.add_column(name, justify="left" if name == "path" else "right")
    for path in PATHS:
        replies = client.replies[path]
        took = [each.took_ms for each in replies]
        size = f"{replies[-1].size_bytes / 1024:.1f}"
        table.add_row(path, str(len(replies)), size, f"{statistics.median(took):.1f}", f"{max(took):.1f}")
    console.print(table)
    table = Table(title=f"Acknowledgements of {HONEST} vehicles meanwhile", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", "records", "unacked", "p50 ms", "p99 ms", "max ms", "reactor late, at most ms"):
        table.add_column(name, justify="right" if name else "left")
    for phase in phases:
        latencies = [f"{percentile_ms(phase.sent, share):.1f}" for share in (0.5, 0.99, 1)]
        table.add_row(phase.name, str(len(phase.sent)), str(unacked(phase.sent)), *latencies, f"{phase.latest_s * 1000:g}")
    console.print(table)
    console.print(f"  resident: {resident_kib / 1024:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers of the status port beside idle vehicles.")
    parser.add_argument("--number", type=int, default=10_000, help="idle vehicles (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of each phase (default %(default)s)")
    parser.add_argument("--bound-ms", type=float, default=100, help="for each answer (default %(default)s)")
    arguments = parser.parse_args()
    bind(LOAD_CPU if LOAD_CPU != SERVER_CPU else 0)
    sys.setswitchinterval(SWITCH_S)
    with tempfile.TemporaryDirectory() as folder:
        phases, client, resident_kib = measure(Path(folder), arguments.number, arguments.seconds)
    console = Console(highlight=False, width=140)
    show(phases, client, arguments.number, resident_kib, console)
    if client.refused:
        console.print(f"  not answered: {client.refused}")
    longest_ms = max(each.took_ms for replies in client.replies.values() for each in replies)
    held_up_ms = max(percentile_ms(phase.sent, 1) for phase in phases)
    kept = max(longest_ms, held_up_ms) < arguments.bound_ms and not client.refused
    console.print(
        f"  longest answer {longest_ms:.1f} ms, longest wait for an acknowledgement {held_up_ms:.1f} ms "
        f"(bound {arguments.bound_ms:g}): {'kept' if kept else 'MISSED'}"
    )
    sys.exit(not kept)


if __name__ == "__main__":
    main()
