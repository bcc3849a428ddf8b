"""``fleetgw doctor`` as a person runs it: a process, its output, its exit status."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import TestCase

from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port


class DoctorTests(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory()))
        certificates = CertificateFolder(self.path)
        certificates.ensure_all()
        self.config = {
            "host": "127.0.0.1",
            "port": free_port(),
            "tls": {
                "ca_file": str(self.path / "ca.crt"),
                "server_cert": str(self.path / "server.crt"),
                "server_key": str(self.path / "server.key"),
            },
            "records": {"V": ["memory", "logger", "sqlite"]},
            "sqlite": {"path": str(self.path / "records.sqlite3")},
        }

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        file = self.path / "config.json"
        file.write_text(json.dumps(self.config))
        environ = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "TTY_COMPATIBLE"}}
        code = "import sys; from fleetgw.cli import main; sys.exit(main())"
        command = [sys.executable, "-W", "error", "-c", code, "doctor", "--config", str(file), *arguments]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        return process

    def end(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        out, err = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def doctor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.end(self.begin(*arguments))

    def test_works(self) -> None:
        done = self.doctor()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        for said in ("server.key is its key", f":{self.config['port']} is free", "starts, is ready, stops", "RLIMIT_NOFILE"):
            self.assertIn(said, done.stdout)
        self.assertIn("Everything looks as it should", done.stdout)
        self.assertNotIn("\x1b", done.stdout)
        self.assertFalse((self.path / "records.sqlite3").exists(), "the doctor leaves nothing behind")

    def test_something_will_not_work(self) -> None:
        with socket.create_server(("127.0.0.1", self.config["port"])):
            done = self.doctor("--json")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        report = json.loads(done.stdout)
        self.assertEqual([check["subject"] for check in report["checks"] if not check["works"]], ["ports"])

    def test_refused_configuration(self) -> None:
        self.config["records"] = {"V": ["carrier pigeon"]}
        done = self.doctor()
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("records.V[0]", done.stderr)
        done = self.doctor("--json")
        self.assertEqual((done.returncode, done.stderr), (2, ""))
        report = json.loads(done.stdout)
        self.assertEqual([problem["path"] for problem in report["refused"]], ["records.V[0]"])
        self.assertFalse(report["works"])

    def test_interrupted(self) -> None:
        """It reports nothing: a check that was cut off says nothing about its subject."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number.name), socket.create_server(("127.0.0.1", 0)) as silent:
                silent.settimeout(DEADLINE_S)
                self.config["vehicles"] = {"allow": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}}
                process = self.begin()
                asked, _ = silent.accept()
                with asked:
                    process.send_signal(number)
                    done = self.end(process)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (130, "", ""))
