"""A spool in a folder of the machine: what an operator may do to it, and files of earlier versions."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.spool.folder import Folder
from fleetgw.domain.errors import ConfigurationError, StorageError
from fleetgw.domain.ports import Page
from tests.support.spool_case import LIMITS, SpoolMaker, all_of, spooled_record
from tests.support.spool_golden import GOLDEN, SINKS, golden_records

if TYPE_CHECKING:
    from fleetgw.adapters.spool.spool import Spool
    from fleetgw.domain.records import Record

LOCKING = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
input()
"""


class FolderCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "spool"
        self.maker = SpoolMaker(Folder(str(self.path)), LIMITS)
        self.spool: Spool | None = None
        self.addCleanup(self.stop)

    def started(self) -> dict[str, int]:
        """Start a spool, which stops at the end."""
        self.spool = self.maker.make()
        cursors = self.successResultOf(self.spool.start(SINKS))
        return dict(cursors)

    def stop(self) -> None:
        spool, self.spool = self.spool, None
        if spool is not None:
            self.successResultOf(spool.stop())

    def refused(self, path: Path | None = None) -> str:
        """The reason for which a spool does not start; it leaves everything as it was."""
        maker = SpoolMaker(Folder(str(path or self.path)), LIMITS)
        error = self.failureResultOf(maker.make().start(SINKS), ConfigurationError).value
        (problem,) = error.problems
        self.assertEqual(problem.path, "spool.path")
        self.assertTrue(problem.fix)
        return problem.what

    def read(self, position: int) -> list[Record]:
        assert self.spool is not None
        page = self.successResultOf(self.spool.read("kafka", position, 1000, 10**9))
        assert isinstance(page, Page)
        return [*page.records, *(self.read(page.next_position) if page.next_position > position else ())]


