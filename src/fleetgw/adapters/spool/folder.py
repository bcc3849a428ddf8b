"""The folder of a spool: its files, its lock, and what makes a change of its entries durable."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK_NAME = "lock"


class Folder:
    """A folder on disk. The methods may be called on any thread, and raise ``OSError``.

    :ivar vfs: SQLite's name of the file system that holds the folder; empty for the operating system's.
    :param key: the configuration key that names the folder, for errors.
    """

    vfs = ""

    def __init__(self, path: str, key: str = "spool.path") -> None:
        self.path = os.path.abspath(path)
        self.key = key
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folder where there is none, and lock it until ``close``, or the end of the process.

        :raises ConfigurationError: that cannot be done.
        """
        try:
            self._make(self.path)
            lock = os.open(self.path_of(LOCK_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileExistsError, NotADirectoryError) as error:
            raise self.problem("is not a folder", "name a folder") from error
        except OSError as error:
            raise self.problem(f"cannot be used: {error.strerror}", "name a folder that may be written to") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                what = f"cannot be locked: {error.strerror}"
                raise self.problem(what, "name a folder of a file system that has locks") from error
            raise self.problem("is in use by another process", "give each process a folder of its own") from error
        self._lock = lock

    def _make(self, path: str) -> None:
        """Make a folder and those above it, where there are none, for good."""
        if not os.path.isdir(path):
            above = os.path.dirname(path)
            self._make(above)
            os.mkdir(path, mode=0o700)
            _sync(above)

    def check(self) -> None:
        """See that the folder is still the one that was locked.

        :raises OSError: it was removed, replaced or unmounted meanwhile: files in it would not be found again.
        """
        assert self._lock is not None  # noqa: S101  between open and close
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self.path_of(LOCK_NAME)), os.fstat(self._lock)):
                return
        raise OSError(errno.ESTALE, "not the folder that was locked at the start: put it back, or restart", self.path)

    def problem(self, what: str, fix: str) -> ConfigurationError:
        """An error that names the folder."""
        return ConfigurationError([Problem(self.key, f"{self.path} {what}", fix)])

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def path_of(self, name: str) -> str:
        """The path of a file, for SQLite."""
        return os.path.join(self.path, name)

    def names(self) -> Sequence[str]:
        """The names of all entries, sorted."""
        return sorted(os.listdir(self.path))

    def size_bytes(self, name: str) -> int:
        """The size of a file, 0 where there is none."""
        with suppress(FileNotFoundError):
            return os.stat(self.path_of(name)).st_size
        return 0

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """A part of a file; less where the file ends."""
        with open(self.path_of(name), "rb", buffering=0) as file:
            return os.pread(file.fileno(), size_bytes, offset)

    def reserve(self, name: str, size_bytes: int) -> None:
        """Make a file that takes room on the disk, or none if there is no room."""
        descriptor = os.open(self.path_of(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except OSError:
            self.remove(name)
            raise
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> bool:
        """Unlink a file; returns whether there was one."""
        try:
            os.unlink(self.path_of(name))
        except FileNotFoundError:
            return False
        return True

    def rename(self, name: str, new_name: str) -> None:
        """Rename a file."""
        os.rename(self.path_of(name), self.path_of(new_name))

    def link(self, name: str, new_name: str) -> None:
        """Give a file another name, unless that is there already or the file is not."""
        with suppress(FileExistsError, FileNotFoundError):
            os.link(self.path_of(name), self.path_of(new_name))

    def sync(self) -> None:
        """Make durable which files there are, and their names."""
        _sync(self.path)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
