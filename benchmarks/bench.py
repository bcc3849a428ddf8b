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

from fleetgw.adapters.ingress.hot_path import DESCRIPTION
from fleetgw.adapters.speedups import SPEEDUPS
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
    :ivar limits: of the gateway's configuration; another checkout, which may not know them, runs without.
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
    """Starts the servers that a measurement needs; each runs once for equal limits.

    :ivar checkout: of the server ``other``.
    """

    folder: Path
    checkout: Path | None
    _running: dict[tuple[str, str], Server] = field(factory=dict)

    def of(self, name: str, measurement: Measurement) -> Server:
        limits = {} if name in (FLOOR, OTHER) else measurement.limits
        key = name, json.dumps(limits)
        if key not in self._running:
            self._running[key] = self._start(name, limits)
        return self._running[key]

    def _start(self, name: str, limits: Mapping[str, object]) -> Server:
        if name == FLOOR:
            return start_floor(self.folder)
        if name == OTHER:
            return start_gateway(self.folder, name, checkout=self.checkout)
        environ = {"FLEETGW_SPEEDUPS": "0"} if name == PYTHON else {}
        own_name = f"{name}-{len(self._running)}"  # its files have it
        return start_gateway(self.folder, own_name, reliable=name == RELIABLE, environ=environ, limits=limits)

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()


def measure(measurement: Measurement, servers: Mapping[str, Server], folder: Path, rounds: int) -> Figures:
    if measurement.load == "idle":
        return {name: [_idle_kib(server, folder, measurement)] for name, server in servers.items()}
    figures: Figures = {name: [] for name in servers}
    with ExitStack() as stack:
        loads = {
            name: stack.enter_context(start_load(server, folder, measurement.load, *measurement.options))
            for name, server in servers.items()
        }
        time.sleep(SETTLE_S)  # the connections just made are not counted
        for number in range(rounds):
            for name in loads if number % 2 == 0 else reversed(loads):
                figures[name].append(_cpu_us_each(servers[name], loads[name]))
    return figures


def _cpu_us_each(server: Server, load: subprocess.Popen[str]) -> float:
    """CPU until all is acknowledged and the sink has finished, divided by the number of operations."""
    before = server.cpu_us()
    done = go(load)["done"]
    time.sleep(SETTLE_S)  # the work for the last records is counted
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
    if SPEEDUPS is None:
        print(f"no column for the extension: {DESCRIPTION}", file=sys.stderr)
    names += [OTHER] * (arguments.other is not None) + [RELIABLE] * arguments.reliable
    results: dict[str, Figures] = {}
    with prepared_folder() as (folder, size_bytes):
        servers = Servers(folder, arguments.other)
        try:
            for name in arguments.what or MEASUREMENTS:
                print(name, file=sys.stderr, flush=True)
                measurement = MEASUREMENTS[name]
                measured = {each: servers.of(each, measurement) for each in names}
                results[name] = measure(measurement, measured, folder, arguments.rounds)
        finally:
            servers.stop()
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        show(results, names, arguments.rounds, size_bytes)


def show(results: dict[str, Figures], names: list[str], rounds: int, size_bytes: int) -> None:
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
Figures are medians of {rounds} rounds, of one for idle vehicles; ratios are medians of the rounds' ratios.
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
