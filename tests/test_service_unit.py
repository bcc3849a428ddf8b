"""The unit for systemd: systemd accepts it, it is hardened, and its command is that of the page on operating."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from unittest import TestCase

from tests.support.deadline import DEADLINE_S

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "examples" / "fleetgw.service"
PAGE = (ROOT / "docs" / "operating.md").read_text()
EXPOSURE_MAX = 20  # tenths, of 100: systemd says "OK" up to 49


class UnitTests(TestCase):
    def setUp(self) -> None:
        self.lines = UNIT.read_text().splitlines()

    def analyze(self, *arguments: str, socket: str = "") -> subprocess.CompletedProcess[str]:
        """Run systemd-analyze on the unit, with the gateway's own programs replaced by an existing one.

        :param socket: a socket unit that is beside it, and looked at in its place.
        """
        if not (systemd_analyze := shutil.which("systemd-analyze")):
            self.skipTest("systemd-analyze is not there: apt-get install systemd")
        with tempfile.TemporaryDirectory() as folder:
            unit = Path(folder) / UNIT.name
            there = shutil.which("true") or "/bin/true"
            text = "\n".join(self.lines) + "\n"
            for program in ("fleetgw", "twistd"):
                text = text.replace(f"/opt/fleetgw/bin/{program}", there)
            unit.write_text(text)
            if socket:
                unit = unit.with_suffix(".socket")
                unit.write_text(socket)
            return subprocess.run(
                [systemd_analyze, *arguments, str(unit)], capture_output=True, text=True, check=False, timeout=DEADLINE_S
            )

    def test_systemd_accepts_it(self) -> None:
        result = self.analyze("verify", "--man=no")
        self.assertEqual((result.returncode, result.stdout + result.stderr), (0, ""))

    def test_it_is_hardened(self) -> None:
        result = self.analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_a_low_port_a_folder_for_sqlite_and_private_files(self) -> None:
        for line in (
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            "StateDirectory=fleetgw",
            "UMask=0077",
            "LimitNOFILE=65536",
        ):
            self.assertIn(line, self.lines)

    def test_it_is_notified_and_watched(self) -> None:
        for line in ("Type=notify", "WatchdogSec=30", "Restart=on-failure"):
            self.assertIn(line, self.lines)
        self.assertNotIn("NotifyAccess=none", self.lines)

    def test_the_command_is_that_of_the_page(self) -> None:
        (start,) = [line.removeprefix("ExecStart=/opt/fleetgw/bin/") for line in self.lines if line.startswith("ExecStart=")]
        self.assertIn(f"\n{start}\n", PAGE)

    def test_systemd_accepts_the_socket_unit_of_the_page(self) -> None:
        (socket,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
        result = self.analyze("verify", "--man=no", socket=socket)
        self.assertEqual((result.returncode, result.stdout + result.stderr), (0, ""))
