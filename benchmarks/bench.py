"""CPU per record and per handshake, memory per idle vehicle: of the gateway, and of a floor. ``make bench``.

The servers run on one CPU and the load on another. Rounds of all servers take turns, so that what slows the machine down
for a while slows all of them.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen
from frames import SIGNALS, write_frames
from loads import go, start_load
from rich import box
from rich.console import Console
from rich.table import Table
from servers import Server, start_floor, start_gateway
from shapes import SHAPES

from fleetgw.simulator.certificate_folder import CertificateFolder

HANDSHAKES = 300
IDLE_VEHICLES = 500
SETTLE_S = 0.1
"""Pause in which the gateway ends its work for the records before: its CPU is read on both sides of a run."""

IDLE_SETTLE_S = 1.0
"""Pause in which the gateway has placed all connections: its memory is read after it."""


@frozen
class Measurement:
    """One measurement.

    :ivar about: in words.
    :ivar unit: of the figures.
    :ivar take: one round against one server.
    :ivar rounds_max: more would say nothing new.
    """

    about: str
    unit: str
    take: Callable[[Server, Path], float]
    rounds_max: int


def records_us(what: str) -> Callable[[Server, Path], float]:
    return lambda server, folder: _cpu_us_each(server, folder, what)


def handshake_us(server: Server, folder: Path) -> float:
    return _cpu_us_each(server, folder, "handshake", "--number", str(HANDSHAKES))


def idle_kib(server: Server, folder: Path) -> float:
    before = server.resident_kib()
    with start_load(server, folder, "idle", "--number", str(IDLE_VEHICLES)) as load:
        time.sleep(IDLE_SETTLE_S)
        grown = server.resident_kib() - before
        go(load)
    return grown / IDLE_VEHICLES


MEASUREMENTS = {  # idle vehicles first: later on they would find memory that the load had left
    "idle": Measurement(f"{IDLE_VEHICLES} vehicles that say nothing", "KiB", idle_kib, 1),
    **{name: Measurement(shape.about, "us", records_us(name), 3 if shape.rate else 9) for name, shape in SHAPES.items()},
    "handshake": Measurement("TCP, mutual TLS, upgrade, close", "us", handshake_us, 3),
}


def _cpu_us_each(server: Server, folder: Path, what: str, *options: str) -> float:
    """CPU until all is acknowledged and the sink has finished, divided by the number of operations."""
    with start_load(server, folder, what, *options) as load:
        time.sleep(SETTLE_S)
        before = server.cpu_us()
        done = go(load)["done"]
        time.sleep(SETTLE_S)
        return (server.cpu_us() - before) / done


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU and memory of the gateway, next to a floor.")
    parser.add_argument("what", nargs="*", choices=[*MEASUREMENTS, []], help="default: everything")
    parser.add_argument("--rounds", type=int, default=5, help="at most (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON: every round of everything")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates = CertificateFolder(folder / "certs")
        certificates.ensure_all(vehicles=1)
        size_bytes = write_frames(folder / "frames.json")
        servers: list[Server] = []
        try:
            servers.append(start_floor(folder))
            servers.append(start_gateway(folder, "kafka", reliable=False))
            servers.append(start_gateway(folder, "reliable acks", reliable=True))
            results = measure(arguments.what or list(MEASUREMENTS), servers, folder, arguments.rounds)
        finally:
            for server in servers:
                server.stop()
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        show(results, [server.name for server in servers], size_bytes)


def measure(names: Sequence[str], servers: list[Server], folder: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    """By measurement and server: one figure for each round."""
    for server in servers:
        _cpu_us_each(server, folder, "handshake", "--number", "10")  # imports of the first connection
    results: dict[str, dict[str, list[float]]] = {}
    for name in names:
        measurement = MEASUREMENTS[name]
        results[name] = {server.name: [] for server in servers}
        for number in range(min(rounds, measurement.rounds_max)):
            print(f"{name}, round {number + 1}", file=sys.stderr, flush=True)
            for server in servers:
                results[name][server.name].append(measurement.take(server, folder))
    return results


def show(results: dict[str, dict[str, list[float]]], servers: list[str], size_bytes: int) -> None:
    """A table: the median of the rounds, the minimum in brackets, and the ratio to the floor's median."""
    floor, *gateways = servers
    table = Table(
        title="What a record, a handshake and an idle vehicle cost: median (minimum)",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("")
    table.add_column("unit")
    table.add_column(floor, justify="right")
    for name in gateways:
        table.add_column(name, justify="right")
        table.add_column("x", justify="right")
    for name, figures in results.items():
        row = [name, MEASUREMENTS[name].unit, _figure(figures[floor])]
        base = statistics.median(figures[floor])
        for each in gateways:
            row += [_figure(figures[each]), f"{statistics.median(figures[each]) / base:.1f}" if base > 0 else ""]
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    for name in results:
        console.print(f"  {name:10} {MEASUREMENTS[name].about}")
    console.print(
        f"""
us: microseconds of CPU, all threads of the server together. KiB: resident memory. x: times the floor.
Records have {SIGNALS} signals; an envelope has {size_bytes} bytes.
kafka: the whole pipeline with confluent-kafka; librdkafka's mock cluster runs in the same process and is in the figure.
floor: Python's ssl and epoll; it decrypts, counts the frames and acknowledges them, and knows nothing of records."""
    )


def _figure(rounds: list[float]) -> str:
    return f"{statistics.median(rounds):.1f} ({min(rounds):.1f})"


if __name__ == "__main__":
    main()
