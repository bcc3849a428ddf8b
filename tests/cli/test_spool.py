"""Output of ``fleetgw spool``, for the golden files and beside a process that writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import TestCase, mock

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.spool import inspection
from fleetgw.adapters.spool.database import checkpoint, close, create, open_for_reading, open_for_writing
from fleetgw.adapters.spool.folder import Folder
from fleetgw.adapters.spool.inspection import inspect, inspect_to_end, read_cursors, read_file
from fleetgw.adapters.spool.record_files import parse_name
from tests.cli.test_query import in_zone
from tests.support.command_line import run
from tests.support.spool_case import SpoolMaker, all_of, spooled_record
from tests.support.spool_golden import GOLDEN, golden_records
from tests.support.spool_process import LIMITS, SINKS

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = """
 sink    cursor   backlog records
 ────────────────────────────────
 kafka        2                 2
 redis        1                 3


 file                                        made at                   size bytes   records
 ──────────────────────────────────────────────────────────────────────────────────────────
 00000000000000000001-01700000000000.spool   2023-11-14 22:13:20.000         8192         1
 00000000000000000002-01700000000000.spool   2023-11-14 22:13:20.000        12344         2
"""


class SpoolCase(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "spool"
        shutil.copytree(GOLDEN / "v1", self.path)

    def output(self, *arguments: object, status: int = 0) -> str:
        with in_zone("UTC"):
            got, out, error = run("spool", *arguments, "--path", self.path)
        self.assertEqual(got, status, out + error)
        return out

    def json(self, *arguments: object, status: int = 0) -> Any:  # JSON
        return json.loads(self.output(*arguments, "--json", status=status))

    def flip(self, file: Path, what: bytes) -> None:
        content = bytearray(file.read_bytes())
        content[content.index(what)] ^= 1
        file.write_bytes(content)


class StatusTests(SpoolCase):
    def test_a_table(self) -> None:
        lines = [line.rstrip() for line in self.output("status").splitlines()]
        expected = STATUS.strip("\n").splitlines()
        start = lines.index(expected[0])
        self.assertEqual([line for line in lines[start:] if line], [line for line in expected if line])

    def test_json(self) -> None:
        status = self.json("status")
        self.assertEqual(status["sinks"][0], {"sink": "kafka", "cursor": 2, "backlog_records": 2})
        self.assertEqual((status["records"], status["size_bytes"], status["gateway_runs"]), (3, 20536, False))
        self.assertEqual([each["records"] for each in status["files"]], [1, 2])

    def test_damaged_files_are_counted(self) -> None:
        (self.path / "00000000000000000009-01700000000000.spool.damaged").write_bytes(b"12345")
        status = self.json("status")
        self.assertEqual((status["damaged_files"], status["damaged_bytes"]), (1, 5))

    def test_an_empty_folder(self) -> None:
        shutil.rmtree(self.path)
        self.path.mkdir()
        status = self.json("status")
        self.assertEqual((status["records"], status["files"], status["sinks"]), (0, [], []))
        self.assertIn("there are no files of records", self.output("status"))


class VerifyTests(SpoolCase):
    def test_files_that_are_as_they_were_written(self) -> None:
        self.assertIn("read 3 records in 2 files: everything is as it was written", self.output("verify"))
        self.assertEqual((self.json("verify")["damaged"], self.json("verify")["damaged_records"]), (False, 0))

    def test_a_flipped_bit_is_told_by_file_and_record(self) -> None:
        self.flip(self.path / "00000000000000000001-01700000000000.spool", b"tx-1")
        first, second = self.json("verify", status=1)["files"]
        self.assertEqual((first["damaged_records"], first["damaged_positions"]), (1, [[1, 1]]))
        self.assertEqual((second["damaged_records"], second["records"]), (0, 2))
        self.assertIn("read 2 records in 2 files: some of it is damaged", self.output("verify", status=1))

    def test_a_file_that_is_none(self) -> None:
        (self.path / "00000000000000000001-01700000000000.spool").write_bytes(b"x" * 8192)
        first, _ = self.json("verify", status=1)["files"]
        self.assertIn("is no SQLite file", first["error"])

    def test_damaged_cursors(self) -> None:
        (self.path / "cursors-00000002.spool").write_bytes(b"x" * 8192)
        self.assertTrue(self.json("verify", status=1)["cursors_damaged"])

    def test_cursors_that_are_written_while_they_are_copied_are_copied_again(self) -> None:
        copy_file, torn = inspection._copy_file, ["cursors-00000002.spool"]

        def copy(source: str, target: str) -> None:
            copy_file(source, target)
            if Path(target).name in torn:
                torn.remove(Path(target).name)
                Path(target).write_bytes(b"x" * 8192)

        with mock.patch.object(inspection, "_copy_file", copy):
            self.assertFalse(self.json("verify")["cursors_damaged"])
        self.assertEqual(torn, [])

    def test_nothing_changes_in_the_folder(self) -> None:
        self.flip(self.path / "00000000000000000001-01700000000000.spool", b"tx-1")
        before = {each.name: (each.stat().st_mtime_ns, each.stat().st_size) for each in self.path.iterdir()}
        self.output("verify", status=1)
        self.output("status")
        after = {each.name: (each.stat().st_mtime_ns, each.stat().st_size) for each in self.path.iterdir()}
        self.assertEqual(after, before)


class ReplayTests(SynchronousTestCase):
    """Without a gateway."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = folder.name + "/spool"
        self.maker = SpoolMaker(Folder(self.path), LIMITS)
        self.start()
        self.spool.append([spooled_record(number, "V") for number in range(10)])
        self.spool.settle("kafka", 8)
        self.successResultOf(self.spool.stop())

    def start(self) -> int:
        self.spool = self.maker.make()
        cursors = self.successResultOf(self.spool.start({"kafka": ("V",), "redis": ("custom",)}))
        return cursors["kafka"]

    def replay(self, since: str, *arguments: str) -> Any:  # JSON
        status, out, error = run("spool", "replay", "--since", since, "--json", "--path", self.path, *arguments)
        self.assertEqual(status, 0, error)
        return json.loads(out)

    def test_the_cursor_is_moved_back_to_the_first_record_since_then(self) -> None:
        rows = self.replay("1970-01-01T00:00:00.004Z", "--sink", "kafka")
        self.assertEqual(rows, [{"sink": "kafka", "cursor": 5, "records": 3}])
        self.assertEqual(self.start(), 5)
        self.successResultOf(self.spool.stop())

    def test_what_is_not_settled_is_not_counted(self) -> None:
        self.assertEqual(self.replay("1970-01-01T00:00:00.008Z"), [])
        self.assertEqual(self.start(), 8)
        self.successResultOf(self.spool.stop())

    def test_sinks_that_have_nothing_settled_are_left_alone(self) -> None:
        self.assertEqual([row["sink"] for row in self.replay("1970-01-01T00:00:00Z")], ["kafka"])

    def test_a_folder_in_use_is_refused(self) -> None:
        self.start()
        status, _, error = run("spool", "replay", "--since", "1h", "--path", self.path)
        self.assertEqual(status, 1)
        self.assertIn("is in use by another process; give each process a folder of its own", error)
        self.successResultOf(self.spool.stop())

    def test_an_unknown_sink(self) -> None:
        status, _, error = run("spool", "replay", "--since", "1h", "--sink", "kafak", "--path", self.path)
        self.assertEqual(status, 2)
        self.assertIn('the spool has no cursor of a sink "kafak"; did you mean "kafka"?', error)


