"""The examples of docs/embedding.md, as their reader would run them."""

import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from unittest import TestCase

from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.deadline import DEADLINE_S

EXAMPLES = Path(__file__).parents[2] / "examples" / "embedding"


class ExampleTests(TestCase):
    def run_example(self, name: str, *, until: set[str]) -> str:
        """Run it with simulated vehicles until its output has all of ``until``, then press Ctrl-C; its output."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        certificates = CertificateFolder(Path(folder.name), 30)
        certificates.ensure_all(vehicles=2)
        command = [sys.executable, "-W", "error", str(EXAMPLES / name), folder.name, "0"]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        overdue = threading.Timer(DEADLINE_S, program.kill)
        overdue.start()
        self.addCleanup(overdue.cancel)
        output = ""
        fleet = None
        for line in program.stdout:
            output += line
            if fleet is None and line.startswith("listening on port "):
                fleet = self.start_fleet(int(line.split()[-1]), folder.name)
            if all(text in output for text in until):
                break
        if fleet is not None:
            self.assertEqual(fleet.wait(DEADLINE_S), 0, "not every record was acknowledged")
        program.send_signal(signal.SIGINT)
        output += program.stdout.read()
        program.wait(DEADLINE_S)
        self.assertEqual({text for text in until if text not in output}, set(), output)
        self.assertNotIn("Traceback", output)
        return output

    def start_fleet(self, port: int, folder: str) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-c", "from fleetgw.cli import main; raise SystemExit(main())", "simulate"),
            *("--url", f"wss://localhost:{port}", "--certs", folder, "--vehicles", "2", "--rate", "200", "--count", "200"),
            *("--types", "V=9,alerts=1"),
        ]
        fleet = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(fleet.wait)
        self.addCleanup(fleet.kill)
        return fleet

    def test_the_page_shows_nothing_else(self) -> None:
        page = (EXAMPLES.parents[1] / "docs" / "embedding.md").read_text()
        shown = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        self.assertEqual(sorted(shown), sorted(path.read_text() for path in EXAMPLES.glob("*.py")))
        self.assertEqual(page.count("```"), 2 * len(shown))

    def test_the_test_of_a_program(self) -> None:
        command = [sys.executable, "-W", "error", str(EXAMPLES / "test_listener.py")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        self.assertIn("Ran 1 test", done.stderr)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_asyncio(self) -> None:
        output = self.run_example(
            "asyncio_listener.py", until={" is charged to ", " reports ", " is CONNECTED", "(1 connections): ['"}
        )
        self.assertIn(" is DISCONNECTED", output)

    def test_twisted(self) -> None:
        self.run_example("twisted_listener.py", until={" is charged to ", "1 alerts"})
