"""The gateway as users have it: from a wheel, from an editable install, with a third party's sink. Slow; CI runs it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unittest
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.free_ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "writing-a-sink"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
TIMEOUT_S = 60


class Installation:
    """A virtual environment, and a folder that has nothing to do with the checkout to run things from."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.bin = work / "venv" / "bin"
        venv.create(work / "venv", with_pip=True)

    def run(self, program: str, *arguments: object, folder: str = ".") -> str:
        """Its output.

        :raises AssertionError: it fails.
        """
        command = [self.bin / program, *map(str, arguments)]
        result = subprocess.run(
            command, cwd=self.work / folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=180
        )
        if result.returncode:
            raise AssertionError(f"{program} {arguments}: status {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result.stdout

    def pip_install(self, *what: object) -> None:
        self.run("python", "-m", "pip", "install", "--quiet", *what)

    def knows_plugin(self) -> bool:
        return re.search(r"^\s+fleetgw\s", self.run("twistd", "--help"), re.MULTILINE) is not None

    @contextlib.contextmanager
    def gateway(self, config: dict[str, object]) -> Iterator[None]:
        """A gateway under twistd that is up; wants it to end well on SIGTERM."""
        config_file = self.work / "config.json"
        config_file.write_text(json.dumps(config))
        command = [self.bin / "twistd", "--nodaemon", "--pidfile=", "fleetgw", "--config", config_file]
        gateway = subprocess.Popen(command, cwd=self.work, env=ENVIRONMENT, stdout=subprocess.PIPE)
        try:
            for line in gateway.stdout:
                if b"server_listening" in line:
                    break
            else:
                raise AssertionError(f"the gateway did not start: status {gateway.wait(TIMEOUT_S)}")
            yield
            gateway.send_signal(signal.SIGTERM)
            log = gateway.communicate(timeout=TIMEOUT_S)[0].decode()
        finally:
            gateway.kill()
            gateway.wait()
            gateway.stdout.close()
        if gateway.returncode or "stopped_server" not in log or "Traceback" in log:
            raise AssertionError(f"ended with status {gateway.returncode}:\n{log}")


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=TIMEOUT_S) as response:
        return response.read()


def setUpModule() -> None:
    global folder, dist
    folder = Path(unittest.enterModuleContext(tempfile.TemporaryDirectory()))
    dist = folder / "dist"
    subprocess.run([sys.executable, "-m", "build", "--outdir", dist, ROOT], check=True, stdout=subprocess.DEVNULL)


