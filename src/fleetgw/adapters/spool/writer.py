"""The active file: the one that records are appended to. All of it runs in one thread."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import apsw
from attrs import Factory, define, frozen

from fleetgw.adapters.spool.database import close, create, leave_log, open_for_writing, remove
from fleetgw.adapters.spool.reading import FileReader, PageRead
from fleetgw.adapters.spool.record_files import RecordFile
from fleetgw.adapters.spool.record_format import join_block
from fleetgw.domain.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.spool.folder import Folder
    from fleetgw.adapters.spool.reading import PageBounds

BLOCK_BYTES = 128 * 1024
"""Records of one commit are stored in blocks of about this size: reading one of them reads its block."""

PAGE_BYTES = 4096 - 4  # of a blob, in each page of its own
PAGES_BESIDE = 5
FRAME_BYTES = 4096 + 24
"""A block takes some whole pages, and changes others: at most so many bytes are added to the log."""


@define(eq=False)
class CommitReport:
    """The result of a commit.

    :ivar failure: why the records are not stored; None when they are synced.
    :ivar sealed: files that are not written any more.
    :ivar active_bytes: size of the active file, 0 without one.
    :ivar active_ms: when it was made, epoch milliseconds; None without one.
    """

    failure: StorageError | None = None
    sealed: list[RecordFile] = Factory(list)
    active_bytes: int = 0
    active_ms: int | None = None


@frozen
class WriterLimits:
    """When the writer begins a new file.

    :ivar file_bytes: most bytes of a file with its log; a commit that is longer gets a file of its own.
    :ivar file_age_ms: longest time that a file is written; 0 for no bound.
    """

    file_bytes: int
    file_age_ms: int


class Writer:
    """Appends records to the active file, and reads from it.

    :ivar active: the file that is written; None before the first commit, and after a failure.
    :ivar sealed_end: everything before this position is in files that were sealed, or nowhere.
    :param now_ms: epoch milliseconds that do not jump.
    """

    def __init__(self, folder: Folder, limits: WriterLimits, now_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._limits = limits
        self._now_ms = now_ms
        self.sealed_end = 1
        self.active: RecordFile | None = None

    def commit(self, first_position: int, encoded: Sequence[bytes]) -> CommitReport:
        """Store encoded records with successive positions, and sync them: this returns after the sync."""
        report = CommitReport()
        end = first_position + len(encoded)
        blocks = _blocks(first_position, encoded)
        added_bytes = sum((len(body) // PAGE_BYTES + PAGES_BESIDE) * FRAME_BYTES for _, body in blocks)
        try:
            active = self._active_for(first_position, added_bytes, report)
            connection = active.connection
            assert connection is not None  # noqa: S101  open as long as it is active
            if len(blocks) == 1:  # one step of SQLite: the interpreter's lock is given up and taken once
                connection.execute("INSERT INTO block VALUES(?, ?)", blocks[0])
            else:
                with connection:
                    connection.executemany("INSERT INTO block VALUES(?, ?)", blocks)
            active.end = end
            if not active.measure(self._folder):
                raise FileNotFoundError(f"{active.name} was removed")
            report.active_bytes, report.active_ms = active.size_bytes, active.created_ms
        except Exception as error:  # of any kind: the records are not stored
            report.failure = StorageError(f"{self._folder.path}: {error}")
            self._seal_failed(end, report)
        return report

    def seal(self) -> RecordFile | None:
        """Write the active file no more; returns it, open."""
        active, self.active = self.active, None
        if active is not None:
            active.is_complete = True
            self.sealed_end = active.end
        return active

    def seal_old(self) -> RecordFile | None:
        """Seal the active file if it is as old as it may get."""
        return self.seal() if self.active is not None and self._is_old(self.active) else None

    def read(self, position: int, bounds: PageBounds) -> PageRead | StorageError | None:
        """Read from the active file; None when the position is in a sealed one."""
        if position < self.sealed_end:
            return None
        active = self.active
        if active is None or active.connection is None:
            return PageRead(position)
        try:
            reader = FileReader(active.connection, active.end, is_complete=True)
            return reader.read(max(position, active.first_position), bounds)
        except apsw.Error as error:
            return StorageError(f"{active.name}: {error}")

    def _active_for(self, first_position: int, added_bytes: int, report: CommitReport) -> RecordFile:
        active = self.active
        if active is not None:
            fits = active.size_bytes + added_bytes <= self._limits.file_bytes or active.end == active.first_position
            if fits and not self._is_old(active):
                return active
            self.seal()
            report.sealed.append(active)
        active = RecordFile(first_position, self._now_ms(), end=first_position)
        create(self._folder, active.name)
        active.connection = open_for_writing(self._folder, active.name)
        self.active = active
        return active

    def _is_old(self, active: RecordFile) -> bool:
        return 0 < self._limits.file_age_ms <= self._now_ms() - active.created_ms

    def _seal_failed(self, end: int, report: CommitReport) -> None:
        """Never write the active file again: a sync that succeeds later says nothing about writes before it."""
        active, self.active = self.active, None
        if active is None:
            return
        connection, active.connection = active.connection, None
        active.failed = True
        if connection is not None:
            leave_log(connection)
            close(connection)
        if active.end == active.first_position:
            self._discard(active)
            return
        active.end = self.sealed_end = end
        report.sealed.append(active)

    def _discard(self, active: RecordFile) -> None:
        """Remove a file whose first commit has failed: nothing in it was ever acknowledged."""
        with suppress(OSError):  # at worst an empty file more, which the next start finds
            remove(self._folder, active.name)


def _blocks(first_position: int, encoded: Sequence[bytes]) -> list[tuple[int, bytes]]:
    blocks = []
    start = size_bytes = 0
    for index, record in enumerate(encoded):
        if size_bytes and size_bytes + len(record) > BLOCK_BYTES:
            blocks.append((first_position + start, join_block(first_position + start, encoded[start:index])))
            start, size_bytes = index, 0
        size_bytes += len(record)
    blocks.append((first_position + start, join_block(first_position + start, encoded[start:])))
    return blocks
