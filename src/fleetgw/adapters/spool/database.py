"""SQLite files of the spool: made, opened, and their errors told apart.

A file holds one table, ``block(first INTEGER PRIMARY KEY, body BLOB)``, and is written through its write-ahead log, each
commit with a sync. Checkpoints are never automatic: SQLite would hide their errors.
"""

from __future__ import annotations

from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING

import apsw

from fleetgw.adapters.spool.record_format import VERSION, Damaged

if TYPE_CHECKING:
    from fleetgw.adapters.spool.folder import Folder

WAL = "-wal"
NEW = ".new"

DAMAGES = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, apsw.SQLError)
"""Errors of a file whose content is wrong: a table that is not there is a ``SQLError``."""

_APPLICATION_ID = 0x666C6777
_MAGIC = b"SQLite format 3\x00"
_VERSIONS = Struct(">60xI4xI")
_HEAD_BYTES = 100
_PAGE_BYTES = 4096
_EMPTY_LEAF = b"\x0d\x00\x00\x00\x00"
"""The start of a page of a table: a leaf, no free block, no cells (sqlite.org/fileformat2.html, section 1.6)."""


class NewerVersion(Exception):
    """A later version of fleetgw has written the file; ``args[0]`` is the version of its format."""


def create(folder: Folder, name: str) -> None:
    """Make an empty file. Once this has returned, the file and its name are durable.

    :raises apsw.Error: it cannot be written.
    :raises OSError: likewise.
    """
    folder.check()
    try:
        _make(folder, name + NEW)
        folder.rename(name + NEW, name)
        folder.sync()
    except BaseException:
        with suppress(OSError):
            folder.remove(name + NEW)
            folder.remove(name)
        raise


def _make(folder: Folder, name: str) -> None:
    folder.remove(name)
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(folder.path_of(name), flags=flags, vfs=folder.vfs or None)
    try:
        # no journal: a file that is not complete never gets its name
        connection.execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=OFF; PRAGMA synchronous=FULL").fetchall()
        connection.execute(
            f"BEGIN; PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={VERSION};"
            "CREATE TABLE block(first INTEGER PRIMARY KEY, body BLOB NOT NULL); COMMIT"
        )
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
    finally:
        connection.close()


def open_for_writing(folder: Folder, name: str) -> apsw.Connection:
    """Open a file that ``create`` has just made."""
    return _open(folder, name, "PRAGMA synchronous=FULL")


def open_for_reading(folder: Folder, name: str) -> apsw.Connection:
    """Open a file that nobody writes any more. Nothing in the folder changes thereby.

    Commits that are still in a write-ahead log beside it are read from there.
    """
    if folder.size_bytes(name + WAL):
        connection = _open(folder, name, "PRAGMA query_only=1")
        leave_log(connection)
        return connection
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    path = folder.path_of(name).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = apsw.Connection(f"file:{path}?immutable=1", flags=flags, vfs=folder.vfs or None)
    connection.execute("PRAGMA cache_size=-256")
    return connection


def has_no_blocks(folder: Folder, name: str) -> bool:
    """Whether a file itself, without its log, holds no block: the root page of the table is a leaf without cells.

    Such a file was just made, or all of its commits are still in its log.

    :raises OSError: it cannot be read.
    """
    return folder.read(name, _PAGE_BYTES, len(_EMPTY_LEAF)) == _EMPTY_LEAF


def close(connection: apsw.Connection) -> None:
    """Close a file, whatever errors there are: nothing depends on it."""
    with suppress(apsw.Error):
        connection.close(True)  # noqa: FBT003  apsw's


def leave_log(connection: apsw.Connection) -> None:
    """Make ``close`` leave the write-ahead log as it is."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def checkpoint(connection: apsw.Connection) -> None:
    """Move all commits from the write-ahead log into the file, and sync it.

    :raises apsw.Error: that failed; the log is still complete.
    """
    frames, moved = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    if frames != moved:
        raise apsw.BusyError(f"{moved} of {frames} frames were moved")


def check_head(folder: Folder, name: str) -> None:
    """See whether a file is one of a spool, by its first bytes.

    :raises Damaged: it is not, or no longer.
    :raises NewerVersion: it is of a version that this one does not know.
    :raises OSError: it cannot be read.
    """
    head = folder.read(name, 0, _HEAD_BYTES)
    if len(head) < _HEAD_BYTES or not head.startswith(_MAGIC):
        raise Damaged(f"{name} is no SQLite file")
    version, application_id = _VERSIONS.unpack_from(head)
    if application_id != _APPLICATION_ID:
        raise Damaged(f"{name} is no file of a spool")
    if version > VERSION:
        raise NewerVersion(version)
    if version < 1:
        raise Damaged(f"{name} has no version")


def remove(folder: Folder, name: str) -> None:
    """Unlink a file and its log. The log goes first, for good: alone it would look like the rest of a lost file."""
    if folder.remove(name + WAL):
        folder.sync()
    folder.remove(name)


def _open(folder: Folder, name: str, pragmas: str) -> apsw.Connection:
    connection = apsw.Connection(folder.path_of(name), flags=apsw.SQLITE_OPEN_READWRITE, vfs=folder.vfs or None)
    # exclusive: no shared memory and no lock calls, as the folder is locked
    connection.execute("PRAGMA locking_mode=EXCLUSIVE; PRAGMA wal_autocheckpoint=0").fetchall()
    connection.execute(pragmas).fetchall()
    return connection
