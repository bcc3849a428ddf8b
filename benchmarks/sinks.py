"""CPU per record of each sink's adapter, next to its bare client library, and throughput to a distant broker.

``make bench-sinks``.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from brokers import Broker, environ, missing, section
from frames import SIGNALS, read_frames, write_frames
from load import Records, client_tls
from rich import box
from rich.console import Console
from rich.table import Table
from servers import HERE, LOAD_CPU, SERVER_CPU, bind, on_cpu, start_gateway_with
from shapes import Shape

from fleetgw.simulator.certificate_folder import CertificateFolder

LIMITS_US = {"kafka": 4, "zmq": 4, "redis": 8, "sqlite": 12, "mqtt": 60, "kinesis": 40, "pubsub": 60}
FAR = ("kafka", "kinesis", "pubsub", "redis", "mqtt")
TARGET_PER_S = 5000
DELAY_MS = 2.5  # each way
PIPELINED = Shape("one vehicle, 64 records unacknowledged, acknowledged once the sink has confirmed", 1, 64, 1, 0, 15_000)
WARM_UP = Shape("", 1, 64, 1, 0, 1_000)


def adapter_us(sink: str, folder: Path, rounds: int) -> dict[str, list[list[float]]]:
    """By ``adapter`` and ``bare``, for each round, of all threads and of the reactor's."""
    with Broker(sink) as broker:
        command: list[str | Path] = [sys.executable, HERE / "adapter.py", sink, str(broker.port), folder]
        process = on_cpu(SERVER_CPU, [*command, "--rounds", str(rounds)], environ(sink, broker.port))
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{sink}: the measurement failed")
    results: dict[str, list[list[float]]] = json.loads(output)
    return results


def pipelined(sink: str, folder: Path, rounds: int, gather_ms: float | None) -> dict[str, list[float]]:
    """By ``per_s`` and ``cpu_us``, for each round: records a second through the whole gateway, its CPU per record."""
    tls = client_tls(next((folder / "certs" / "vehicles").glob("*.crt")))
    frames, ack = read_frames(folder / "frames.json")
    with Broker(sink) as broker:
        port = broker.further_away(DELAY_MS)
        delivery = {} if gather_ms is None else {"delivery": {"gather_ms": gather_ms}}
        server = start_gateway_with(
            folder, sink, sink, section(sink, port), reliable=True, environ=environ(sink, port), **delivery
        )
        results: dict[str, list[float]] = {"per_s": [], "cpu_us": []}
        try:
            Records(WARM_UP, server.port, tls, frames, ack).run()
            load = Records(PIPELINED, server.port, tls, frames, ack)
            for _ in range(rounds):
                load.prepare()
                begin_us = server.cpu_us()
                figures = load.run()
                results["per_s"].append(figures["records_s"])
                results["cpu_us"].append((server.cpu_us() - begin_us) / figures["done"])
        finally:
            server.stop()
    return results


def show_adapters(results: dict[str, dict[str, list[list[float]]]], console: Console) -> None:
    table = Table(title="Microseconds of CPU per record: median (minimum)", title_justify="left", box=box.SIMPLE_HEAD)
    columns = ("", "limit", "adapter", "of it, reactor", "bare library", "of it, caller", "adapter / bare")
    for name in columns:
        table.add_column(name, justify="right" if name else "left")
    for sink, figures in results.items():
        cells, medians = [], []
        for who in ("adapter", "bare"):
            for column in zip(*figures[who], strict=True):
                cells.append(f"{statistics.median(column):.1f} ({min(column):.1f})")
                medians.append(statistics.median(column))
        table.add_row(sink, f"{LIMITS_US[sink]}", *cells, f"{medians[0] / medians[2]:.1f}")
    console.print(table)


def show_pipelined(results: dict[str, dict[str, list[float]]], console: Console) -> None:
    table = Table(title=f"Records a second, the broker {2 * DELAY_MS:g} ms away", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", "target", "records/s: median (maximum)", "us of CPU per record, whole gateway"):
        table.add_column(name, justify="right" if name else "left")
    for sink, figures in results.items():
        per_s = f"{statistics.median(figures['per_s']):.0f} ({max(figures['per_s']):.0f})"
        table.add_row(sink, f"{TARGET_PER_S}", per_s, f"{statistics.median(figures['cpu_us']):.0f}")
    console.print(table)
    console.print(f"  {PIPELINED.about}; one record at a time would be {1000 / (2 * DELAY_MS):.0f} records/s at most")


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU and throughput of sinks.")
    parser.add_argument("sinks", nargs="*", choices=[*LIMITS_US, []], help="default: all")
    parser.add_argument("--only", choices=["adapters", "pipelined"], help="one of the two tables")
    parser.add_argument("--rounds", type=int, default=5, help="(default %(default)s)")
    parser.add_argument(
        "--gather-ms", type=float, help="delivery.gather_ms of the pipelined gateway, in place of its default"
    )
    parser.add_argument("--json", action="store_true", help="print JSON: every round of everything")
    arguments = parser.parse_args()
    bind(LOAD_CPU)  # the vehicle is this process; brokers in other languages start from here as well
    adapters, far = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates = CertificateFolder(folder / "certs")
        certificates.ensure_all(vehicles=1)
        write_frames(folder / "frames.json")
        for sink in arguments.sinks or LIMITS_US:
            lacks = missing(sink)
            if lacks is not None:
                print(f"{sink} is left out: {lacks}", file=sys.stderr)
                continue
            print(sink, file=sys.stderr, flush=True)
            if arguments.only != "pipelined":
                adapters[sink] = adapter_us(sink, folder, arguments.rounds)
            if arguments.only != "adapters" and sink in FAR:
                far[sink] = pipelined(sink, folder, arguments.rounds, arguments.gather_ms)
    if arguments.json:
        print(json.dumps({"adapters": adapters, "pipelined": far}, indent=1))
        return
    console = Console(highlight=False)
    if adapters:
        show_adapters(adapters, console)
        console.print(
            f"""  A record of {SIGNALS} signals, in batches of 100, 4 of them in flight.
  adapter: from dispatch to the outcomes, all threads.
  bare: the client library with prepared records, used simply. kinesis, redis and sqlite wait for each batch there.
"""
        )
    if far:
        show_pipelined(far, console)


if __name__ == "__main__":
    main()
