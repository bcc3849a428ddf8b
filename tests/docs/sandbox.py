"""Places in which the commands of the pages run: a folder with ports of its own, and one with a gateway and vehicles."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_ports
from tests.support.gateway_process import BIN, GatewayProcess
from tests.test_documentation import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

PORTS = ("4443", "8080", "9273", "6060")
"""The ports of vehicles, status, metrics and profiler on the pages."""

FOLDERS = {"/etc/fleetgw/": "", "/var/lib/fleetgw/": "state/", "/etc/letsencrypt/live/gw.example.com/": "letsencrypt/"}
"""The folders of files on the pages, each with the one that stands for it in the place's own folder, where commands run."""

INTERRUPTED = 130


class Ended(NamedTuple):
    """The end of a command.

    :ivar status: as a shell reports it: after a signal, 128 and its number. Which process of a pipeline ends last decides
        whether Ctrl-C ends bash with this status or by the signal.
    """

    status: int
    output: str


class Place:
    """A folder in which commands of a page run, with free ports in place of the page's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        for here in filter(None, FOLDERS.values()):
            (folder / here).mkdir()
        for name in ("examples", "deploy", "docs"):
            if (ROOT / name).exists():
                (folder / name).symlink_to(ROOT / name)

    def here(self, text: str) -> str:
        """A command or a file of a page with the ports and folders of this place."""
        if "--url" not in text:  # by default it is port 4443
            text = text.replace("fleetgw simulate", "fleetgw simulate --url wss://localhost:4443")
        text = re.sub(rf"\b(?:{'|'.join(PORTS)})\b", lambda found: str(self.ports[found[0]]), text)
        text = text.replace("gw.example.com:443", f"127.0.0.1:{self.ports['4443']}")
        text = text.replace('"port": 443', f'"port": {self.ports["4443"]}')
        text = text.replace("vehicle-config --config", "vehicle-config --connect 127.0.0.1 --config")
        for folder, here in FOLDERS.items():
            text = text.replace(folder, here)
        return text.replace("seconds=30", "seconds=1")

    @contextlib.contextmanager
    def running(self, command: str, awaited: str = "") -> Iterator[Running]:
        """A command that runs, and is killed at the end when it still does.

        :param awaited: text to wait for.
        :raises AssertionError: it does not print that text.
        """
        running = Running(self.here(command), self.folder)
        try:
            running.wait_for(awaited)
            yield running
        finally:
            running.kill()

    def run(self, command: str) -> Ended:
        """Run a command to its end.

        :raises subprocess.TimeoutExpired: it does not end.
        """
        with self.running(command) as running:
            return running.end()


class Running:
    """A command line under bash, in a session of its own."""

    def __init__(self, command: str, folder: Path) -> None:
        self._output = (folder / f".output-{time.monotonic_ns()}").open("w+b")
        self._process = subprocess.Popen(  # noqa: S603  commands of our own pages
            ["bash", "-c", command],  # noqa: S607
            cwd=folder,
            env=os.environ
            | {
                "PATH": f"{BIN}:{os.environ['PATH']}",
                "COLUMNS": "120",
                "PYTHONUNBUFFERED": "1",
                "SSL_CERT_FILE": "certs/ca.crt",  # as a public authority's certificate would be known
            },
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def output(self) -> str:
        """Everything that it has printed so far."""
        return os.pread(self._output.fileno(), os.fstat(self._output.fileno()).st_size, 0).decode()

    def wait_for(self, awaited: str) -> None:
        """Wait for a text in the output.

        :raises AssertionError: it does not come.
        """
        deadline = time.monotonic() + DEADLINE_S
        over = False
        while awaited not in self.output():
            if over:
                raise AssertionError(f"no {awaited!r} in the output: {self.output()}")
            time.sleep(0.02)
            over = self._process.poll() is not None or time.monotonic() > deadline  # then the output is looked at once more

    def interrupt(self) -> Ended:
        """Press Ctrl-C, and wait for the end.

        :raises subprocess.TimeoutExpired: it does not end.
        """
        os.killpg(self._process.pid, signal.SIGINT)
        return self.end()

    def end(self) -> Ended:
        """Wait for the end.

        :raises subprocess.TimeoutExpired: it does not come.
        """
        status = self._process.wait(DEADLINE_S)
        return Ended(status if status >= 0 else 128 - status, self.output())

    def kill(self) -> None:
        """End it with everything that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()


class Sandbox(Place):
    """A place with a gateway that runs with ``config.json``, and vehicles; a context manager."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.run(
                "fleetgw certs certs --vehicles 3 --host gw.example.com; cp certs/vehicles/5YJ3E1EA7PF000000.crt vehicle.crt"
            )
            gateway = stack.enter_context(GatewayProcess(self.folder, **self._configuration()))
            gateway.wait_for("server_listening")
            fleet = "fleetgw simulate --url wss://localhost:4443 --certs certs --vehicles 3"
            sent = self.run(f"{fleet} --count 200 --rate 200")
            if sent.status:
                raise AssertionError(f"the vehicles of the sandbox: {sent}")
            stack.enter_context(self.running(f"{fleet} --rate 10"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _configuration(self) -> dict[str, Any]:  # Any: values of JSON
        return {
            "port": self.ports["4443"],
            "status_port": self.ports["8080"],
            "namespace": "fleet",
            "records": {name: ["logger", "sqlite"] for name in ("V", "alerts", "errors", "connectivity")},
            "ack_policies": {"V": "spooled"},
            "sqlite": {"path": "fleetgw.sqlite3"},
            "spool": {"path": "spool"},
            "dead_letters": {"path": "dead-letters"},
            "operations": {"token": "token-of-the-sandbox", "folder": "operations"},
            "monitoring": {"prometheus_metrics_port": self.ports["9273"], "profiler_port": self.ports["6060"]},
        }

    def run_until(self, command: str, awaited: str) -> Ended:
        """Run a command that goes on until it is stopped, and press Ctrl-C once it has printed a text.

        A command that starts a gateway gets ports and vehicles for it, too.

        :raises AssertionError: it does not print that text.
        """
        with contextlib.ExitStack() as stack:
            if "twistd" in command:
                port = self._another_gateway()
                command = command.replace("config.json", f"{port}.json")
                fleet = f"fleetgw simulate --url wss://localhost:{port} --certs certs --vehicles 1 --types V"
                stack.enter_context(self.running(fleet))
            return stack.enter_context(self.running(command, awaited)).interrupt()

    def _another_gateway(self) -> int:
        """The port of vehicles in a further configuration, the file ``<port>.json``."""
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        port, status_port = free_ports(2)
        for section in ("monitoring", "spool", "dead_letters", "ack_policies", "operations"):
            config.pop(section)
        config |= {"port": port, "status_port": status_port, "sqlite": {"path": f"{port}.sqlite3"}}
        (self.folder / f"{port}.json").write_text(json.dumps(config))
        return port
