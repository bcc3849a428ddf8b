"""A log file that this process rotates by length, and that others may rotate as well."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, cast

from twisted.python.logfile import LogFile

if TYPE_CHECKING:
    from collections.abc import Callable

MODE = 0o640
"""Permissions of a file that is made, less what the umask takes away: records may be in it."""

LOOK_EVERY_S = 1.0
"""How often the name is looked at for another file behind it, at most; only when something is written."""


class AppendedLogFile(LogFile):  # its methods are not typed
    """Appends whatever others do to the file, and follows its name.

    After logrotate's ``copytruncate`` it goes on at the beginning; after ``create`` it changes to the new file, within a
    second or when it is told to by ``reopen``. A file that is there keeps its permissions.
    """

    _file: BinaryIO
    path: str
    size: int
    seconds: Callable[[], float] = staticmethod(time.monotonic)

    def _openFile(self) -> None:
        self._use(self._opened())

    def _opened(self) -> BinaryIO:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, MODE)

        return cast("BinaryIO", open(self.path, "ab", 0, opener=opener))

    def _use(self, file: BinaryIO) -> None:
        self.closed = False
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        self._look_at_s = self.seconds() + LOOK_EVERY_S

    def reopen(self) -> None:
        """Write to the file that has the name now, which is made when there is none.

        :raises OSError: it cannot be opened; the old file stays in use.
        """
        file = self._opened()
        self._file.close()
        self._use(file)

    def write(self, data: bytes) -> None:
        """Append ``data``, whole or not at all.

        :raises OSError: the disk is full.
        """
        if self.seconds() >= self._look_at_s:
            self._look()
        if self.shouldRotate():
            self.rotate()
        written = self._file.write(data)
        if written < len(data):
            file = self._file.fileno()
            os.ftruncate(file, os.fstat(file).st_size - written)
            raise OSError(errno.ENOSPC, "no room for the line", self.path)
        self.size += written

    def _look(self) -> None:
        """Follow the name, and see whether the file has been truncated."""
        self._look_at_s = self.seconds() + LOOK_EVERY_S
        ours = os.fstat(self._file.fileno())
        self.size = ours.st_size
        named = None
        with suppress(OSError):
            named = os.stat(self.path)
        if named is None or not os.path.samestat(named, ours):
            with suppress(OSError):  # not now, perhaps at the next look; until then the old file is better than none
                self.reopen()
