"""Errors of SQLite: their effect on records, and explanations for people."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import apsw
from attrs import frozen

from fleetgw.adapters.sinks.sqlite.file_version import ForeignFile

if TYPE_CHECKING:
    from pathlib import Path

_PRIMARY = 0xFF  # the lower byte of an extended error code is the primary one

_FAULT_OF_RECORD = frozenset({apsw.SQLITE_TOOBIG, apsw.SQLITE_CONSTRAINT, apsw.SQLITE_MISMATCH, apsw.SQLITE_RANGE})
_STAYS_OPEN = frozenset({apsw.SQLITE_FULL, apsw.SQLITE_BUSY, apsw.SQLITE_LOCKED})


@frozen
class FileFailure:
    """The file cannot be written now.

    :ivar kind: SQLite's name of the error, or one of a few others: a closed set.
    :ivar reason: for people: the file, the fault, and advice.
    :ivar reopen: whether the file must be opened again.
    """

    kind: str
    reason: str
    reopen: bool


class FileReplaced(Exception):
    """The file at the path is not the open one any more: the last writes went to a file that has been moved or removed."""


def is_fault_of_record(error: Exception) -> bool:
    """Whether an error is caused by the content of a record, so that no retry can help."""
    if isinstance(error, apsw.Error):
        return _code_of(error) & _PRIMARY in _FAULT_OF_RECORD
    return not isinstance(error, OSError | MemoryError | ForeignFile | FileReplaced)


def failure_of(error: Exception, path: Path) -> FileFailure:
    """The failure that an error means."""
    if isinstance(error, ForeignFile):
        return FileFailure("FOREIGN", f"{path}: {error}", reopen=True)
    if isinstance(error, FileReplaced):
        return FileFailure("REPLACED", f"{path} was moved, removed or replaced; it is opened anew", reopen=True)
    code = _code_of(error)
    names = apsw.mapping_extended_result_codes | apsw.mapping_result_codes
    kind = str(names[code]) if code else type(error).__name__
    primary = code & _PRIMARY
    return FileFailure(kind, f"{path}: {_explanation(primary, error, path)} ({kind})", reopen=primary not in _STAYS_OPEN)


def _code_of(error: Exception) -> int:
    """The extended error code; ``SQLITE_OK`` for an error that is not SQLite's own."""
    return int(getattr(error, "extendedresult", apsw.SQLITE_OK))


def _explanation(code: int, error: Exception, path: Path) -> str:
    match code:
        case apsw.SQLITE_FULL:
            return f"the disk is full ({_free(path)}); make room"
        case apsw.SQLITE_BUSY | apsw.SQLITE_LOCKED:
            return "another program holds the file's write lock; let it commit or end it"
        case apsw.SQLITE_READONLY | apsw.SQLITE_PERM | apsw.SQLITE_AUTH:
            return "it cannot be written; give this user the right to write the file and its folder"
        case apsw.SQLITE_CANTOPEN:
            folder = path.parent
            if not folder.is_dir():
                return f"the folder {folder} does not exist; make it"
            return "it cannot be opened; check the owner of the file and its folder"
        case apsw.SQLITE_NOTADB:
            return "it is no SQLite database; move it away, a new one is made by itself"
        case apsw.SQLITE_CORRUPT:
            return f"it is damaged ({error}); move it away with its -wal and -shm files, a new one is made by itself"
        case apsw.SQLITE_IOERR:
            return f"the disk fails ({error}); check the system's log"
        case _:
            return str(error)


def _free(path: Path) -> str:
    try:
        free_bytes = shutil.disk_usage(path.parent).free
    except OSError:
        return "free space unknown"
    return f"{free_bytes // 1_000_000} MB free"