class ArchiveTests(unittest.TestCase):
    def test_wheel(self) -> None:
        (wheel,) = dist.glob(f"fleetgw-{VERSION}-py3-none-any.whl")
        names = set(zipfile.ZipFile(wheel).namelist())
        generated = {
            path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*_pb2.py*") if path.suffix != ".pyc"
        }
        self.assertLessEqual({"twisted/plugins/fleetgw_plugin.py", "fleetgw/py.typed", *generated}, names)
        self.assertTrue(generated)
        twisted = {name for name in names if name.startswith("twisted/")}
        self.assertEqual(twisted, {"twisted/plugins/fleetgw_plugin.py"}, "anything else would be in Twisted's way")
        foreign = {name for name in names - twisted if not name.startswith(("fleetgw/", f"fleetgw-{VERSION}.dist-info/"))}
        self.assertEqual(foreign, set())

    def test_sdist(self) -> None:
        (sdist,) = dist.glob("fleetgw-*.tar.gz")
        with tarfile.open(sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        for wanted in (
            "pyproject.toml",
            "LICENSE",
            "README.md",
            "CHANGELOG.md",
            "Makefile",
            "twisted/plugins/fleetgw_plugin.py",
        ):
            self.assertIn(wanted, names)
        for unwanted in (".venv/", "demo/", "dist/", ".mypy_cache/", ".hypothesis/", ".git/"):
            self.assertEqual([name for name in names if name.startswith(unwanted)], [])
        self.assertEqual([name for name in names if "__pycache__" in name or name.endswith((".pyc", "dropin.cache"))], [])


class WheelTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.installation = Installation(folder / "wheel")
        (wheel,) = dist.glob("*.whl")
        cls.installation.pip_install(wheel)
        cls.installation.run("fleetgw", "certs", "certs", "--vehicles", 3)

    def config(self) -> dict[str, object]:
        config = json.loads((EXAMPLE / "config.json").read_text())
        config["port"], config["status_port"] = free_ports(2)
        del config["dispatchers"], config["reliable_ack_sources"]
        return {**config, "host": "127.0.0.1", "records": {"V": ["logger"]}}

    def simulate(self, config: dict[str, object], *arguments: object) -> dict[str, object]:
        url = f"wss://localhost:{config['port']}"
        return json.loads(
            self.installation.run("fleetgw", "simulate", "--url", url, "--certs", "certs", "--json", *arguments)
        )

    def test_version(self) -> None:
        self.assertEqual(self.installation.run("fleetgw", "--version").split(), ["fleetgw", VERSION])

    def test_plugin_from_another_folder(self) -> None:
        self.assertTrue(self.installation.knows_plugin())

    def test_check(self) -> None:
        (self.installation.work / "checked.json").write_text(json.dumps(self.config()))
        printed = self.installation.run(
            "twistd", "--nodaemon", "--pidfile=", "fleetgw", "--config", "checked.json", "--check"
        )
        self.assertEqual(json.loads(printed)["records"], {"V": ["logger"]})

    def test_a_record_is_acknowledged(self) -> None:
        config = self.config()
        with self.installation.gateway(config):
            self.assertEqual(get(config["status_port"], "/status"), b"ok")
            report = self.simulate(config, "--vehicles", 1, "--count", 1, "--types", "V")
        self.assertEqual(report["records"]["acked"], 1)

    def test_the_example_sink(self) -> None:
        copy = self.installation.work / "writing-a-sink"
        shutil.copytree(EXAMPLE, copy)
        self.installation.pip_install(copy)
        tests = self.installation.run("python", "-W", "error", "-m", "twisted.trial", "test_file_sink", folder=copy.name)
        self.assertRegex(tests, r"Ran [1-9]\d* tests")
        config = {**json.loads((EXAMPLE / "config.json").read_text()), "host": "127.0.0.1"}
        config["port"], config["status_port"] = free_ports(2)
        with self.installation.gateway(config):
            report = self.simulate(config, "--vehicles", 3, "--count", 30, "--rate", 60, "--types", "V,alerts=50")
        self.assertEqual(report["records"]["acked"], 30)
        lines = (self.installation.work / "records.jsonl").read_text().splitlines()
        self.assertEqual(len({json.loads(line)["txid"] for line in lines}), 30)


class RemovalTests(unittest.TestCase):
    """Installed in each of the two ways, found, removed, gone."""

    def check(self, name: str, *what: object) -> None:
        installation = Installation(folder / name)
        installation.pip_install(*what)
        self.assertTrue(installation.knows_plugin())
        self.assertEqual(installation.run("fleetgw", "--version").split(), ["fleetgw", VERSION])
        installation.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "fleetgw")
        self.assertFalse(installation.knows_plugin())
        left = [path for path in (folder / name / "venv").rglob("*fleetgw*") if path.suffix != ".pyc"]
        self.assertEqual(left, [])
        self.assertIn("Twisted", installation.run("twistd", "--version"))

    def test_wheel(self) -> None:
        self.check("removed-wheel", *dist.glob("*.whl"))

    def test_editable(self) -> None:
        self.check("removed-editable", "--editable", ROOT)


class DemoTests(unittest.TestCase):
    def test_ctrl_c_ends_it_all(self) -> None:
        demo = subprocess.Popen(
            ["make", "--no-print-directory", "demo"], cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        seen = []
        try:
            for line in demo.stdout:
                seen.append(line.decode())
                if re.search(r"  V  .*Soc=", seen[-1]):
                    break
            os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
            seen.append(demo.communicate(timeout=TIMEOUT_S)[0].decode())
        finally:
            demo.kill()
            demo.wait()
            demo.stdout.close()
        output = "".join(seen)
        self.assertIn("/status", output)
        self.assertIn("have ended", output)
        self.assertNotIn("Traceback", output)
        self.assertNotIn("rror", output)
        self.assertIn(demo.returncode, (0, -signal.SIGINT, 128 + signal.SIGINT), output)
        self.assertEqual(left_over_processes(), [])


def left_over_processes() -> list[str]:
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            commands.append(file.read_bytes().replace(b"\0", b" ").decode())
    return [command for command in commands if "demo/config.json" in command or "demo/certs" in command]
