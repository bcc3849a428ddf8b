"""fleetgw installed into an environment of its own, and run from a folder that has nothing to do with the checkout."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FLEETGW_"))}
WITHOUT_COMPILER = {"CC": "/nonexistent"}


def build(source: Path, dist: Path, *options: str, **environ: str) -> str:
    """Build archives of ``source`` into ``dist``; the output.

    :raises AssertionError: that fails.
    """
    command = [sys.executable, "-m", "build", "--outdir", str(dist), *options, str(source)]
    done = subprocess.run(  # noqa: S603  our own command
        command, env=ENVIRONMENT | environ, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise AssertionError(done.stdout)
    return done.stdout


def unpack(sdist: Path, folder: Path) -> Path:
    """The project's folder, as its sdist has it."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (project,) = folder.iterdir()
    return project


class Installation:
    """A virtual environment.

    :param work: the folder to make it in, and to run programs from.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self.bin = work / "venv" / "bin"
        venv.create(work / "venv", with_pip=True)

    def run(self, program: str, *arguments: object, folder: str = ".", **environ: str) -> str:
        """The standard output of a program of the environment.

        :raises AssertionError: it fails.
        """
        command = [str(self.bin / program), *map(str, arguments)]
        result = subprocess.run(  # noqa: S603  our own command
            command,
            cwd=self.work / folder,
            env=ENVIRONMENT | environ,
            capture_output=True,
            check=False,
            text=True,
            timeout=DEADLINE_S,
        )
        if result.returncode:
            raise AssertionError(f"{program} {arguments}: status {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result.stdout

    def pip_install(self, *what: object, **environ: str) -> None:
        """Install packages."""
        self.run("python", "-m", "pip", "install", "--quiet", *what, **environ)

    def knows_plugin(self) -> bool:
        """Whether twistd has the command ``fleetgw``."""
        return re.search(r"^\s+fleetgw\s", self.run("twistd", "--help"), re.MULTILINE) is not None

    @contextlib.contextmanager
    def gateway(self, config: Mapping[str, object], **environ: str) -> Iterator[Mapping[str, Any]]:  # Any: values of JSON
        """A gateway under twistd that is up; its event ``starting_server``.

        :raises AssertionError: it does not start, or does not end well on SIGTERM.
        """
        config_file = self.work / "config.json"
        config_file.write_text(json.dumps(config))
        command = [str(self.bin / "twistd"), "--nodaemon", "--pidfile=", "fleetgw", "--config", str(config_file)]
        gateway = subprocess.Popen(command, cwd=self.work, env=ENVIRONMENT | environ, stdout=subprocess.PIPE)  # noqa: S603
        assert gateway.stdout is not None  # noqa: S101  for mypy
        starting: Mapping[str, Any] = {}
        try:
            for line in gateway.stdout:
                if b'"starting_server"' in line:
                    starting = json.loads(line)
                if b"server_listening" in line:
                    break
            else:
                raise AssertionError(f"the gateway did not start: status {gateway.wait(DEADLINE_S)}")
            yield starting
            gateway.send_signal(signal.SIGTERM)
            log = gateway.communicate(timeout=DEADLINE_S)[0].decode()
        finally:
            gateway.kill()
            gateway.wait()
            gateway.stdout.close()
        if gateway.returncode or "stopped_server" not in log or "Traceback" in log:
            raise AssertionError(f"ended with status {gateway.returncode}:\n{log}")

    def simulate(self, config: Mapping[str, object], *arguments: object) -> Mapping[str, Any]:  # Any: values of JSON
        """The report of ``fleetgw simulate``, with the certificates in ``certs``."""
        url = f"wss://localhost:{config['port']}"
        report: Mapping[str, Any] = json.loads(
            self.run("fleetgw", "simulate", "--url", url, "--certs", "certs", "--json", *arguments)
        )
        return report

    def carry_a_record(self, hot_path: str, **environ: str) -> None:
        """Run a gateway that acknowledges a record.

        :param hot_path: the path that it is to take, as ``--version`` and the log say it.
        :raises AssertionError: something else happens.
        """
        said = self.run("fleetgw", "--version", **environ)
        if said != f"fleetgw {VERSION}, hot path in {hot_path}\n":
            raise AssertionError(said)
        self.run("fleetgw", "certs", "certs", "--vehicles", 1)
        config = logging_config()
        with self.gateway(config, **environ) as starting:
            report = self.simulate(config, "--vehicles", 1, "--count", 1, "--types", "V")
        if (report["records"]["acked"], starting["hot_path"]) != (1, hot_path):
            raise AssertionError(report, starting)


def logging_config() -> dict[str, object]:
    """A configuration with free ports that routes ``V`` to the log, which is JSON; for the certificates in ``certs``."""
    port, status_port = free_ports(2)
    return {
        "host": "127.0.0.1",
        "port": port,
        "status_port": status_port,
        "namespace": "fleet",
        "json_log_enable": True,
        "tls": {"ca_file": "certs/ca.crt", "server_cert": "certs/server.crt", "server_key": "certs/server.key"},
        "records": {"V": ["logger"]},
    }
