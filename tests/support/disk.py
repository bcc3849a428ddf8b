"""A disk in memory that loses power: beneath SQLite as a file system (VFS), and beneath a spool as its folder.

What was written and not synced may survive a power cut in any subset: writes, in sectors of 512 bytes, and entries of the
folder. A failed sync says nothing about the writes before it, and a later one that succeeds does not either.
"""

from __future__ import annotations

import errno
import sys
from itertools import count
from typing import TYPE_CHECKING

import apsw
from attrs import Factory, define

from fleetgw.adapters.spool.database import close
from fleetgw.adapters.spool.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

SECTOR_BYTES = 512
_PREFIX = "/spool/"
_names = count()


@define(eq=False)
class Inode:
    """A file's content: as processes see it, as it is on the disk, and the changes in between."""

    content: bytearray = Factory(bytearray)
    durable: bytearray = Factory(bytearray)
    unsynced: list[tuple[int, bytes | None]] = Factory(list)  # offset and data, or size and None
    doubtful: list[tuple[int, bytes | None]] = Factory(list)  # of failed syncs: no later sync makes them durable

    def write(self, data: bytes, offset: int) -> None:
        """Write."""
        self.unsynced.append((offset, data))
        _apply(self.content, offset, data)

    def truncate(self, size_bytes: int) -> None:
        """Truncate."""
        self.unsynced.append((size_bytes, None))
        _apply(self.content, size_bytes, None)

    def sync(self) -> None:
        """Make changes durable."""
        for change in self.unsynced:
            _apply(self.durable, *change)
        self.unsynced.clear()

    def fail_to_sync(self) -> None:
        """Forget that there are changes, as Linux does."""
        self.doubtful += self.unsynced
        self.unsynced.clear()

    def lose_power(self, random: Random) -> None:
        """Keep some of the changes."""
        for offset, data in self.doubtful + self.unsynced:
            if data is None:
                if random.random() < 0.5:
                    _apply(self.durable, offset, None)
                continue
            whole = random.random()
            for start in range(0, len(data), SECTOR_BYTES):
                if whole < 0.3 or (whole < 0.8 and random.random() < 0.5):
                    _apply(self.durable, offset + start, data[start : start + SECTOR_BYTES])
        self.doubtful.clear()
        self.unsynced.clear()
        self.content = bytearray(self.durable)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


Entries = dict[str, Inode]


