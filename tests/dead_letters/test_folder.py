"""Dead letters in a folder of the machine: its bounds, locks and names, and files of earlier versions."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.dead_letters.stores import DeadLetterStores, folder_name, sink_of
from fleetgw.domain.dead_letter import DeadLetter
from fleetgw.domain.errors import ConfigurationError, SpoolFull
from fleetgw.domain.ports import Page
from tests.support.dead_letters_contract import NOW_MS
from tests.support.dead_letters_golden import GOLDEN, REASON, SINKS, make_stores
from tests.support.spool_case import all_of, spooled_record
from tests.support.spool_golden import golden_records


class FolderCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "letters"

    def start(self, *sinks: str, max_bytes: int = 1_000_000) -> DeadLetterStores:
        stores = make_stores(str(self.path), sinks, max_bytes)
        self.successResultOf(stores.start())
        return stores

    def stop(self, stores: DeadLetterStores) -> None:
        self.successResultOf(stores.stop())

    def store(self, stores: DeadLetterStores, sink: str, number: int, padding_bytes: int = 0) -> object:
        return self.successResultOf(stores.sinks[sink].store(spooled_record(number, padding_bytes=padding_bytes), "r"))

    def letters(self, stores: DeadLetterStores, sink: str, position: int = 1) -> dict[int, DeadLetter]:
        page = self.successResultOf(stores.sinks[sink].read(position, 1000, 10**9))
        assert isinstance(page, Page)
        pairs = zip(page.positions, page.records, strict=True)
        letters = {position: letter for position, letter in pairs if isinstance(letter, DeadLetter)}
        return letters | (self.letters(stores, sink, page.next_position) if page.next_position > position else {})

    def refused(self, *sinks: str) -> str:
        stores = make_stores(str(self.path), sinks or SINKS)
        error = self.failureResultOf(stores.start(), ConfigurationError).value
        self.stop(stores)
        self.assertEqual({problem.path for problem in error.problems}, {"dead_letters.path"})
        return str(error.problems[0].what)


class StoresTests(FolderCase):
    def test_each_sink_has_a_folder_of_its_own(self) -> None:
        stores = self.start("kafka", "redis")
        self.store(stores, "kafka", 1)
        self.assertEqual((len(self.letters(stores, "kafka")), len(self.letters(stores, "redis"))), (1, 0))
        self.assertEqual(sorted(each.name for each in self.path.iterdir()), ["kafka", "lock", "redis"])
        self.assertEqual({each.stat().st_mode & 0o777 for each in self.path.iterdir() if each.is_dir()}, {0o700})
        self.stop(stores)

    def test_names_of_sinks_are_names_of_folders(self) -> None:
        for sink in ("kafka", "a/b", "..", ".", ".hidden", "ü b", "%2F", "s\udcff", "a.b"):
            name = folder_name(sink)
            self.assertNotIn("/", name)
            self.assertNotEqual(name[0], ".")
            self.assertEqual(sink_of(name), sink)

    def test_a_sink_without_a_route_keeps_its_letters(self) -> None:
        stores = self.start("kafka")
        self.store(stores, "kafka", 1)
        self.stop(stores)
        (self.path / "lost+found").mkdir()
        stores = self.start("redis")
        self.assertEqual(set(stores.sinks), {"kafka", "redis"})
        self.assertEqual(len(self.letters(stores, "kafka")), 1)
        self.stop(stores)

    def test_one_limit_holds_for_all_sinks(self) -> None:
        stores = self.start("kafka", "redis")
        number = 0
        while (failure := self.store(stores, "kafka", number, 8000)) is None:
            number += 1
        self.assertIsInstance(failure, SpoolFull)
        self.assertIsInstance(self.store(stores, "redis", 1), SpoolFull)
        self.successResultOf(stores.sinks["kafka"].remove([range(1, number)]))
        self.assertIsNone(self.store(stores, "redis", 1))
        self.stop(stores)

    def test_what_is_removed_is_gone_from_the_disk(self) -> None:
        stores = self.start("kafka")
        for number in range(3):
            self.store(stores, "kafka", number)
        content = b"1:" + bytes([1]) * 100
        self.successResultOf(stores.sinks["kafka"].store(spooled_record(1, padding_bytes=100), "r"))
        self.assertTrue(self.is_on_disk(content))
        self.successResultOf(stores.sinks["kafka"].remove([range(1, 5)]))
        self.assertFalse(self.is_on_disk(content))
        self.stop(stores)

    def is_on_disk(self, content: bytes) -> bool:
        return any(content in each.read_bytes() for each in self.path.rglob("*") if each.is_file())

    def test_a_note_of_removed_letters_without_its_files_removes_nothing(self) -> None:
        stores = self.start("kafka")
        for number in range(3):
            self.store(stores, "kafka", number)
        self.successResultOf(stores.sinks["kafka"].remove([range(1, 4)]))
        self.stop(stores)
        for file in (self.path / "kafka").glob("*.spool*"):
            file.unlink()
        for _ in range(2):
            stores = self.start("kafka")
            self.store(stores, "kafka", 9)
            self.stop(stores)
        stores = self.start("kafka")
        self.assertEqual(len(self.letters(stores, "kafka")), 2)
        self.stop(stores)

    def test_a_damaged_note_removes_nothing(self) -> None:
        stores = self.start("kafka")
        for number in range(3):
            self.store(stores, "kafka", number)
        self.successResultOf(stores.sinks["kafka"].remove([range(2, 3)]))
        self.stop(stores)
        for content in ("", "[[1,", '{"a": 1}', "[1]", "[" * 4000):
            (self.path / "kafka" / "removed.json").write_text(content)
            stores = self.start("kafka")
            self.assertEqual(len(self.letters(stores, "kafka")), 3)
            self.stop(stores)


class RefusedFolderTests(FolderCase):
    def test_a_folder_in_use(self) -> None:
        stores = self.start("kafka")
        self.assertIn("in use by another process", self.refused())
        self.store(stores, "kafka", 1)
        self.stop(stores)
        self.stop(self.start("kafka"))

    def test_a_file(self) -> None:
        self.path.write_text("mine")
        self.assertIn("is not a folder", self.refused())
        self.assertEqual(self.path.read_text(), "mine")

    def test_a_file_in_place_of_a_sinks_folder(self) -> None:
        self.path.mkdir()
        (self.path / "kafka").write_text("mine")
        self.assertIn("is not a folder", self.refused())

    def test_a_newer_version(self) -> None:
        stores = self.start("kafka")
        self.store(stores, "kafka", 1)
        self.stop(stores)
        (file,) = [each for each in (self.path / "kafka").iterdir() if each.name[0] == "0"]
        content = file.read_bytes()
        file.write_bytes(content[:60] + (2).to_bytes(4, "big") + content[64:])
        self.assertIn("format version 2", self.refused())
        self.assertEqual(len(file.read_bytes()), len(content))

    def test_nothing_is_left_open(self) -> None:
        self.stop(self.start("kafka"))
        before = len(os.listdir("/proc/self/fd"))
        (self.path / "redis").write_text("mine")
        self.refused("kafka", "redis")
        stores = make_stores(str(self.path))
        self.stop(stores)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class GoldenTests(FolderCase):
    def test_files_of_version_1_are_read(self) -> None:
        shutil.copytree(GOLDEN / "v1", self.path)
        stores = self.start()
        self.assertEqual(sorted(stores.sinks), sorted(SINKS))
        for sink in SINKS:
            letters = self.letters(stores, sink)
            self.assertEqual([*letters], [1, 3])
            first, _, third = golden_records()
            self.assertEqual([all_of(letter) for letter in letters.values()], [all_of(first), all_of(third)])
            self.assertEqual({(each.reason, each.dead_since_ms) for each in letters.values()}, {(REASON, NOW_MS)})
        self.stop(stores)
