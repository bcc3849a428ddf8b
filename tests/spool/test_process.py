"""A spool in a process of its own, killed again and again, and with syncs that fail."""

from __future__ import annotations

import shutil
import tempfile
from random import Random
from typing import TYPE_CHECKING
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.spool.folder import Folder
from fleetgw.domain.ports import Page
from tests.support.spool_case import SpoolMaker, all_of, spooled_record
from tests.support.spool_process import LIMITS, SINKS, killed_spooler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetgw.domain.records import Record


class ProcessCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name + "/spool"

    def spooled(self) -> dict[int, Record]:
        """All records in the spool, by number; each is there once, in order."""
        maker = SpoolMaker(Folder(self.path), LIMITS)
        spool = maker.make()
        position = self.successResultOf(spool.start(SINKS))["kafka"]
        records: list[Record] = []
        while True:
            page = self.successResultOf(spool.read("kafka", position, 1000, 10**9))
            assert isinstance(page, Page)
            records += page.records
            if page.next_position == position:
                break
            position = page.next_position
        self.successResultOf(spool.stop())
        self.assertEqual(maker.log.entries, [])
        numbers = [record.received_at_ms for record in records]
        self.assertEqual(numbers, sorted(set(numbers)))
        return dict(zip(numbers, records, strict=True))


class KillTests(ProcessCase):
    def test_no_synced_record_is_lost_however_often_the_process_is_killed(self) -> None:
        random = Random(5)
        synced: set[int] = set()
        for life in range(6):
            synced |= killed_spooler(self.path, life * 1_000_000, random.randint(1, 60))[0]
        spooled = self.spooled()
        self.assertGreater(len(synced), 100)
        self.assertEqual(synced - spooled.keys(), set())
        for number, record in spooled.items():
            self.assertEqual(all_of(record), all_of(spooled_record(number, "V", number % 700)))


def strace(*calls: str) -> Iterator[str]:
    yield from ("strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync")
    for call in calls:
        yield from ("-e", f"inject={call}")


@skipUnless(shutil.which("strace"), "strace is not installed")
class FailingSyncTests(ProcessCase):
    def test_what_fails_to_sync_is_not_reported_as_synced(self) -> None:
        failing = strace("fdatasync,fsync:error=EIO:when=12+")
        synced, failures = killed_spooler(self.path, 0, 120, [*failing])
        self.assertGreater(failures, 0)
        self.assertGreater(len(synced), 0)
        self.assertEqual(synced - self.spooled().keys(), set())

    def test_the_next_file_takes_over_after_a_failed_sync(self) -> None:
        failing = strace("fdatasync,fsync:error=EIO:when=12")
        synced, failures = killed_spooler(self.path, 0, 200, [*failing])
        self.assertGreater(failures, 0)
        self.assertGreater(len(synced), 100)
        files = [name for name in Folder(self.path).names() if name.endswith(".spool") and name[0] == "0"]
        self.assertGreater(len(files), 1)
        self.assertEqual(synced - self.spooled().keys(), set())
