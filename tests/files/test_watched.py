"""Detection of changed files."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from fleetgw.adapters.files.watched import WatchedFiles


class WatchedFilesTests(TestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file, self.other = self.folder / "key", self.folder / "crt"
        for file in (self.file, self.other):
            file.write_bytes(b"old")
        self.watched = WatchedFiles([self.file, self.other])

    def test_nothing_has_changed(self) -> None:
        self.assertEqual(self.watched.changed(), [])

    def test_each_change_is_reported_once(self) -> None:
        before = self.file.stat()

        def written_within_the_clocks_tick() -> None:
            self.file.write_bytes(b"longer")
            os.utime(self.file, ns=(before.st_atime_ns, before.st_mtime_ns))

        def replaced_by_one_of_the_same_age_and_size() -> None:
            new = self.folder / "new"
            new.write_bytes(b"longer")
            os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
            new.rename(self.file)

        def touched() -> None:
            os.utime(self.file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))

        def removed() -> None:
            self.file.unlink()

        def come() -> None:
            self.file.write_bytes(b"longer")

        for change in (
            written_within_the_clocks_tick,
            replaced_by_one_of_the_same_age_and_size,
            touched,
            removed,
            come,
        ):
            with self.subTest(change.__name__):
                change()
                self.assertEqual(self.watched.changed(), [self.file])
                self.assertEqual(self.watched.changed(), [])

    def test_a_folder_behind_a_link_that_is_exchanged(self) -> None:
        """Like Kubernetes' secrets."""
        for name in ("one", "two"):
            (self.folder / name).mkdir()
            (self.folder / name / "key").write_bytes(b"same")
            os.utime(self.folder / name / "key", ns=(0, 0))
        link = self.folder / "data"
        link.symlink_to("one")
        watched = WatchedFiles([link / "key"])
        (self.folder / "next").symlink_to("two")
        (self.folder / "next").rename(link)
        self.assertEqual(watched.changed(), [link / "key"])

    def test_a_change_is_reported_again_when_the_files_cannot_be_read(self) -> None:
        self.other.unlink()
        with self.assertRaises(ValueError), self.watched.reading_changed() as changed:
            self.assertEqual(changed, [self.other])
            raise ValueError
        with self.watched.reading_changed() as changed:
            self.assertEqual(changed, [self.other])
        with self.watched.reading_changed() as changed:
            self.assertEqual(changed, [])

    def test_an_unusable_file_is_reported_again_even_if_it_is_missing(self) -> None:
        self.watched.report_again([self.other])
        self.assertEqual(self.watched.changed(), [self.other])
        self.other.unlink()
        self.assertEqual(self.watched.changed(), [self.other])
        self.watched.report_again([self.other])
        self.assertEqual(self.watched.changed(), [self.other])
        self.assertEqual(self.watched.changed(), [])
