"""The measured servers, with their CPU and memory from the kernel."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from attrs import frozen

from tests.support.free_ports import free_ports

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
SERVER_CPU, LOAD_CPU = 0, 1
_CPUS = sorted(os.sched_getaffinity(0))


@frozen
class Server:
    """A running server.

    :ivar name: as in the table.
    :ivar port: that vehicles connect to.
    """

    name: str
    port: int
    process: subprocess.Popen[str]

    def cpu_us(self) -> float:
        """CPU that its threads have used so far, in microseconds."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1000

    def resident_kib(self) -> int:
        """Memory it has resident, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def start_floor(folder: Path) -> Server:
    """The floor; see ``floor.py``."""
    process = on_cpu(SERVER_CPU, [sys.executable, HERE / "floor.py", folder])
    assert process.stdout is not None
    return Server("floor", int(process.stdout.readline()), process)


def start_gateway(
    folder: Path,
    name: str,
    *,
    reliable: bool = False,
    environ: Mapping[str, str] = MappingProxyType({}),
    checkout: Path | None = None,
    **changes: object,
) -> Server:
    """A gateway whose Kafka is librdkafka's mock cluster, in the same process: the cluster's CPU is counted too.

    Parameters are those of ``start_gateway_with``.
    """
    kafka = {"bootstrap.servers": "localhost:1", "test.mock.num.brokers": "1"}
    return start_gateway_with(folder, name, "kafka", kafka, reliable=reliable, environ=environ, checkout=checkout, **changes)


def start_gateway_with(
    folder: Path,
    name: str,
    sink: str,
    section: Mapping[str, object],
    *,
    reliable: bool,
    environ: Mapping[str, str] = MappingProxyType({}),
    checkout: Path | None = None,
    **changes: object,
) -> Server:
    """A gateway with one sink.

    :param section: the sink's.
    :param environ: further environment variables.
    :param checkout: another one whose gateway is to run, installed into its own ``.venv``.
    :param changes: further keys of the configuration.
    """
    (port, metrics_port), file_name = free_ports(2), name.replace(" ", "-")
    certs = folder / "certs"
    config = {
        "host": "127.0.0.1",
        "port": port,
        "namespace": "bench",
        "tls": {
            "ca_file": str(certs / "ca.crt"),
            "server_cert": str(certs / "server.crt"),
            "server_key": str(certs / "server.key"),
        },
        "records": {"V": [sink]},
        "reliable_ack_sources": {"V": sink} if reliable else {},
        sink: section,
        "monitoring": {"prometheus_metrics_port": metrics_port},
    }
    config_file, log = folder / f"{file_name}.json", folder / f"{file_name}.log"
    config_file.write_text(json.dumps(config | changes))
    bin_folder = BIN if checkout is None else checkout / ".venv" / "bin"
    command = [bin_folder / "twistd", "--nodaemon", "--pidfile=", f"--logfile={log}", "fleetgw", "--config", config_file]
    process = on_cpu(SERVER_CPU, command, environ)
    while not log.exists() or "server_listening" not in log.read_text():
        if process.poll() is not None:
            raise SystemExit(f"{name} did not start: {log.read_text() if log.exists() else 'see above'}")
        time.sleep(0.05)
    return Server(name, port, process)


def bind(cpu: int) -> None:
    """Bind this process and its children to one CPU, where the machine has so many."""
    os.sched_setaffinity(0, {_CPUS[min(cpu, len(_CPUS) - 1)]})


def on_cpu(cpu: int, command: list[str | Path], environ: Mapping[str, str] = MappingProxyType({})) -> subprocess.Popen[str]:
    """Start a process bound to one CPU; ``environ`` adds variables."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environ,
        preexec_fn=lambda: bind(cpu),
    )
