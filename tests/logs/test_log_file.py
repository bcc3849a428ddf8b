"""A log file that other programs rotate, such as logrotate."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import TestCase, mock

from fleetgw.adapters.logs.log_file import CHECK_INTERVAL_S, AppendedLogFile

EXAMPLE = Path(__file__).parents[2] / "examples" / "fleetgw.logrotate"


class LogFileCase(TestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.path = self.folder / "gateway.log"
        self.now_s = 100.0
        patched = mock.patch.object(AppendedLogFile, "seconds", self.seconds)
        patched.start()
        self.addCleanup(patched.stop)
        self.log: Any = AppendedLogFile.fromFullPath(str(self.path))  # untyped in Twisted
        self.addCleanup(self.close)

    def seconds(self) -> float:
        return self.now_s

    def close(self) -> None:
        if not self.log.closed:
            self.log.close()


class OthersRotateTests(LogFileCase):
    def test_truncated(self) -> None:
        """Like logrotate's ``copytruncate``."""
        self.log.write(b"before\n")
        os.truncate(self.path, 0)
        self.log.write(b"after\n")
        self.assertEqual(self.path.read_bytes(), b"after\n")

    def test_a_truncated_file_is_not_rotated_for_its_former_size(self) -> None:
        self.log.rotateLength = 10
        self.log.write(b"long enough\n")
        os.truncate(self.path, 0)
        self.now_s += CHECK_INTERVAL_S
        self.log.write(b"after\n")
        self.assertEqual([file.name for file in self.folder.iterdir()], ["gateway.log"])

    def test_renamed_and_reopened(self) -> None:
        self.log.write(b"before\n")
        self.path.rename(self.folder / "old")
        self.log.write(b"before still\n")
        self.log.reopen()
        self.log.write(b"after\n")
        self.assertEqual((self.folder / "old").read_bytes(), b"before\nbefore still\n")
        self.assertEqual(self.path.read_bytes(), b"after\n")

    def test_renamed_is_noticed_within_a_second(self) -> None:
        for made_by_logrotate in (False, True):
            with self.subTest(made_by_logrotate=made_by_logrotate):
                self.path.rename(self.folder / "old")
                if made_by_logrotate:
                    self.path.touch()
                self.now_s += CHECK_INTERVAL_S
                self.log.write(b"after\n")
                self.assertEqual(self.path.read_bytes(), b"after\n")

    def test_the_old_file_stays_in_use_when_the_new_one_cannot_be_opened(self) -> None:
        self.path.rename(self.folder / "old")
        self.path.mkdir()
        with self.assertRaises(OSError):
            self.log.reopen()
        self.now_s += CHECK_INTERVAL_S
        self.log.write(b"line\n")
        self.assertEqual((self.folder / "old").read_bytes(), b"line\n")

    def test_logrotate_with_the_example(self) -> None:
        """The example with another folder, and without its signal, which the test replaces."""
        if not (logrotate := shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")):
            self.skipTest("logrotate is not there: apt-get install logrotate")
        example = EXAMPLE.read_text()
        self.assertIn("/var/log/fleetgw/*.log", example)
        self.assertIn("kill -s USR1", example)
        for ways in ("create", "copytruncate"):
            with self.subTest(ways):
                text = example.replace("/var/log/fleetgw", str(self.folder)).replace(
                    "systemctl kill -s USR1 fleetgw.service", f"touch {self.folder}/told"
                )
                text = "\n".join(line for line in text.splitlines() if not line.strip().startswith("su "))
                text = text.replace("create 0640 fleetgw fleetgw", "create 0640")
                if ways == "copytruncate":
                    text = text.replace("create 0640", "copytruncate")
                configuration = self.folder / "logrotate.conf"
                configuration.write_text(text)
                configuration.chmod(0o600)
                self.log.write(b"before %s\n" % ways.encode())
                subprocess.run(
                    [logrotate, "--force", "--state", self.folder / "state", configuration],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                if ways == "create":
                    self.assertTrue((self.folder / "told").exists())
                    self.log.reopen()
                self.log.write(b"after %s\n" % ways.encode())
                self.assertEqual(self.path.read_bytes(), b"after %s\n" % ways.encode())
                self.assertTrue((self.folder / "gateway.log.1").read_bytes().endswith(b"before %s\n" % ways.encode()))


class PermissionTests(LogFileCase):
    def test_others_cannot_read_it_whatever_the_umask(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        log: Any = AppendedLogFile.fromFullPath(str(self.folder / "new.log"), rotateLength=1)
        self.addCleanup(lambda: log.close())
        log.write(b"line\n")
        log.write(b"line\n")
        for name in ("new.log", "new.log.1"):
            self.assertEqual((self.folder / name).stat().st_mode & 0o777, 0o640, name)


class FullDiskTests(LogFileCase):
    def test_a_line_is_written_whole_or_not_at_all(self) -> None:
        self.log.write(b"one\n")
        file = self.log._file

        class Full:
            """Accepts half of each write."""

            def write(self, data: bytes) -> int:
                return int(file.write(data[: len(data) // 2]))

            def fileno(self) -> int:
                return int(file.fileno())

        self.log._file = Full()
        with self.assertRaises(OSError):
            self.log.write(b"two\n")
        self.log._file = file
        self.log.write(b"three\n")
        self.assertEqual(self.path.read_bytes(), b"one\nthree\n")
