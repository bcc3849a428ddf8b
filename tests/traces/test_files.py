"""Places for the lines of traces: both keep the same; a folder also survives what is wrong in it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest import TestCase
from unittest.mock import patch

from fleetgw.adapters.traces.files import FilesInFolder, FilesInMemory, Segment, TraceDescription

if TYPE_CHECKING:
    from fleetgw.adapters.traces.files import TraceFiles

DESCRIPTION = TraceDescription(1, "5YJ3E1EA7KF000001", "", 1000, 2000)
LINES = [b'{"n": %d, "stage": "x"}\n' % number for number in range(1, 6)]


class Contract:
    files: TraceFiles

    def test_segments(self: Contract | TestCase) -> None:
        assert isinstance(self, Contract) and isinstance(self, TestCase)  # noqa: PT018  for mypy
        files = self.files
        files.describe(DESCRIPTION)
        files.append(1, 1, LINES[0])
        files.append(1, 1, LINES[1])
        files.append(1, 3, LINES[2])
        files.append(2, 1, LINES[0])
        self.assertEqual(files.read(1, 1), LINES[0] + LINES[1])
        self.assertEqual(files.read(1, 9), b"")
        files.remove_segment(1, 1)
        files.remove_segment(1, 1)
        self.assertEqual((files.read(1, 1), files.read(1, 3)), (b"", LINES[2]))
        files.remove(1)
        files.remove(1)
        self.assertEqual((files.read(1, 3), files.read(2, 1)), (b"", LINES[0]))


class MemoryTests(Contract, TestCase):
    def setUp(self) -> None:
        self.files = FilesInMemory()


class FolderTests(Contract, TestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "deep" / "traces"
        self.files = FilesInFolder(self.folder)

    def test_what_is_found_at_the_start(self) -> None:
        self.assertEqual(self.files.load(), [])
        self.files.describe(DESCRIPTION)
        self.files.append(1, 1, LINES[0] + LINES[1])
        self.files.append(1, 3, LINES[2] + b'{"n": 4, "stage"')
        (found,) = self.files.load()
        self.assertEqual(found.description, DESCRIPTION)
        self.assertEqual(found.segments, [Segment(1, len(LINES[0] + LINES[1])), Segment(3, len(LINES[2]))])
        self.assertEqual(found.next_number, 4)
        self.assertEqual(self.files.read(1, 3), LINES[2], "the line that was written in part is gone")

    def test_ten_segments_are_in_the_order_of_their_lines(self) -> None:
        self.files.describe(DESCRIPTION)
        for first in (2, 10, 100, 9):
            self.files.append(1, first, LINES[0])
        self.assertEqual([segment.first for segment in self.files.load()[0].segments], [2, 9, 10, 100])

    def test_files_that_are_no_trace_are_left_alone(self) -> None:
        self.files.describe(DESCRIPTION)
        for name, content in {
            "2.json": "[]",
            "3.json": '{"id": 3}',
            "4.json": '{"id": 5, "vin": "", "ip": "", "started_ms": 1, "until_ms": 2}',
            "5.json": '{"id": 5, "vin": "", "ip": "", "started_ms": 1, "until_ms": "x"}',
            "6.json": "\x00" * 100,
            "9.json": "[" * 4000,
            "10.json": '{"id": 10, "vin": ["x"], "ip": "", "started_ms": 1, "until_ms": 2}',
            "11.json": '{"id": 11, "vin": "", "ip": null, "started_ms": 1, "until_ms": 2}',
            "12.json": '{"id": 12, "vin": "", "ip": "", "started_ms": "x", "until_ms": 2}',
            "13.json": '{"id": 13, "vin": "", "ip": "", "started_ms": 1, "until_ms": 1%s}' % ("0" * 40),
            "14.json": '{"id": 14, "vin": "", "ip": "", "started_ms": true, "until_ms": 2}',
            "7.1.jsonl": "of no trace\n",
            "1.1.jsonl": "not written by us\n\n",
            "0.json": "{}",
            "notes.txt": "",
        }.items():
            (self.folder / name).write_text(content)
        (self.folder / "8.json").mkdir()
        (found,) = self.files.load()
        self.assertEqual((found.description, found.next_number), (DESCRIPTION, 1))
        self.files.remove(1)
        self.assertTrue((self.folder / "7.1.jsonl").exists())

    def test_a_segment_that_cannot_be_read_leaves_the_others(self) -> None:
        self.files.describe(DESCRIPTION)
        self.files.append(1, 1, LINES[0])
        self.files.append(1, 3, LINES[2])
        (self.folder / "1.2.jsonl").mkdir()
        (found,) = self.files.load()
        self.assertEqual([(each.first, each.is_readable) for each in found.segments], [(1, True), (2, False), (3, True)])
        self.assertIn("directory", str(found.fault))
        (self.folder / "1.9.jsonl").mkdir()
        (found,) = self.files.load()
        self.assertGreater(found.next_number, 9 + found.segments[-1].size_bytes, "no number is used again")

    def test_an_append_that_fails_leaves_nothing(self) -> None:
        self.files.describe(DESCRIPTION)
        self.files.append(1, 1, LINES[0])
        real = os.write

        def write(descriptor: int, data: bytes) -> int:
            if len(data) > 10:
                return real(descriptor, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        with patch("os.write", write), self.assertRaises(OSError):
            self.files.append(1, 1, LINES[1])
        self.files.append(1, 1, LINES[2])
        self.assertEqual(self.files.read(1, 1), LINES[0] + LINES[2])
