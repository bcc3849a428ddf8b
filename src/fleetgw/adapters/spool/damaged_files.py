"""Damaged files of a spool, kept for people to look at until newer ones need their room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.spool.database import WAL
from fleetgw.adapters.spool.record_files import SUFFIX

if TYPE_CHECKING:
    from fleetgw.adapters.spool.folder import Folder

DAMAGED = ".damaged"


class DamagedFiles:
    """Files with names that end in ``.damaged``, which the spool never reads again. Runs in the archive's thread.

    A file and its write-ahead log belong together. The oldest ones are removed when all take more room than they may; the
    newest is kept whatever its size.

    :ivar size_bytes: of all of them together.
    :ivar kept: number of files kept aside since the start.
    :ivar removed: number of files removed since the start.
    """

    def __init__(self, folder: Folder, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self.size_bytes = self.kept = self.removed = 0

    def move(self, name: str) -> None:
        """Rename a file and its log.

        :raises OSError: that is not possible.
        """
        names = self._folder.names()
        for each in (name + WAL, name):
            if each in names:
                self._folder.rename(each, each + DAMAGED)
        self._folder.sync()
        self.kept += 1

    def link(self, name: str) -> bool:
        """Give a file and its log a second name, so that they outlive their removal; returns whether the disk did it."""
        try:
            for each in (name + WAL, name):
                self._folder.link(each, each + DAMAGED)
            self._folder.sync()
        except OSError:
            return False
        self.kept += 1
        self.limit()
        return True

    def limit(self) -> None:
        """Remove the oldest ones if they take too much room; what cannot be removed is left for the next time."""
        try:
            self._limit()
        except OSError:
            return

    def _limit(self) -> None:
        sizes: dict[str, int] = {}
        names: dict[str, list[str]] = {}
        for name in self._folder.names():
            if name.endswith(DAMAGED):
                file = name.partition(SUFFIX)[0]
                sizes[file] = sizes.get(file, 0) + self._folder.size_bytes(name)
                names.setdefault(file, []).append(name)
        self.size_bytes = sum(sizes.values())
        for file in sorted(sizes)[:-1]:  # by position; files of cursors, which are small, come last
            if self.size_bytes <= self._most_bytes:
                return
            for name in names[file]:
                self._folder.remove(name)
            self.size_bytes -= sizes[file]
            self.removed += 1
