"""Reading the files of a spool beside the gateway that writes them. Nothing in the folder changes, and no lock is taken.

While a file is written, its write-ahead log only grows, and the file itself stays as it was. A copy of the file, and then of
its log, is therefore what a process would find that starts now. Once a file is sealed, its log moves into it and is
removed; after that it never changes. A file that keeps its log for ever is read as a copy, too.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import apsw
from attrs import Factory, define, frozen

from fleetgw.adapters.spool.cursors_file import CURSORS_NAME, CursorsFile
from fleetgw.adapters.spool.damaged_files import DAMAGED, DamagedFiles
from fleetgw.adapters.spool.database import DAMAGES, WAL, check_head, close, has_no_blocks, open_for_reading
from fleetgw.adapters.spool.folder import Folder
from fleetgw.adapters.spool.log_tail import is_log_cut
from fleetgw.adapters.spool.reading import EVERY_TYPE, FileReader, PageBounds
from fleetgw.adapters.spool.record_files import parse_name
from fleetgw.adapters.spool.record_format import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetgw.adapters.spool.record_files import RecordFile
    from fleetgw.domain.records import Record

PAGE_RECORDS = 1000
PAGE_BYTES = 16 * 1024 * 1024

COPIED_BYTES = 1024 * 1024
"""Most bytes that are copied at once."""

TRIES = 10
PAUSE_S = 0.05
"""A file of cursors is written in place: a copy that is half of one and half of the next is made again."""


@define
class Contents:
    """Records of one file that were read together.

    :ivar positions: of the ``records``.
    :ivar damaged: positions whose records cannot be read as they were written.
    """

    positions: Sequence[int]
    records: Sequence[Record]
    damaged: Sequence[int] = ()


@frozen
class Cursors:
    """The cursors of a spool.

    :ivar positions: by the sink's name.
    :ivar damaged: whether a file of them is damaged, so that some may be missing.
    """

    positions: dict[str, int]
    damaged: bool


@define
class DamagedFile:
    """A file that was kept aside."""

    name: str
    size_bytes: int


@define
class Inspection:
    """The files of a folder, as they were found.

    :ivar files: those of records, oldest first; ``end`` is behind the last record, except of the last file.
    :ivar damaged: the files that were kept aside.
    """

    folder: Folder
    files: list[RecordFile] = Factory(list)
    damaged: list[DamagedFile] = Factory(list)


def inspect(path: str) -> Inspection:
    """Look at a folder.

    :raises OSError: it is not there, or cannot be read.
    """
    folder = Folder(path)
    found = Inspection(folder)
    for name in folder.names():
        if (file := parse_name(name)) is not None:
            file.measure(folder)
            found.files.append(file)
        elif name.endswith(DAMAGED):
            found.damaged.append(DamagedFile(name, folder.size_bytes(name)))
    for file, following in zip(found.files, found.files[1:], strict=False):
        file.end = following.first_position
    if found.files:
        last = found.files[-1]
        last.end = last.first_position + last.size_bytes + 1  # a record takes more than a byte
    return found


def read_cursors(path: str) -> Cursors:
    """Read the cursors; none where there is no file of them.

    :raises OSError: the folder cannot be read.
    :raises NewerVersion: a file is of a later version.
    """
    folder = Folder(path)
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_S)
        with tempfile.TemporaryDirectory(prefix="fleetgw-") as copies:
            for name in folder.names():
                if CURSORS_NAME.fullmatch(name):
                    with suppress(FileNotFoundError):  # there is a newer one, or the next try finds it
                        _copy(folder, name, copies)
            damaged = DamagedFiles(Folder(copies), most_bytes=0)
            stored = CursorsFile(Folder(copies), damaged).load()
        if not damaged.kept:
            break
    return Cursors(stored.positions, bool(damaged.kept))


def inspect_to_end(path: str) -> Inspection:
    """Look at a folder, and into its last file, so that its ``end`` is known, too; as if empty where it cannot be read.

    :raises OSError: the folder is not there, or cannot be read.
    :raises apsw.Error: the last file cannot be read.
    """
    for _ in range(TRIES):
        found = inspect(path)
        if not found.files:
            break
        last = found.files[-1]
        try:
            with _opened(found.folder, last) as connection:
                reader = FileReader(connection, last.end, is_complete=False) if connection is not None else None
                position = reader.last_position() if reader is not None else None
        except (FileNotFoundError, apsw.CantOpenError):
            if last.name not in found.folder.names():  # it was not needed any more: look again
                continue
            raise
        except (Damaged, *DAMAGES):
            position = None
        last.end = last.first_position if position is None else position + 1
        break
    return found


def read_file(folder: Folder, file: RecordFile) -> Iterator[Contents]:
    """Read one file, in parts that fit into memory.

    A file that is removed meanwhile was not needed any more: its reading ends.

    :raises Damaged: the file, or the end of its log, is not what was written.
    :raises NewerVersion: it is of a later version.
    :raises apsw.Error: it cannot be read.
    :raises OSError: likewise.
    """
    try:
        check_head(folder, file.name)
        with _opened(folder, file) as connection:
            if connection is None:
                return
            reader = FileReader(connection, file.end, is_complete=False, skips_unreadable=True)
            position, bounds = file.first_position, PageBounds(EVERY_TYPE, PAGE_RECORDS, PAGE_BYTES)
            while position < file.end:
                page = reader.read(position, bounds)
                damaged: list[int] = []
                if page.damaged_records:
                    there = set(page.positions)
                    missing = (at for at in range(position, page.next_position) if at not in there)
                    damaged = [at for at, _ in zip(missing, range(page.damaged_records), strict=False)]
                yield Contents(page.positions, page.records, damaged)
                position = page.next_position
    except (FileNotFoundError, apsw.CantOpenError):
        if file.name in folder.names():
            raise
    except DAMAGES as error:
        raise Damaged(f"{file.name}: {error}") from error


@contextmanager
def _opened(folder: Folder, file: RecordFile) -> Iterator[apsw.Connection | None]:
    """A connection to a file that does not change any more, or to a copy of it; None when nothing is in it yet.

    :raises Damaged: the end of the log is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="fleetgw-") as copies:
        has_log = _copy(folder, file.name, copies, only_with_log=True)
        if not has_log and has_no_blocks(folder, file.name):
            yield None
            return
        # the first block may have come since: a log is only removed once all of it is in the file
        has_log = has_log or _copy(folder, file.name, copies, only_with_log=True)
        place = Folder(copies) if has_log else folder
        connection = open_for_reading(place, file.name)
        try:
            if is_log_cut(place, file.name, connection):
                raise Damaged(f"{file.name}{WAL} is damaged: what follows the damage cannot be read")
            yield connection
        finally:
            close(connection)


def _copy(folder: Folder, name: str, place: str, *, only_with_log: bool = False) -> bool:
    """Copy a file, then its log; whether there is a copy.

    :param only_with_log: a file without a log does not change any more, and needs no copy.
    :raises FileNotFoundError: the file is gone.
    """
    if only_with_log and not folder.size_bytes(name + WAL):
        return False
    for each in (name, name + WAL):
        try:
            _copy_file(folder.path_of(each), os.path.join(place, each))
        except FileNotFoundError:
            if each == name:
                raise
            return not only_with_log  # sealed meanwhile
    return True


def _copy_file(source: str, target: str) -> None:
    """Copy the bytes that a file has now: those that follow meanwhile may come in another order."""
    with open(source, "rb", buffering=0) as original, open(target, "xb", buffering=0) as copy:
        left_bytes = os.fstat(original.fileno()).st_size
        while left_bytes and (part := original.read(min(left_bytes, COPIED_BYTES))):
            copy.write(part)
            left_bytes -= len(part)