class BesideAWriterTests(TestCase):
    """A process appends and settles all the time."""

    def test_files_are_read_while_they_are_written(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = folder.name + "/spool"
        command = [sys.executable, "-m", "tests.support.spool_process", path, "0", "--settle"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None  # it was asked for
            try:
                for _ in range(20):
                    for _ in range(30):
                        process.stdout.readline()
                    self.check(path)
                self.assertIsNone(process.poll())
            finally:
                process.kill()
                process.stdout.read()
        found = inspect(path)
        self.assertGreater(found.files[0].first_position, 1, "no file was removed meanwhile")

    def check(self, path: str) -> None:
        found = inspect(path)
        position = 0
        for file in found.files:
            positions: list[int] = []
            for contents in read_file(found.folder, file):
                self.assertEqual([*contents.damaged], [])
                positions += contents.positions
                position = max([position, *contents.positions])
                for record in contents.records:
                    number = record.received_at_ms
                    self.assertEqual(all_of(record), all_of(spooled_record(number, "V", number % 700)))
            if positions:  # otherwise the file was removed meanwhile
                self.assertEqual(positions, [*range(file.first_position, positions[-1] + 1)])
        cursors = read_cursors(path)
        self.assertFalse(cursors.damaged)
        self.assertLessEqual(set(cursors.positions), set(SINKS))
        self.assertGreater(inspect_to_end(path).files[-1].end, position)


class NewFileTests(TestCase):
    """A writer begins a file while it is looked at."""

    has_stored = False

    def setUp(self) -> None:
        path = self.enterContext(tempfile.TemporaryDirectory())
        sealed = self.sealed_spool(path + "/sealed")
        self.name = next(name for name in sealed.names() if parse_name(name) is not None)
        with open(sealed.path_of(self.name), "rb") as file:
            self.content = file.read()
        original = open_for_reading(sealed, self.name)
        self.blocks = original.execute("SELECT first, body FROM block").fetchall()
        close(original)
        self.folder = Folder(path + "/new")
        self.folder.open()
        self.addCleanup(self.folder.close)
        create(self.folder, self.name)
        self.connection = open_for_writing(self.folder, self.name)
        self.addCleanup(close, self.connection)

    def sealed_spool(self, path: str) -> Folder:
        """A spool with one file of two records, which take more than a page."""
        test = SynchronousTestCase()
        spool = SpoolMaker(Folder(path), LIMITS).make()
        test.successResultOf(spool.start(SINKS))
        spool.append([spooled_record(number, padding_bytes=5000) for number in range(2)])
        test.successResultOf(spool.stop())
        return Folder(path)

    def store(self) -> None:
        self.has_stored = True
        self.connection.executemany("INSERT INTO block VALUES(?, ?)", self.blocks)

    def seal(self) -> None:
        self.store()
        checkpoint(self.connection)
        close(self.connection)

    def read(self) -> int:
        """Number of records, none of them damaged."""
        found = inspect(self.folder.path)
        parts = [part for file in found.files for part in read_file(found.folder, file)]
        self.assertEqual([each for part in parts for each in part.damaged], [])
        end = inspect_to_end(self.folder.path).files[-1].end
        self.assertEqual(end, 3 if self.has_stored else 1)
        return sum([len(part.records) for part in parts])

    def reading_and(self, name: str, change: Callable[[], None]) -> int:
        """Number of records that are read while, after the first call of a step of the inspection, the file changes."""
        original, changes = getattr(inspection, name), [change]

        def step(*arguments: Any, **options: Any) -> Any:  # of any step
            result = original(*arguments, **options)
            while changes:
                changes.pop()()
            return result

        with mock.patch.object(inspection, name, step):
            return self.read()

    def test_nothing_is_in_it(self) -> None:
        self.assertEqual(self.read(), 0)

    def test_records_come_after_the_look_for_a_log(self) -> None:
        self.assertEqual(self.reading_and("_copy", self.store), 0)
        self.assertEqual(self.read(), 2)

    def test_records_come_after_the_look_for_blocks(self) -> None:
        self.assertEqual(self.reading_and("has_no_blocks", self.store), 0)
        self.assertEqual(self.read(), 2)

    def test_it_is_sealed_after_the_look_for_a_log(self) -> None:
        self.assertEqual(self.reading_and("_copy", self.seal), 2)

    def test_it_is_being_sealed_after_the_look_for_a_log(self) -> None:
        def being_sealed() -> None:
            self.store()
            with open(self.folder.path_of(self.name), "r+b") as file:
                os.pwrite(file.fileno(), self.content[4096:8192], 4096)  # the page after it comes later

        self.assertEqual(self.reading_and("_copy", being_sealed), 2)


class GoldenTests(SpoolCase):
    def test_records_are_read_as_they_were_written(self) -> None:
        found = inspect(str(self.path))
        records = [record for file in found.files for part in read_file(found.folder, file) for record in part.records]
        self.assertEqual([all_of(each) for each in records], [all_of(each) for each in golden_records()])
