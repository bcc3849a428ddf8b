"""CPU per record and per handshake, memory per idle vehicle: of the gateway, and of a floor. ``make bench``.

The servers run on one CPU and the load on another. In each round every server has its turn, and the order is reversed from
round to round: a slow minute of the machine slows all of them. Ratios are medians of the rounds' ratios.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import field, frozen
from frames import SIGNALS, write_frames
from loads import go, start_load
from rich import box
from rich.console import Console
from rich.table import Table
from servers import Server, start_floor, start_gateway
from shapes import SHAPES

from fleetgw.adapters.speedups import DESCRIPTION, SPEEDUPS
from fleetgw.simulator.certificate_folder import CertificateFolder

HANDSHAKES = 150
IDLE_VEHICLES = 500
SETTLE_S = 0.1
"""Pause in which a server ends its work for the records before: its CPU is read after it."""

IDLE_SETTLE_S = 1.0
"""Pause in which a server has placed all connections: its memory is read after it."""

FLOOR, EXTENSION, PYTHON, OTHER, RELIABLE = "floor", "extension", "python", "other", "reliable"
"""The measured servers."""

Figures = dict[str, list[float]]
"""By server: one figure for each round."""


@frozen
class Measurement:
    """One measurement.

    :ivar about: in words.
    :ivar load: of ``load.py``.
    :ivar options: of the load.
    :ivar limits: of the gateway's configuration; another checkout may not know them, and runs without.
    """

    about: str
    load: str
    options: tuple[str, ...] = ()
    limits: Mapping[str, object] = field(factory=dict)

    @property
    def unit(self) -> str:
        return "KiB" if self.load == "idle" else "us"


MEASUREMENTS = {  # idle vehicles first: later on they would find memory that the load had left
    "idle": Measurement(f"{IDLE_VEHICLES} vehicles that say nothing", "idle", ("--number", str(IDLE_VEHICLES))),
    **{name: Measurement(shape.about, name) for name, shape in SHAPES.items()},
    "paced, 1 ms": Measurement(
        "as paced, with limits.read_interval_ms 1 (not in another checkout)", "paced", limits={"read_interval_ms": 1}
    ),
    "handshake": Measurement(
        "TCP, mutual TLS, upgrade, close; each vehicle with a certificate of its own, none comes twice",
        "handshake",
        ("--number", str(HANDSHAKES)),
    ),
    "reconnect": Measurement("as handshake, the same vehicles in each round", "reconnect", ("--number", str(HANDSHAKES))),
}


@frozen
class Servers:
    """Starts the servers that a measurement needs; those with equal limits run once.

    :ivar names: of the servers.
    :ivar checkout: of the server ``other``.
    """

    folder: Path
    names: list[str]
    checkout: Path | None
    _running: dict[str, list[Server]] = field(factory=dict)

    def of(self, measurement: Measurement) -> list[Server]:
        key = json.dumps(measurement.limits)
        if key not in self._running:
            self._running[key] = []
            for name in self.names:
                self._running[key].append(self._start(name, measurement.limits))
        return self._running[key]

    def _start(self, name: str, limits: Mapping[str, object]) -> Server:
        folder = self.folder
        match name:
            case "floor":
                return start_floor(folder)
            case "python":
                return start_gateway(folder, name, environ={"FLEETGW_SPEEDUPS": "0"}, limits=limits)
            case "other":
                return start_gateway(folder, name, checkout=self.checkout)
            case _:
                return start_gateway(folder, name, reliable=name == RELIABLE, limits=limits)

    def stop(self) -> None:
        for servers in self._running.values():
            for server in servers:
                server.stop()


def measure(measurement: Measurement, servers: list[Server], folder: Path, rounds: int) -> Figures:
    if measurement.load == "idle":
        return {server.name: [_idle_kib(server, folder, measurement)] for server in servers}
    figures: Figures = {server.name: [] for server in servers}
    with ExitStack() as stack:
        pairs = [
            (server, stack.enter_context(start_load(server, folder, measurement.load, *measurement.options)))
            for server in servers
        ]
        time.sleep(SETTLE_S)
        for number in range(rounds):
            for server, load in pairs if number % 2 == 0 else reversed(pairs):
                figures[server.name].append(_cpu_us_each(server, load))
    return figures


def _cpu_us_each(server: Server, load: subprocess.Popen[str]) -> float:
    """CPU until all is acknowledged and the sink has finished, divided by the number of operations."""
    before = server.cpu_us()
    done = go(load)["done"]
    time.sleep(SETTLE_S)
    return (server.cpu_us() - before) / done


def _idle_kib(server: Server, folder: Path, measurement: Measurement) -> float:
    before = server.resident_kib()
    with start_load(server, folder, measurement.load, *measurement.options) as load:
        time.sleep(IDLE_SETTLE_S)
        grown = server.resident_kib() - before
        return grown / go(load)["done"]


@contextmanager
def prepared_folder() -> Iterator[tuple[Path, int]]:
    """A folder with certificates and frames; and the bytes of one record's envelope."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        CertificateFolder(folder / "certs").ensure_all(vehicles=1)
        yield folder, write_frames(folder / "frames.json")


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU and memory of the gateway, next to a floor.")
    parser.add_argument("what", nargs="*", choices=[*MEASUREMENTS, []], help="default: everything")
    parser.add_argument("--rounds", type=int, default=9, help="(default %(default)s)")
    parser.add_argument("--other", type=Path, help="another checkout with a .venv, to compare with")
    parser.add_argument("--reliable", action="store_true", help="also a gateway that acknowledges what Kafka has confirmed")
    parser.add_argument("--json", action="store_true", help="print JSON: every round of everything")
    arguments = parser.parse_args()
    names = [FLOOR, *([EXTENSION] if SPEEDUPS is not None else []), PYTHON]
    names += [OTHER] * (arguments.other is not None) + [RELIABLE] * arguments.reliable
    results: dict[str, Figures] = {}
    with prepared_folder() as (folder, size_bytes):
        servers = Servers(folder, names, arguments.other)
        try:
            for name in arguments.what or MEASUREMENTS:
                print(name, file=sys.stderr, flush=True)
                running = servers.of(MEASUREMENTS[name])
                results[name] = measure(MEASUREMENTS[name], running, folder, arguments.rounds)
        finally:
            servers.stop()
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        show(results, names, size_bytes)


