"""The log's stream and form, from twistd's options and the configuration."""

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from twisted.python.logfile import LogFile
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.logs.descriptor_stream import DescriptorStream
from fleetgw.adapters.logs.lines import ILineStream
from fleetgw.app.service.log_output import make_log, open_log_stream


class OpenLogStreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def open_file(self, options: dict[str, object]) -> LogFile:
        stream = open_log_stream(options)
        self.assertIsInstance(stream, LogFile)
        self.addCleanup(stream.close)
        return stream

    def test_named_file_is_appended_to(self) -> None:
        path = self.folder / "gateway.log"
        path.write_bytes(b"before\n")
        for nodaemon in (True, False):
            self.open_file({"logfile": str(path), "nodaemon": nodaemon}).write(b"line\n")
        self.assertEqual(path.read_bytes(), b"before\nline\nline\n")

    def test_a_daemon_logs_to_twistd_log_by_default(self) -> None:
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)
        stream = self.open_file({"logfile": None, "nodaemon": False})
        # A daemon changes its folder (--rundir); the file stays where it was asked for.
        os.chdir(before)
        stream.rotate()
        stream.write(b"line\n")
        self.assertEqual((self.folder / "twistd.log").read_bytes(), b"line\n")
        self.assertTrue((self.folder / "twistd.log.1").exists())

    def test_a_file_is_rotated_and_ten_old_ones_are_kept(self) -> None:
        stream = self.open_file({"logfile": str(self.folder / "g.log")})
        stream.rotateLength = 5
        for number in range(20):
            stream.write(b"line %d\n" % number)
        self.assertEqual((self.folder / "g.log").read_bytes(), b"line 19\n")
        self.assertEqual((self.folder / "g.log.1").read_bytes(), b"line 18\n")
        self.assertEqual(len(list(self.folder.iterdir())), 11)

    def stdout_of(self, options: dict[str, object]) -> ILineStream:
        with (self.folder / "stdout").open("wb", buffering=0) as stdout, patch.object(sys, "stdout", stdout):
            stream = open_log_stream(options)
            stream.write(b"line\n")
        return stream

    def test_standard_output(self) -> None:
        for options in ({"nodaemon": True, "logfile": "-"}, {"nodaemon": 1, "logfile": None}, {"nodaemon": True}):
            with self.subTest(options=options):
                self.assertIsInstance(self.stdout_of(options), DescriptorStream)
                self.assertEqual((self.folder / "stdout").read_bytes(), b"line\n")

    def test_options_that_cannot_work_are_refused_with_the_remedy(self) -> None:
        with self.assertRaisesRegex(UsageError, "--logfile=-: a daemon cannot log to stdout; add --nodaemon"):
            open_log_stream({"logfile": "-", "nodaemon": False})
        with self.assertRaisesRegex(UsageError, "--syslog: .* use --logfile"):
            open_log_stream({"syslog": True, "nodaemon": True})


class MakeLogTests(SynchronousTestCase):
    def lines(self, log_level: str, *, json_log_enable: bool) -> list[bytes]:
        lines: list[bytes] = []

        class Stream:
            def write(self, data: bytes) -> None:
                lines.append(data)

        log = make_log(log_level, json_log_enable=json_log_enable, stream=Stream(), environ={})
        for write in (log.debug, log.info, log.warn):
            write("happened", vin="VIN1")
        return lines

    def test_json(self) -> None:
        levels = [json.loads(line)["level"] for line in self.lines("info", json_log_enable=True)]
        self.assertEqual(levels, ["info", "warning"])

    def test_text(self) -> None:
        (line,) = self.lines("warn", json_log_enable=False)
        self.assertRegex(line, rb'^time="[^"]+" level=warning msg=happened context=fleet-telemetry vin=VIN1\n$')
