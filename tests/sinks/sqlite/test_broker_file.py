"""The ``sqlite`` sink on a machine that fails: killed processes, power cuts, a full disk, a failing disk."""

import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import TestCase

from fleetgw.adapters.sinks.sqlite.sink import LINGER_S, SqliteSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import Retryable
from fleetgw.domain.ports import RECEIPT, Outcome, Ready
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor
from tests.support.deadline import DEADLINE_S
from tests.support.needed import needed
from tests.support.sqlite_crash import kill_over_and_over, numbered_record, recorded
from tests.support.workers import InlineWorker

KILLS = 30


class KilledTests(TestCase):
    def test_every_confirmed_record_is_there_after_kill_9(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        lives_s = [random.Random(seed).uniform(0.0, 0.25) for seed in range(KILLS)]
        killed = 0
        for confirmed, held in kill_over_and_over(folder / "r.sqlite3", lives_s):
            killed += 1
            self.assertEqual(confirmed - held.keys(), set())
            self.assertTrue(all(number == odometer for number, odometer in held.items()))
        self.assertEqual(killed, KILLS)
        self.assertGreater(len(confirmed), 100 * KILLS)


class SyncedTests(TestCase):
    def setUp(self) -> None:
        self.strace = shutil.which("strace")
        needed("strace is not there: apt-get install strace" if self.strace is None else None)
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def trace(self, *options: str) -> list[str]:
        """The system calls of a process that writes 60 batches, one after the other."""
        trace, file = self.folder / "trace", self.folder / "r.sqlite3"
        command = [self.strace, "-f", "-y", "-qq", "-e", "trace=pwrite64,write,fdatasync,fsync", *options, "-o", str(trace)]
        command += [sys.executable, "-m", "tests.support.sqlite_crash", str(file), "0", "60", "1"]
        subprocess.run(command, stdout=subprocess.DEVNULL, timeout=DEADLINE_S, check=True)
        return trace.read_text(errors="replace").splitlines()

    def test_every_receipt_comes_after_an_fsync(self) -> None:
        """There is a sync of the log between the last write to it and the line with the receipts."""
        unsynced, receipts = True, 0
        for line in self.trace():
            if "pwrite64(" in line and "r.sqlite3-wal" in line:
                unsynced = True
            elif "fdatasync(" in line and "r.sqlite3-wal" in line:
                unsynced = False
            elif re.search(r'write\(1<.*"\d', line):
                receipts += 1
                self.assertFalse(unsynced, f"confirmed before it was synced: {line}")
        self.assertEqual(receipts, 60)

    def test_records_are_not_confirmed_after_a_failed_sync(self) -> None:
        failed, before, after, empty = False, 0, 0, 0
        for line in self.trace("-e", "inject=fdatasync:error=EIO:when=20+"):
            failed = failed or ("fdatasync(" in line and "EIO" in line)
            receipt = bool(re.search(r'write\(1<.*"\d', line))
            before += receipt and not failed
            after += receipt and failed
            empty += bool(re.search(r'write\(1<.*"\\n"', line))
        self.assertGreater(before, 5)
        self.assertEqual(after, 0)
        self.assertEqual(before + empty, 60, "every batch has its outcomes")


class FullDiskTests(TestCase):
    def test_a_full_disk_loses_nothing(self) -> None:
        """On a file system of two megabytes: not ready with the reason while it is full, ready again once there is room."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
        if mounted.returncode:
            self.skipTest("only root may mount a small file system")
        self.addCleanup(subprocess.run, ["umount", str(folder)], check=True)
        reactor, log = ThreadlessReactor(), ReadableLog()
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(1_000_000))
        settings = {"path": str(folder / "r.sqlite3")}
        sink = SqliteSink(SinkContext("sqlite", settings, "n", ("V",), reactor, ReadableMetrics(), log), InlineWorker)
        sink.start()
        confirmed = 0
        for start in range(0, 1_000_000, 500):
            outcomes = dispatched(sink, reactor, start)
            if outcomes != [RECEIPT] * 500:
                break
            confirmed += 500
        self.assertGreater(confirmed, 0)
        self.assertTrue(all(type(outcome) is Retryable for outcome in outcomes), outcomes[0])
        self.assertIn("the disk is full", sink.readiness().reason)
        self.assertEqual(len(log.fields_of("sqlite_err")), 1)
        ballast.unlink()
        reactor.advance(30)
        self.assertEqual(sink.readiness(), Ready(), "by its own probe")
        self.assertEqual(dispatched(sink, reactor, confirmed), [RECEIPT] * 500)
        sink.stop()
        reactor.advance(0)
        self.assertEqual(recorded(folder / "r.sqlite3").keys(), set(range(confirmed + 500)))


def dispatched(sink: SqliteSink, reactor: ThreadlessReactor, start: int) -> list[Outcome]:
    answer = sink.dispatch([numbered_record(number) for number in range(start, start + 500)])
    reactor.pump([LINGER_S, 0])
    return answer.result
