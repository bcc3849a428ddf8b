"""The sealed files: read, compacted and removed, and the cursors that allow it. All of it runs in one thread."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import apsw
from attrs import Factory, define, evolve

from fleetgw.adapters.spool.cursors_file import CursorsFile
from fleetgw.adapters.spool.database import (
    DAMAGES,
    NEW,
    WAL,
    NewerVersion,
    check_head,
    checkpoint,
    close,
    leave_log,
    open_for_reading,
    remove,
)
from fleetgw.adapters.spool.log_tail import is_log_cut
from fleetgw.adapters.spool.reading import FileReader, PageBounds, PageRead
from fleetgw.adapters.spool.record_files import SUFFIX, RecordFile, parse_name
from fleetgw.adapters.spool.record_format import Damaged
from fleetgw.domain.errors import ConfigurationError, StorageError
from fleetgw.domain.spool import count_unneeded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Mapping

    from fleetgw.adapters.spool.damaged_files import DamagedFiles
    from fleetgw.adapters.spool.folder import Folder

OPEN_FILES = 4
"""Files that are open for reading at the same time: more sinks than these rarely read from different ones."""

TRIES = 3
"""Number of failed reads in a row after which unreadable blocks count as damaged."""

CLOCK_WAS_SET_MS = 1_577_836_800_000
"""The year 2020: a file that was made before is of a machine whose clock was not set, and its age is not known."""

COUNTED_RECORDS = 1000
"""Records that are decoded together when those of a dropped file are counted."""


@define
class Opened:
    """The state of the folder at the start.

    :ivar cursors: of all sinks, also of those that are not configured now.
    :ivar lost: for each file that was kept aside, the positions that it held.
    """

    cursors: dict[str, int]
    next_position: int
    lost: list[range] = Factory(list)


@define
class ArchiveState:
    """The sealed files after a change.

    :ivar first_position: of the oldest file, None without a file.
    :ivar boundary: once every cursor has reached this position, the oldest file is unneeded; None without a file.
    :ivar oldest_ms: when the oldest file was made; None without a file.
    :ivar oldest_sealed_ms: when it was sealed; its records are older.
    :ivar failure: why the change was not made, or only partly.
    """

    size_bytes: int = 0
    first_position: int | None = None
    boundary: int | None = None
    oldest_ms: int | None = None
    oldest_sealed_ms: int | None = None
    failure: StorageError | None = None


@define
class Loss:
    """The loss that comes with the removal of the oldest file.

    :ivar boundary: the position behind the file.
    :ivar lost: number of records lost to each sink, by record type.
    """

    boundary: int
    lost: dict[str, Counter[str]]


class Archive:
    """The sealed files, oldest first.

    :param now_ms: epoch milliseconds that do not jump.
    """

    def __init__(self, folder: Folder, damaged: DamagedFiles, now_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._damaged = damaged
        self._now_ms = now_ms
        self._cursors_file = CursorsFile(folder, damaged)
        self._files: list[RecordFile] = []
        self._open: list[RecordFile] = []

    def open(self, sinks: Collection[str]) -> Opened:
        """Lock the folder, and see what is there. Nothing of it is lost by that; what is damaged is renamed.

        :raises ConfigurationError: the folder cannot be used.
        """
        folder = self._folder
        folder.open()
        try:
            return self._look(sinks)
        except NewerVersion as error:
            what = f"holds files of format version {error.args[0]}, which this version of fleetgw does not know"
            fix = "run the version that wrote them, or name another folder"
            folder.close()
            raise folder.problem(what, fix) from error
        except (apsw.Error, OSError) as error:
            folder.close()
            raise folder.problem(f"cannot be used: {error}", "make its files readable and writable") from error
        except ConfigurationError:
            folder.close()
            raise

    def adopt(self, file: RecordFile) -> ArchiveState:
        """Take over a file that was just sealed; moves its log into it."""
        connection, file.connection = file.connection, None
        try:
            if connection is not None:
                try:
                    checkpoint(connection)
                except apsw.Error:  # the log stays: everything is in it
                    file.failed = True
                    leave_log(connection)
                finally:
                    close(connection)
            file.measure(self._folder)
        except OSError:
            pass  # it keeps the size that it had
        file.sealed_ms = self._now_ms()
        self._files.append(file)
        return self.state()

    def state(self) -> ArchiveState:
        """The files as they are."""
        if not self._files:
            return ArchiveState()
        oldest = self._files[0]
        boundary = self._files[1].first_position if len(self._files) > 1 else oldest.end
        size_bytes = sum(file.size_bytes for file in self._files)
        return ArchiveState(size_bytes, oldest.first_position, boundary, oldest.created_ms, oldest.sealed_ms)

    def read(self, position: int, end: int, bounds: PageBounds) -> PageRead | StorageError:
        """Read a page.

        :param end: the position behind all sealed files.
        """
        file = next((file for file in self._files if position < file.end), None)
        if file is None:
            return PageRead(max(position, end))
        try:
            return self._read(file, max(position, file.first_position), bounds)
        except (apsw.Error, OSError) as error:
            file.read_failures += 1
            return StorageError(f"{file.name}: {error}")

    def save(self, cursors: Mapping[str, int], needed_by: Collection[str]) -> ArchiveState:
        """Write the cursors, then remove the files that no sink needs any more.

        :param needed_by: the sinks whose cursors hold files back.
        """
        try:
            self._cursors_file.write(cursors)
            self._remove_unneeded([cursors[sink] for sink in needed_by])
        except (apsw.Error, OSError) as error:
            return evolve(self.state(), failure=StorageError(f"{self._folder.path}: {error}"))
        return self.state()

    def loss_of_oldest(self, cursors: Mapping[str, int], sinks: Mapping[str, Container[str]]) -> Loss | None:
        """Count what the sinks would lose with the oldest file; None without a file.

        :param sinks: the record types of each sink.
        """
        boundary = self.state().boundary
        if boundary is None:
            return None
        file = self._files[0]
        return Loss(boundary, {sink: self._count(file, cursors[sink], types) for sink, types in sinks.items()})

    def close(self) -> None:
        """Close all files, and release the folder."""
        for file in self._open:
            self._close(file)
        self._open.clear()
        self._cursors_file.close()
        self._folder.close()

    def _look(self, sinks: Collection[str]) -> Opened:
        folder = self._folder
        for name in folder.names():
            if name.endswith((NEW, NEW + WAL)):
                folder.remove(name)
        stored = self._cursors_file.load()
        found = [file for name in folder.names() if (file := parse_name(name)) is not None]
        next_position = max([1, *stored.positions.values()])
        lost: list[range] = []
        now_ms = self._now_ms()
        for index, file in enumerate(found):
            file.measure(folder)
            following = found[index + 1] if index + 1 < len(found) else None
            file.sealed_ms = now_ms
            if following is not None:
                file.end = following.first_position
                if following.created_ms > CLOCK_WAS_SET_MS:
                    file.sealed_ms = following.created_ms
            try:
                check_head(folder, file.name)
                if following is None:
                    file.end = self._find_end(file)
                self._files.append(file)
            except (Damaged, *DAMAGES):
                if following is None:
                    file.end = _highest_end(file)
                else:
                    lost.append(range(file.first_position, file.end))
                self._damaged.move(file.name)
            next_position = max(next_position, file.end)
        oldest = self._files[0].first_position if self._files else next_position
        cursors = dict(stored.positions)
        for sink in sinks:
            cursors.setdefault(sink, next_position if stored.is_certain else oldest)
        self._keep_lone_logs()
        self._damaged.limit()
        return Opened(cursors, next_position, lost)

    def _find_end(self, file: RecordFile) -> int:
        """The end of the last file. The first position of a file without records is not used again either."""
        try:
            last = FileReader(self._connection(file), 0, is_complete=False).last_position()
        except (Damaged, *DAMAGES, apsw.IOError):
            return _highest_end(file)
        if file.is_log_cut:  # it ends too early, and how many records are lost is not known
            file.is_complete = False
            return _highest_end(file)
        return (file.first_position if last is None else last) + 1

    def _keep_lone_logs(self) -> None:
        """Keep logs aside whose file is gone."""
        names = self._folder.names()
        for name in names:
            if name.endswith(SUFFIX + WAL) and name.removesuffix(WAL) not in names:
                self._damaged.move(name.removesuffix(WAL))

    def _read(self, file: RecordFile, position: int, bounds: PageBounds) -> PageRead:
        try:
            page = self._try_read(file, position, bounds)
        except apsw.IOError:
            # a disk that cannot even keep the file aside does not fail in one place: it is waited for
            if file.read_failures < TRIES or not self._keep_aside(file):
                raise
            page = self._try_read(file, position, bounds, skips_unreadable=True)
        if page.next_position > position:
            file.read_failures = 0
        if page.damaged_records:
            self._keep_aside(file)
        return page

    def _try_read(self, file: RecordFile, position: int, bounds: PageBounds, *, skips_unreadable: bool = False) -> PageRead:
        try:
            connection = self._connection(file)
            reader = FileReader(connection, file.end, is_complete=file.is_complete, skips_unreadable=skips_unreadable)
            return reader.read(position, bounds)
        except DAMAGES:
            pass
        except apsw.IOError:
            if not skips_unreadable:
                raise
        except apsw.CantOpenError:
            self._folder.check()
            if file.name in self._folder.names():
                raise
        return PageRead(file.end, damaged_records=file.end - position)

    def _keep_aside(self, file: RecordFile) -> bool:
        """Keep a file that is damaged after it is needed; if that fails, it is tried again at the next damage."""
        file.is_damaged = file.is_damaged or self._damaged.link(file.name)
        return file.is_damaged

    def _connection(self, file: RecordFile) -> apsw.Connection:
        if file.connection is None:
            connection = open_for_reading(self._folder, file.name)
            try:
                is_cut = not file.is_log_cut and is_log_cut(self._folder, file.name, connection)
            except (apsw.Error, OSError):
                close(connection)
                raise
            file.connection = connection
            self._open.append(file)
            if is_cut:
                file.is_log_cut = file.is_complete = True
                self._keep_aside(file)
            if len(self._open) > OPEN_FILES:
                self._close(self._open.pop(0))
        return file.connection

    def _close(self, file: RecordFile) -> None:
        connection, file.connection = file.connection, None
        if connection is not None:
            close(connection)

    def _remove_unneeded(self, cursors: Collection[int]) -> None:
        if not self._files:
            return
        boundaries = [file.first_position for file in self._files] + [self._files[-1].end]
        unneeded = count_unneeded(boundaries, cursors)
        for file in self._files[:unneeded]:
            self._close(file)
            if file in self._open:
                self._open.remove(file)
            remove(self._folder, file.name)
            self._files.remove(file)
        if unneeded:
            self._folder.sync()

    def _count(self, file: RecordFile, cursor: int, record_types: Container[str]) -> Counter[str]:
        """Number of records of a file, from a cursor on, by type."""
        counts: Counter[str] = Counter()
        bounds = PageBounds(record_types, COUNTED_RECORDS, 2**63)
        position = max(cursor, file.first_position)
        while position < file.end:
            page = self.read(position, file.end, bounds)
            if isinstance(page, StorageError):
                if file.read_failures > TRIES:
                    break
                continue
            counts.update(record.record_type for record in page.records)
            position = page.next_position
        return counts


def _highest_end(file: RecordFile) -> int:
    """An end that is not too low: a record takes more than a byte."""
    return file.first_position + file.size_bytes + 1
