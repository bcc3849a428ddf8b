"""A place in which the commands of the pages run: a gateway with simulated vehicles, and every file that the pages name."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.free_ports import free_ports
from tests.support.gateway_process import BIN, DEADLINE_S, GatewayProcess
from tests.test_documentation import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

VIN = "5YJ3E1EA7PF000000"
"""A vehicle of the sandbox: the first that ``fleetgw certs`` makes, which the pages name as well."""

PORTS = {"4443": "port", "8080": "status_port", "9273": "metrics", "6060": "profiler"}
"""Ports of the pages, and the names of those of the sandbox."""


class Ended(NamedTuple):
    """The end of a command."""

    status: int
    output: str


class Sandbox:
    """A folder with a running gateway, ``config.json`` and ``certs``; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self._ports = dict(zip(PORTS.values(), free_ports(len(PORTS)), strict=True))

    def __enter__(self) -> Self:
        with self._stack:
            gateway = self._stack.enter_context(GatewayProcess(self.folder, **self._configuration(self._ports)))
            gateway.wait_for("server_listening")
            for name in ("examples", "deploy", "docs", "README.md"):
                if (ROOT / name).exists():
                    (self.folder / name).symlink_to(ROOT / name)
            sent = self.run(f"{self._fleet()} --count 200")
            if sent.status:
                raise AssertionError(f"the vehicles of the sandbox: {sent}")
            fleet = subprocess.Popen(  # noqa: S603  our own command
                ["bash", "-c", f"exec {self._fleet()} --rate 10"],  # noqa: S607
                cwd=self.folder,
                env=self._environ(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._stack.callback(fleet.wait)
            self._stack.callback(fleet.terminate)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _fleet(self) -> str:
        return f"fleetgw simulate --url wss://localhost:{self._ports['port']} --certs certs --vehicles 3"

    def _configuration(self, ports: Mapping[str, int]) -> dict[str, Any]:  # Any: values of JSON
        sinks = ["logger", "sqlite"]
        return {
            "port": ports["port"],
            "status_port": ports["status_port"],
            "namespace": "fleet",
            "records": dict.fromkeys(("V", "alerts", "errors", "connectivity"), sinks),
            "ack_policies": {"V": "spooled"},
            "sqlite": {"path": "fleetgw.sqlite3"},
            "spool": {"path": "spool"},
            "dead_letters": {"path": "dead-letters"},
            "monitoring": {"prometheus_metrics_port": ports["metrics"], "profiler_port": ports["profiler"]},
        }

    def another_gateway(self) -> int:
        """The port of vehicles in a further configuration, the file ``<port>.json``, for a command that starts a gateway."""
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        port, status_port = free_ports(2)
        for section in ("monitoring", "spool", "dead_letters", "ack_policies"):
            config.pop(section)
        config |= {"port": port, "status_port": status_port, "sqlite": {"path": f"{port}.sqlite3"}}
        (self.folder / f"{port}.json").write_text(json.dumps(config))
        return port

    def _environ(self) -> dict[str, str]:
        return os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}

    def here(self, command: str) -> str:
        """A command of a page with the ports and files of the sandbox."""
        command = re.sub(r"\b(4443|8080|9273|6060)\b", lambda found: str(self._ports[PORTS[found[0]]]), command)
        return command.replace("/etc/fleetgw/", "").replace("seconds=30", "seconds=1")

    def run(self, command: str) -> Ended:
        """Run a command to its end.

        :raises subprocess.TimeoutExpired: it does not end.
        """
        done = subprocess.run(  # noqa: S603  commands of our own pages
            ["bash", "-o", "pipefail", "-c", self.here(command)],  # noqa: S607
            cwd=self.folder,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout)

    def run_until(self, command: str, awaited: str) -> Ended:
        """Run a command that goes on until it is stopped; stop it, as Ctrl-C does, once it has printed a text.

        A command that starts a gateway gets vehicles, too.

        :raises AssertionError: it ends before, or does not print it.
        """
        command = self.here(command)
        if "twistd" in command:
            port = self.another_gateway()
            fleet = f"fleetgw simulate --url wss://localhost:{port} --certs certs --vehicles 1 --types V >simulate.log 2>&1"
            command = f"{fleet} & {command.replace('config.json', f'{port}.json')}"
        process = subprocess.Popen(  # noqa: S603  commands of our own pages
            ["bash", "-o", "pipefail", "-c", command],  # noqa: S607
            cwd=self.folder,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        output = b""
        with process:
            assert process.stdout is not None  # noqa: S101  for mypy
            deadline = time.monotonic() + DEADLINE_S
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                while awaited.encode() not in output and selector.select(deadline - time.monotonic()):
                    read = os.read(process.stdout.fileno(), 65536)
                    if not read:
                        break
                    output += read
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT if awaited.encode() in output else signal.SIGKILL)
            rest, _ = process.communicate(timeout=DEADLINE_S)
        if awaited.encode() not in output:
            raise AssertionError(f"no {awaited!r}: {output.decode()}")
        return Ended(process.returncode, (output + rest).decode())