class Disk(apsw.VFS):
    """The disk; also SQLite's file system on it.

    :ivar failing_syncs: number of the next syncs that fail.
    :ivar is_full: writes that need room fail, unless files were removed meanwhile.
    :ivar is_broken: everything that changes something fails.
    :ivar broken_prefix: likewise for files whose names begin so; empty for none.
    :ivar steps_left: number of changes and syncs until the power is cut; None for never.
    :ivar unreadable: names of files that SQLite cannot read.
    :ivar steps: changes and syncs, in order, each with the name of the file; the folder's name is empty.
    """

    def __init__(self) -> None:
        self.name = f"disk-{next(_names)}"
        self.entries: Entries = {}
        self._durable_entries: Entries = {}
        self._unsynced: list[Callable[[Entries], object]] = []
        self.failing_syncs = 0
        self.is_full = False
        self._freed_bytes = 0
        self.is_broken = False
        self.broken_prefix = ""
        self.steps_left: int | None = None
        self.is_locked = False
        self.unreadable: set[str] = set()
        self.steps: list[tuple[str, str]] = []
        super().__init__(self.name, "")
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._hear_unraisable

    def close(self) -> None:
        """Forget the disk."""
        self.end_process()
        sys.unraisablehook = self._hook
        self.unregister()

    def _hear_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Drop the errors of the disk that are not the first one of a call: SQLite has their codes."""
        if not isinstance(unraisable.exc_value, apsw.Error):
            self._hook(unraisable)

    # Faults

    def end_process(self) -> None:
        """End the process that has files open: it changes nothing any more. Its lock goes with it."""
        self.is_broken = True
        for connection in apsw.connections():
            if connection.open_vfs == self.name:
                close(connection)
        self.come_back()

    def lose_power(self, random: Random) -> None:
        """Cut the power, and come back."""
        self.end_process()
        for change in self._unsynced:
            if random.random() < 0.5:
                change(self._durable_entries)
        self._unsynced.clear()
        inodes = {id(inode): inode for inode in (*self.entries.values(), *self._durable_entries.values())}
        for inode in inodes.values():
            inode.lose_power(random)
        self.entries = dict(self._durable_entries)

    def come_back(self) -> None:
        """Work without faults."""
        self.failing_syncs = self._freed_bytes = 0
        self.is_full = self.is_broken = self.is_locked = False
        self.steps_left = None

    def step(self, what: str, name: str) -> None:
        """Something is changed or synced.

        :raises OSError: the disk does not work.
        """
        if self.is_broken or self.steps_left == 0 or (self.broken_prefix and name.startswith(self.broken_prefix)):
            raise OSError(errno.EIO, f"{what} {name}: the disk is gone")
        if self.steps_left is not None:
            self.steps_left -= 1
        self.steps.append((what, name))

    def take_room(self, size_bytes: int) -> None:
        """A file becomes longer.

        :raises OSError: there is no room.
        """
        if self.is_full:
            if size_bytes > self._freed_bytes:
                raise OSError(errno.ENOSPC, "no room")
            self._freed_bytes -= size_bytes

    def remove(self, name: str) -> None:
        """Unlink."""
        self._freed_bytes += len(self.entries[name].content)
        self.change(lambda entries: entries.pop(name, None))

    def sync_inode(self, inode: Inode) -> None:
        """Sync a file's content."""
        if self.failing_syncs:
            self.failing_syncs -= 1
            inode.fail_to_sync()
            raise OSError(errno.EIO, "fsync")
        inode.sync()

    def change(self, change: Callable[[Entries], object]) -> None:
        """Change the folder's entries."""
        change(self.entries)
        self._unsynced.append(change)

    def sync_entries(self) -> None:
        """Sync the folder."""
        if self.failing_syncs:
            self.failing_syncs -= 1
            raise OSError(errno.EIO, "fsync")
        for change in self._unsynced:
            change(self._durable_entries)
        self._unsynced.clear()

    # As SQLite's file system

    def xFullPathname(self, name: str) -> str:
        """Paths are complete."""
        return name

    def xAccess(self, pathname: str, _flags: int) -> bool:
        """Whether there is such a file."""
        return pathname.removeprefix(_PREFIX) in self.entries

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001  apsw's
        """Unlink."""
        name = filename.removeprefix(_PREFIX)
        if name not in self.entries:
            missing = apsw.IOError(f"no file {name}")
            missing.extendedresult = apsw.SQLITE_IOERR_DELETE_NOENT  # type: ignore[attr-defined]  # apsw's stubs lack it
            raise missing
        with _Translated(apsw.SQLITE_IOERR_DELETE):
            self.step("delete", name)
            self.remove(name)
            if syncdir:
                self.sync_entries()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> DiskFile:  # type: ignore[override]  # apsw takes any object with the methods
        """Open."""
        assert name is not None  # noqa: S101  no temporary files
        path = name if isinstance(name, str) else name.filename()
        short = path.removeprefix(_PREFIX)
        flags[1] = flags[0]
        inode = self.entries.get(short)
        is_new = inode is None
        if inode is None:
            no_room = self.is_full and not self._freed_bytes
            if not flags[0] & apsw.SQLITE_OPEN_CREATE or no_room or self.is_broken or self.steps_left == 0:
                raise apsw.CantOpenError(f"no file {short}")
            self.step("create", short)
            inode = Inode()
            self.change(_setting(short, inode))
        # as the unix VFS does: the first sync of a journal or a log makes its name durable, that of a database does not
        log = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
        return DiskFile(self, short, inode, syncs_entries=is_new and bool(flags[0] & log))


def _setting(name: str, inode: Inode) -> Callable[[Entries], object]:
    return lambda entries: entries.__setitem__(name, inode)


