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
import unittest
import urllib.request
import zipfile
from pathlib import Path

from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_ports
from tests.support.installation import ENVIRONMENT, ROOT, VERSION, Installation, build, logging_config

EXAMPLE = ROOT / "examples" / "writing-a-sink"


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE_S) as response:
        return response.read()


def setUpModule() -> None:
    global folder, dist
    folder = Path(unittest.enterModuleContext(tempfile.TemporaryDirectory()))
    dist = folder / "dist"
    build(ROOT, dist)


class ArchiveTests(unittest.TestCase):
    def test_wheel(self) -> None:
        (wheel,) = dist.glob(f"fleetgw-{VERSION}-*.whl")
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
            "hatch_build.py",
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

    def test_version(self) -> None:
        self.assertTrue(self.installation.run("fleetgw", "--version").startswith(f"fleetgw {VERSION}, hot path in "))

    def test_plugin_from_another_folder(self) -> None:
        self.assertTrue(self.installation.knows_plugin())

    def test_check(self) -> None:
        (self.installation.work / "checked.json").write_text(json.dumps(logging_config()))
        printed = self.installation.run(
            "twistd", "--nodaemon", "--pidfile=", "fleetgw", "--config", "checked.json", "--check"
        )
        self.assertEqual(json.loads(printed)["records"], {"V": ["logger"]})

    def test_a_record_is_acknowledged(self) -> None:
        config = logging_config()
        with self.installation.gateway(config):
            self.assertEqual(get(config["status_port"], "/status"), b"ok")
            report = self.installation.simulate(config, "--vehicles", 1, "--count", 1, "--types", "V")
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
            report = self.installation.simulate(
                config, "--vehicles", 3, "--count", 30, "--rate", 60, "--types", "V,alerts=50"
            )
        self.assertEqual(report["records"]["acked"], 30)
        lines = (self.installation.work / "records.jsonl").read_text().splitlines()
        self.assertEqual(len({json.loads(line)["txid"] for line in lines}), 30)


class RemovalTests(unittest.TestCase):
    """Installed in each of the two ways, found, removed, gone."""

    def check(self, name: str, *what: object) -> None:
        installation = Installation(folder / name)
        installation.pip_install(*what)
        self.assertTrue(installation.knows_plugin())
        self.assertTrue(installation.run("fleetgw", "--version").startswith(f"fleetgw {VERSION}, "))
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
            seen.append(demo.communicate(timeout=DEADLINE_S)[0].decode())
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

    def test_it_ends_when_nobody_reads_its_output(self) -> None:
        demo = subprocess.Popen(
            [sys.executable, "examples/demo/demo.py"], cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            for line in demo.stdout:
                if b"the live page" in line:
                    break
            demo.stdout.close()
            demo.wait(DEADLINE_S)
        finally:
            demo.kill()
            demo.wait()
        self.assertEqual(left_over_processes(), [])


def left_over_processes() -> list[str]:
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            commands.append(file.read_bytes().replace(b"\0", b" ").decode())
    return [command for command in commands if "demo/config.json" in command or "demo/certs" in command]