def show(results: dict[str, Figures], names: list[str], size_bytes: int) -> None:
    """A table: the median of the rounds of each server, its ratio to the floor, and ratios of gateways to each other."""
    compared = [(one, another) for one in names for another in (PYTHON, OTHER) if _are_compared(names, one, another)]
    table = Table(title="Cost of a record, a handshake and an idle vehicle", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("unit")
    table.add_column(FLOOR, justify="right")
    for name in names[1:]:
        table.add_column(name, justify="right")
        table.add_column("x", justify="right")
    for one, another in compared:
        table.add_column(f"{one} / {another}", justify="right")
    for measured, figures in results.items():
        row = [measured, MEASUREMENTS[measured].unit, f"{statistics.median(figures[FLOOR]):.1f}"]
        for name in names[1:]:
            row += [f"{statistics.median(figures[name]):.1f}", ratio(figures[name], figures[FLOOR], 1)]
        table.add_row(*row, *(ratio(figures[one], figures[another], 2) for one, another in compared))
    console = Console(highlight=False, width=150)
    console.print(table)
    for measured in results:
        console.print(f"  {measured:12} {MEASUREMENTS[measured].about}")
    console.print(
        f"""
us: microseconds of CPU, all threads of the server together. KiB: resident memory. x: times the floor.
Figures are medians of {len(next(iter(results.values()))[FLOOR])} rounds; ratios are medians of the rounds' ratios.
Records have {SIGNALS} signals; an envelope has {size_bytes} bytes. Here {DESCRIPTION}.
extension, python: the whole pipeline with confluent-kafka, with the C extension and with FLEETGW_SPEEDUPS=0;
librdkafka's mock cluster runs in the same process and is in the figure.
floor: Python's ssl and epoll; it decrypts, counts the frames and acknowledges them, and knows nothing of records."""
    )


def _are_compared(names: list[str], one: str, another: str) -> bool:
    return one != another and another in names and one in (EXTENSION, PYTHON)


def ratio(figures: list[float], base: list[float], digits: int) -> str:
    """Median of the ratios of both servers' rounds."""
    return (
        f"{statistics.median(one / other for one, other in zip(figures, base, strict=True)):.{digits}f}" if all(base) else ""
    )


if __name__ == "__main__":
    main()
