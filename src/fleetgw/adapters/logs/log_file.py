"""A log file that this process rotates by size, and that other programs may rotate as well."""

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
"""Permissions of a new file, before the umask: it may contain records."""

CHECK_INTERVAL_S = 1.0
"""Shortest time between two checks whether the path names another file; checks happen only on writes."""


class AppendedLogFile(LogFile):  # its methods are not typed
    """Appends to the file that has the path, whatever other programs do to it.

    After logrotate's ``copytruncate`` it continues at the beginning of the file; after ``create`` it changes to the new
    file, within ``CHECK_INTERVAL_S`` or upon ``reopen``. An existing file keeps its permissions.
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
        self._check_at_s = self.seconds() + CHECK_INTERVAL_S

    def reopen(self) -> None:
        """Change to the file that has the path now; create it when there is none.

        :raises OSError: it cannot be opened; the old file stays in use.
        """
        file = self._opened()
        self._file.close()
        self._use(file)

    def write(self, data: bytes) -> None:
        """Append ``data`` completely or not at all.

        :raises OSError: the disk is full.
        """
        if self.seconds() >= self._check_at_s:
            self._check()
        if self.shouldRotate():
            self.rotate()
        written = self._file.write(data)
        if written < len(data):
            file = self._file.fileno()
            os.ftruncate(file, os.fstat(file).st_size - written)
            raise OSError(errno.ENOSPC, "no room for the line", self.path)
        self.size += written

    def _check(self) -> None:
        """Reopen when the path names another file; notice a truncation."""
        self._check_at_s = self.seconds() + CHECK_INTERVAL_S
        ours = os.fstat(self._file.fileno())
        self.size = ours.st_size
        named = None
        with suppress(OSError):
            named = os.stat(self.path)
        if named is None or not os.path.samestat(named, ours):
            with suppress(OSError):  # retried at the next check; until then the old file stays in use
                self.reopen()