class OperatorTests(FolderCase):
    def test_the_folder_is_made_for_its_owner_alone(self) -> None:
        self.started()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)

    def test_a_file_in_place_of_the_folder_is_refused(self) -> None:
        self.path.write_text("mine")
        self.assertIn("is not a folder", self.refused())
        self.assertEqual(self.path.read_text(), "mine")

    def test_a_folder_below_a_file_is_refused(self) -> None:
        self.path.write_text("mine")
        self.assertIn("is not a folder", self.refused(self.path / "below"))

    def test_a_folder_that_cannot_be_written_is_refused(self) -> None:
        self.assertIn("cannot be used", self.refused(Path("/proc/spool")))

    def test_a_folder_in_use_is_refused(self) -> None:
        self.started()
        self.assertIn("in use by another process", self.refused())

    def test_a_folder_locked_by_another_process_is_refused_until_that_ends(self) -> None:
        self.path.mkdir()
        command = [sys.executable, "-c", LOCKING, str(self.path / "lock")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            self.assertIn("in use by another process", self.refused())
            process.kill()
        self.started()

    def test_a_newer_version_is_refused(self) -> None:
        self.started()
        self.store_one()
        self.stop()
        (file,) = [each for each in self.path.iterdir() if each.name[0] == "0"]
        content = file.read_bytes()
        file.write_bytes(content[:60] + (2).to_bytes(4, "big") + content[64:])
        self.assertIn("format version 2", self.refused())
        file.write_bytes(content)
        self.assertEqual(len(self.read(self.started()["kafka"])), 1)

    def test_files_of_others_are_left_alone(self) -> None:
        self.path.mkdir()
        (self.path / "notes.txt").write_text("mine")
        self.started()
        self.store_one()
        self.assertEqual((self.path / "notes.txt").read_text(), "mine")

    def test_a_path_with_special_characters_is_read(self) -> None:
        self.maker = SpoolMaker(Folder(str(self.path / "a b?c#d%20e")), LIMITS)
        self.started()
        self.store_one()
        self.stop()
        self.assertEqual(len(self.read(self.started()["kafka"])), 1)

    def test_no_descriptor_is_left_open(self) -> None:
        self.started()
        self.stop()
        before = len(os.listdir("/proc/self/fd"))
        self.started()
        for _ in range(40):
            self.store_one(padding_bytes=10_000)
        self.read(1)
        self.stop()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_a_folder_that_was_removed_takes_nothing_until_it_is_back(self) -> None:
        cursor = self.started()["kafka"]
        self.store_one()
        away = self.path.with_name("away")
        self.path.rename(away)
        self.assertIn("was removed", str(self.fail_to_store()))
        self.path.mkdir()  # as when the disk is not mounted any more
        self.maker.clock.advance(1)
        self.assertIn("not the folder that was locked", str(self.fail_to_store()))
        self.assertIsInstance(self.successResultOf(self.spool.read("kafka", cursor, 10, 10**9)), StorageError)
        self.assertEqual(list(self.path.iterdir()), [])
        self.path.rmdir()
        away.rename(self.path)
        self.maker.clock.advance(1)
        self.store_one()
        self.assertGreaterEqual(len(self.read(cursor)), 2)
        self.assertEqual(self.maker.metrics.value("spool_damaged_total", "kafka"), 0)

    def test_a_file_that_was_removed_takes_no_more_records(self) -> None:
        self.started()
        self.store_one()
        (file,) = [each for each in self.path.iterdir() if each.name[0] == "0" and each.suffix == ".spool"]
        file.unlink()
        self.assertIn("was removed", str(self.fail_to_store()))
        self.maker.clock.advance(1)
        self.store_one()

    def test_a_process_without_descriptors_stores_nothing_and_recovers(self) -> None:
        cursor = self.started()["kafka"]
        self.store_one(padding_bytes=30_000)
        taken = []
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            failure = None
            while failure is None:
                failure = self.outcome(30_000)
            for _ in range(10):
                self.successResultOf(self.spool.read("kafka", cursor, 1, 1))
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.maker.clock.advance(1)
        self.store_one()
        self.assertGreaterEqual(len(self.read(cursor)), 2)
        self.assertEqual(self.maker.metrics.value("spool_damaged_total", "kafka"), 0)

    def test_many_files_are_opened_and_removed(self) -> None:
        self.path.mkdir()
        self.started()
        self.store_one()
        self.stop()
        (file,) = [each for each in self.path.iterdir() if each.name[0] == "0"]
        for number in range(2, 2002):
            os.link(file, self.path / f"{number:020d}{file.name[20:]}")
        synced: list[Folder] = []
        self.patch(Folder, "sync", lambda folder: synced.append(folder))
        self.started()
        for sink in SINKS:
            self.spool.settle(sink, self.spool.state().next_position)
        self.maker.clock.advance(2)
        self.assertEqual([each for each in self.path.iterdir() if each.name[0] == "0"], [])
        self.assertLess(len(synced), 10)

    def outcome(self, padding_bytes: int = 0) -> StorageError | None:
        appended = self.spool.append([spooled_record(1, "V", padding_bytes)])
        return appended if isinstance(appended, StorageError) else self.successResultOf(appended.synced)

    def fail_to_store(self) -> StorageError:
        failure = self.outcome()
        assert failure is not None
        return failure

    def store_one(self, padding_bytes: int = 0) -> None:
        appended = self.spool.append([spooled_record(1, "V", padding_bytes)])
        self.assertIsNone(self.successResultOf(appended.synced))


class GoldenTests(FolderCase):
    """Files of format version 1 are read for ever. They are never written again: another version gets files of its own."""

    def test_files_of_version_1_are_read(self) -> None:
        shutil.copytree(GOLDEN / "v1", self.path)
        cursors = self.started()
        self.assertEqual(cursors, {"kafka": 2, "redis": 1})
        records = golden_records()
        self.assertEqual(list(map(all_of, self.read(1))), list(map(all_of, records)))
        self.assertEqual(list(map(all_of, self.read(cursors["kafka"]))), list(map(all_of, records[1:])))
        self.assertEqual(self.maker.log.entries, [])