class _Translated:
    """Turns ``OSError`` into SQLite's error."""

    def __init__(self, code: int) -> None:
        self._code = code

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Translate."""
        if isinstance(error, OSError):
            translated = apsw.IOError(str(error))
            translated.extendedresult = self._code  # type: ignore[attr-defined]  # as above
            raise translated


class DiskFile:
    """An open file."""

    def __init__(self, disk: Disk, name: str, inode: Inode, *, syncs_entries: bool) -> None:
        self._disk = disk
        self._name = name
        self._inode = inode
        self._syncs_entries = syncs_entries

    def xRead(self, amount: int, offset: int) -> bytes:
        """Read."""
        if self._name in self._disk.unreadable:
            with _Translated(apsw.SQLITE_IOERR_READ):
                raise OSError(errno.EIO, "read")
        return bytes(self._inode.content[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        """Write."""
        try:
            self._disk.take_room(max(0, offset + len(data) - len(self._inode.content)))
        except OSError as error:
            raise apsw.FullError("no room") from error
        with _Translated(apsw.SQLITE_IOERR_WRITE):
            self._disk.step("write", self._name)
            self._inode.write(bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:
        """Truncate."""
        with _Translated(apsw.SQLITE_IOERR_TRUNCATE):
            self._disk.step("truncate", self._name)
            self._inode.truncate(newsize)

    def xSync(self, _flags: int) -> None:
        """Sync."""
        with _Translated(apsw.SQLITE_IOERR_FSYNC):
            self._disk.step("sync", self._name)
            self._disk.sync_inode(self._inode)
            if self._syncs_entries:
                self._disk.sync_entries()
                self._syncs_entries = False

    def xFileSize(self) -> int:
        """Size."""
        return len(self._inode.content)

    def xDeviceCharacteristics(self) -> int:
        """As the unix VFS says: a write does not damage what is beside it."""
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xFileControl(self, _op: int, _ptr: int) -> bool:
        """Nothing special."""
        return False

    def xCheckReservedLock(self) -> bool:
        """Do nothing: no other process opens the file."""
        return False

    def xLock(self, _level: int) -> None:
        """Do nothing: no other process opens the file."""

    def xUnlock(self, _level: int) -> None:
        """Do nothing: no other process opens the file."""

    def xClose(self) -> None:
        """Nothing to do."""


class DiskFolder(Folder):
    """The disk as a spool's folder."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(_PREFIX)
        self._disk = disk
        self.vfs = disk.name

    def open(self) -> None:
        """See ``Folder``."""
        if self._disk.is_locked:
            raise self.problem("is in use by another process", "give each process a folder of its own")
        self._disk.is_locked = True

    def close(self) -> None:
        """See ``Folder``."""
        self._disk.is_locked = False

    def path_of(self, name: str) -> str:
        """See ``Folder``."""
        return _PREFIX + name

    def names(self) -> Sequence[str]:
        """See ``Folder``."""
        return sorted(self._disk.entries)

    def size_bytes(self, name: str) -> int:
        """See ``Folder``."""
        inode = self._disk.entries.get(name)
        return 0 if inode is None else len(inode.content)

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """See ``Folder``."""
        return bytes(self._disk.entries[name].content[offset : offset + size_bytes])

    def reserve(self, name: str, size_bytes: int) -> None:
        """See ``Folder``."""
        self._disk.step("create", name)
        self._disk.take_room(size_bytes)
        self._disk.change(_setting(name, Inode(bytearray(size_bytes), bytearray(size_bytes))))

    def check(self) -> None:
        """It is always the same one."""

    def remove(self, name: str) -> bool:
        """See ``Folder``."""
        if name not in self._disk.entries:
            return False
        self._disk.step("delete", name)
        self._disk.remove(name)
        return True

    def rename(self, name: str, new_name: str) -> None:
        """See ``Folder``."""
        inode = self._disk.entries[name]
        self._disk.step("rename", new_name)

        def change(entries: Entries) -> None:
            entries.pop(name, None)
            entries[new_name] = inode

        self._disk.change(change)

    def link(self, name: str, new_name: str) -> None:
        """See ``Folder``."""
        if name in self._disk.entries and new_name not in self._disk.entries:
            self._disk.step("link", new_name)
            self._disk.change(_setting(new_name, self._disk.entries[name]))

    def sync(self) -> None:
        """See ``Folder``."""
        self._disk.step("sync", "")
        self._disk.sync_entries()
