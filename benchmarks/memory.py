"""Resident memory of a gateway whose sink hangs, for every kind of record: it must stay within ``delivery.memory_mib``.

``make bench-memory``. Each case is a gateway in a process of its own. Its sink is connected, then its broker is stopped
(SIGSTOP) or, ``away``, never was there. Vehicles send until the queue takes nothing more, and go on for some seconds.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import apsw
from brokers import Broker, environ, missing, section
from rich import box
from rich.console import Console
from rich.table import Table

from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.free_ports import free_port

CEILING_MIB = 64
LIMIT = 1.5
"""Highest growth of resident memory, as a multiple of the ceiling."""

SINKS = ("kafka", "kinesis", "pubsub", "mqtt", "redis", "zmq", "sqlite", "embedded")
AWAY = frozenset({"kafka", "kinesis", "pubsub", "mqtt", "redis"})
"""Sinks whose broker may also be out of reach from the start."""

KINDS = ("small", "large", "crowded", "long ids")
FEED_S = 12.0
MIB = 1 << 20


def messages(kind: str, count: int) -> list[bytes]:
    """Some messages of a kind."""
    from fleetgw.adapters.codec.envelope import write_stream
    from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Payload, Value
    from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleError, VehicleErrors

    topic, txid_bytes = b"V", 36
    match kind:
        case "small":
            data = [Datum(key=key, value=Value(double_value=key / 3)) for key in range(1, 18)]
            payload = Payload(data=data).SerializeToString()
        case "large":
            topic, payload = (
                b"errors",
                VehicleErrors(errors=[VehicleError(name="e", body="x" * 900_000)]).SerializeToString(),
            )
        case "crowded":
            payload = b"".join(b"\x0a\x07\x08%c\x12\x03\xf8\x7f\x01" % (key % 127 + 1) for key in range(2048))
        case _:
            payload, txid_bytes = b"", 1024
    return [
        write_stream(
            txid=b"%0*d" % (txid_bytes, number),
            topic=topic,
            sender_id=b"",
            payload=payload,
            created_at_s=1_764_000_000,
            device_type=b"",
            device_id=b"",
        )
        for number in range(count)
    ]


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(config_file: Path, sink: str, kind: str) -> None:
    """Run the gateway, in a process of its own; prints the measured figures."""
    from twisted.internet import reactor as installed
    from twisted.internet import task
    from twisted.internet.defer import Deferred

    from fleetgw.adapters.logs.null import NullLog
    from fleetgw.app.config import parse_config
    from fleetgw.app.service.composition import compose
    from fleetgw.domain.ports import Ready
    from fleetgw.domain.records import PeerIdentity, Vehicle

    class Link:
        def acknowledge(self, records: object) -> None:
            pass

        def acknowledge_unknown(self, txid: bytes) -> None:
            pass

        def reply_error(self, txid: bytes) -> None:
            pass

        def close(self, reason: str) -> None:
            pass

    reactor: Any = installed  # a module that stands for the reactor
    sinks = frozenset(SINKS)  # ``embedded`` with them, which programs of others have alone
    loaded = parse_config(config_file.read_bytes(), os.environ, config_file.parent, available_sinks=sinks)
    parts = compose(loaded, reactor, NullLog())
    lane = parts.lanes[sink]
    if sink == "embedded":
        lane.sink.receiver = lambda _record: Deferred()  # type: ignore[attr-defined]  # of this sink only
    sessions = []
    for number in range(20):
        vin = f"5YJ3E1EA7KF{number:06d}"
        sessions.append(parts.gateway.connected(Vehicle(PeerIdentity("vehicle_device", vin), vin, vin), Link()))
    read = messages(kind, 2 if kind == "large" else 100 if kind != "crowded" else 10)
    figures = {"base": 0, "peak": 0, "held": 0, "records": 0}

    def feed(until_s: float, turn: int = 0) -> None:
        if time.monotonic() > until_s:
            print(json.dumps(figures), flush=True)
            os._exit(0)
        begin_s = time.monotonic()
        while time.monotonic() - begin_s < 0.02:
            sessions[turn % len(sessions)].received(read)
            turn += 1
        figures["peak"] = max(figures["peak"], rss_bytes())
        figures["held"] = max(figures["held"], lane.share.memory_bytes)
        figures["records"] = max(figures["records"], lane.held_records)
        reactor.callLater(0.002, feed, until_s, turn)

    def begin(_: object) -> None:
        figures["base"] = rss_bytes()
        feed(time.monotonic() + FEED_S)

    def wait_until_ready(until_s: float) -> None:
        if isinstance(lane.sink.readiness(), Ready) or time.monotonic() > until_s:
            print("ready", flush=True)
            sys.stdin.readline()
            task.deferLater(reactor, 0.2, lambda: None).addCallback(begin)
        else:
            reactor.callLater(0.05, wait_until_ready, until_s)

    lane.sink.start()
    wait_until_ready(time.monotonic() + 3)
    reactor.run()


def run(folder: Path, sink: str, kind: str, *, away: bool) -> dict[str, int]:
    """One case."""
    with ExitStack() as stack:
        port = free_port()
        own: dict[str, object] = {}
        before = children()
        if sink in AWAY and not away:
            port = stack.enter_context(Broker(sink)).port
        brokers = children() - before
        if sink == "sqlite":
            own = {"path": str(folder / f"{kind}.sqlite3")}
        elif sink == "zmq":
            own = {"addr": f"tcp://127.0.0.1:{port}"}
        elif sink != "embedded":
            own = section(sink, port)
        certs = folder / "certs"
        config = {
            "port": 0,
            "namespace": "bench",
            "tls": {
                "ca_file": str(certs / "ca.crt"),
                "server_cert": f"{certs}/server.crt",
                "server_key": f"{certs}/server.key",
            },
            "records": {"V": [sink], "errors": [sink]},
            "delivery": {"memory_mib": CEILING_MIB, "queue_records": 10_000_000, "queue_bytes": 1 << 40},
            sink: own,
        }
        file = folder / "config.json"
        file.write_text(json.dumps(config))
        command = [sys.executable, __file__, "--measure", str(file), sink, kind]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environ(sink, port)
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stack.callback(process.kill)
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{sink}: the gateway did not start")
        for pid in brokers:
            os.kill(pid, signal.SIGSTOP)
        if sink == "sqlite":
            locked = apsw.Connection(str(own["path"]))
            stack.callback(locked.close)
            locked.execute("BEGIN EXCLUSIVE")
        if sink == "zmq":
            stack.callback(deaf_subscriber(port).close)
        process.stdin.write("\n")
        process.stdin.flush()
        figures: dict[str, int] = json.loads(process.stdout.readline())
        return figures


def children() -> set[int]:
    """The running child processes of this one, and their children."""
    found: set[int] = set()
    look = [os.getpid()]
    while look:
        for file in Path(f"/proc/{look.pop()}/task").glob("*/children"):
            new = {int(pid) for pid in file.read_text().split()} - found
            found |= new
            look += new
    return found


def deaf_subscriber(port: int):  # type: ignore[no-untyped-def]  # pyzmq may not be there
    """A subscriber of all topics that reads nothing."""
    import zmq

    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, 1)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(f"tcp://127.0.0.1:{port}")
    time.sleep(0.5)
    return socket


def main() -> None:
    parser = argparse.ArgumentParser(description="Resident memory while a sink hangs.")
    parser.add_argument("sinks", nargs="*", choices=[*SINKS, []], help="default: all")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--json", action="store_true", help="print JSON, bytes")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        file, sink, kind = arguments.measure
        measure(Path(file), sink, kind)
        return
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates = CertificateFolder(folder / "certs")
        certificates.ensure_all()
        for sink in arguments.sinks or SINKS:
            lacks = missing(sink)
            if lacks is not None:
                print(f"{sink} is left out: {lacks}", file=sys.stderr)
                continue
            for away in (False, True) if sink in AWAY else (False,):
                for kind in arguments.kinds:
                    print(sink, "away" if away else "hangs", kind, file=sys.stderr, flush=True)
                    results.append((sink, "away" if away else "hangs", kind, run(folder, sink, kind, away=away)))
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    show(results)


def show(results: list[tuple[str, str, str, dict[str, int]]]) -> None:
    table = Table(title=f"Resident memory, ceiling {CEILING_MIB} MiB", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("sink", "its broker", "records", "held", "counted MiB", "grown by MiB", "of the ceiling"):
        table.add_column(name, justify="right" if name[0] in "hcgo" else "left")
    for sink, broker, kind, figures in results:
        grown = figures["peak"] - figures["base"]
        ratio = grown / (CEILING_MIB * MIB)
        verdict = f"{ratio:.2f}" + (" (too much)" if ratio > LIMIT else "")
        table.add_row(
            sink, broker, kind, f"{figures['records']}", f"{figures['held'] / MIB:.0f}", f"{grown / MIB:.0f}", verdict
        )
    Console(highlight=False, width=120).print(table)


if __name__ == "__main__":
    main()
