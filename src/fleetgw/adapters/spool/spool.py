"""The durable queue on disk.

Invariants, each held by a test:

1. Records are reported as synced only after the commit that holds them has returned, SQLite has synced it, and the file
   still has its name in the folder that was locked.
2. A file is in the folder for good (its name synced) before the first record in it is reported as synced.
3. A cursor on disk is never higher than the sink's: everything below it is settled. It may be lower.
4. A new sink's cursor is on disk before anything is appended that it may need.
5. A file is removed only when every configured sink's cursor, as it is on disk, is past it.
6. After a failed write or sync a file is never written again: its records that were not reported are reported as not
   stored, and the next file takes over. A file is written by one process, through one connection.
7. A position is used once by a process, and by no later one if it was reported as synced or a cursor on disk is past it.
8. Every record is read as it was written, or counted as damaged: each has a checksum. Damage in one file does not touch
   another one, and does not keep the gateway from starting. A part that the disk does not give counts as damaged only
   when the disk takes a second name for the file meanwhile; a disk that fails as a whole is waited for.
9. The reactor's thread neither reads nor writes files. What waits for a sync is bounded, and so are damaged files.

Two threads work for a spool: one appends to the active file (``Writer``), the other one reads, compacts and removes the
sealed files and writes the cursors (``Archive``). A file belongs to one thread at a time. All appends that wait while a
commit is under way share the next one (group commit).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.process.serial_worker import SerialWorker
from fleetgw.adapters.spool.archive import Archive, ArchiveState
from fleetgw.adapters.spool.damaged_files import DamagedFiles
from fleetgw.adapters.spool.group_commit import GroupCommit
from fleetgw.adapters.spool.numbers import SpoolNumbers
from fleetgw.adapters.spool.reading import PageBounds, PageRead
from fleetgw.adapters.spool.record_format import RecordEncoder
from fleetgw.adapters.spool.threads import Threads
from fleetgw.adapters.spool.writer import Writer, WriterLimits
from fleetgw.domain.errors import SpoolFull, StorageError
from fleetgw.domain.ports import Appended, ISpool, Page, SpoolState

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.adapters.spool.folder import Folder
    from fleetgw.adapters.spool.limits import SpoolLimits
    from fleetgw.adapters.spool.record_files import RecordFile
    from fleetgw.adapters.spool.writer import CommitReport
    from fleetgw.domain.ports import ILog, IMetrics
    from fleetgw.domain.records import Record


UNSYNCED_BYTES = 32 * 1024 * 1024
"""Most memory of records that wait for a sync, as when the disk hangs."""

PAUSE_S = 1.0
"""After a failure nothing is written for so long."""

SAVE_EVERY_S = 1.0
"""Cursors are written after so long at the latest; as soon as a file may be removed, at once."""

DAMAGED_SHARE = 4
"""Damaged files take a further such part of the largest size, and the newest one its own size, at most."""

FILES_OF_SIZE = 4
FILES_OF_AGE = 10
"""Least number of files that the largest size, and the longest age, are divided into."""


class Compacted(Deferred["StorageError | None"]):
    """The answer to a compaction: as ``ISpool.compact`` says, cancelling it does nothing."""

    def cancel(self) -> None:
        """Do nothing: the spool is being compacted."""


class Answer(Deferred["Page | StorageError"]):
    """The answer to a read: as ``ISpool.read`` says, cancelling it does nothing."""

    def cancel(self) -> None:
        """Do nothing: the page is read."""


@implementer(ISpool)
class Spool:
    """A spool in a folder.

    :param json_payloads: see ``RecordEncoder``.
    :param wall_s: epoch seconds; read once, so that a step of the wall clock ages nothing.
    :param make_worker: makes a thread of a name.
    """

    def __init__(
        self,
        folder: Folder,
        limits: SpoolLimits,
        reactor: IThreadedReactor,
        metrics: IMetrics,
        log: ILog,
        *,
        wall_s: Callable[[], float],
        json_payloads: bool = False,
        make_worker: Callable[[str], Worker] = SerialWorker,
    ) -> None:
        self._limits = limits
        self._reactor = reactor
        self._numbers = SpoolNumbers(folder.path, limits.max_bytes, metrics, log)
        self._encoder = RecordEncoder(json_payloads=json_payloads)
        self._since_epoch_s = wall_s() - reactor.seconds()
        self._file_age_ms = int(limits.max_age_s * 1000 / FILES_OF_AGE)
        writer_limits = WriterLimits(min(limits.file_bytes, limits.max_bytes // FILES_OF_SIZE), self._file_age_ms)
        self._writer = Writer(folder, writer_limits, self._now_ms)
        self._damaged = DamagedFiles(folder, limits.max_bytes // DAMAGED_SHARE)
        self._archive = Archive(folder, self._damaged, self._now_ms)
        self._threads = Threads(reactor, make_worker, self._stop_when_idle)
        self._commits = GroupCommit(self._threads, self._writer, self._numbers, self._committed)
        self._running = False
        self._closing = False
        self._stopped: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._sinks: Mapping[str, Container[str]] = {}
        self._cursors: dict[str, int] = {}
        self._saved: dict[str, int] | None = None
        self._saving = self._dropping = False
        self._sealed = ArchiveState()
        self._sealed_end = 1  # everything before it is the archive's
        self._active_bytes = 0
        self._active_ms: int | None = None
        self._adopting_bytes = 0
        self._next_position = 1
        self._failure: StorageError | None = None
        self._retry_at_s = 0.0

    # Start and stop

    def start(self, sinks: Mapping[str, Container[str]]) -> Deferred[Mapping[str, int]]:
        """See ``ISpool``."""
        return Deferred.fromCoroutine(self._start(sinks))

    async def _start(self, sinks: Mapping[str, Container[str]]) -> Mapping[str, int]:
        try:
            opened = await self._threads.read(lambda: self._archive.open(sinks))
        except Exception:
            self._threads.quit()
            raise
        self._sinks = sinks
        self._cursors = opened.cursors
        self._next_position = self._sealed_end = self._writer.sealed_end = opened.next_position
        self._numbers.damaged_files(self._damaged)
        for sink in sinks:
            cursor = self._cursors[sink]
            self._numbers.damaged_records(sink, sum(len(range(max(cursor, lost.start), lost.stop)) for lost in opened.lost))
        self._running = True
        await self._save()
        self._tick()
        return {sink: self._cursors[sink] for sink in sinks}

    def stop(self) -> Deferred[None]:
        """See ``ISpool``."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stopped = Deferred(lambda stopped: stopped.callback(None))
        self._stop_when_idle()
        return self._stopped

    def _stop_when_idle(self) -> None:
        if self._stopped is not None and not self._closing and self._threads.are_idle:
            self._closing = True
            Deferred.fromCoroutine(self._close(self._stopped)).addErrback(self._numbers.broken)

    async def _close(self, stopped: Deferred[None]) -> None:
        await self._seal(self._writer.seal)
        await self._save()
        await self._threads.read(self._archive.close)
        self._threads.quit()
        if not stopped.called:
            stopped.callback(None)

    def state(self) -> SpoolState:
        """See ``ISpool``."""
        first, oldest_ms = self._sealed.first_position, self._sealed.oldest_ms
        if first is None:
            first, oldest_ms = self._sealed_end, self._active_ms
        return SpoolState(
            first,
            self._next_position,
            self._size_bytes,
            self._limits.max_bytes,
            self._damaged.size_bytes,
            self._commits.unsynced_records,
            0.0 if oldest_ms is None else max(0, self._now_ms() - oldest_ms) / 1000,
            self._fullness(),
            None if self._failure is None else str(self._failure),
        )

    def _now_ms(self) -> int:
        return int((self._since_epoch_s + self._reactor.seconds()) * 1000)

    # Appending

    def append(self, records: Sequence[Record]) -> Appended | StorageError:
        """See ``ISpool``."""
        refusal = self._refusal()
        if refusal is not None:
            self._numbers.refused(len(records))
            return refusal
        first = self._next_position
        encode = self._encoder.encode
        try:
            encoded = [encode(position, record) for position, record in enumerate(records, first)]
        except Exception as error:  # records that cannot be stored are refused alone
            self._numbers.refused(len(records))
            return StorageError(f"a record cannot be stored: {type(error).__name__}: {error}")
        self._next_position = end = first + len(records)
        synced = self._commits.add(first, encoded, sum([record.cost_bytes for record in records]))
        return Appended(range(first, end), synced)

    @property
    def _size_bytes(self) -> int:
        return self._sealed.size_bytes + self._adopting_bytes + self._active_bytes + self._commits.unsynced_bytes

    def _refusal(self) -> StorageError | None:
        """The reason for which nothing can be appended now; None when it can."""
        if not self._running:
            return StorageError("the spool does not run")
        if self._failure is not None and (self._saved is None or self._reactor.seconds() < self._retry_at_s):
            return self._failure
        if self._limits.when_full == "drop_oldest" and self._size_bytes >= self._limits.max_bytes:
            self._drop_oldest()
        full = self._fullness()
        return None if full is None else SpoolFull(full)

    def _fullness(self) -> str | None:
        """The reason for which there is no room; None while there is."""
        if self._commits.cost_bytes >= UNSYNCED_BYTES:
            return f"{self._commits.unsynced_records} records wait for the disk"
        max_bytes = self._limits.max_bytes
        excess_bytes = self._size_bytes - max_bytes
        if self._limits.when_full == "drop_oldest":
            excess_bytes -= max_bytes // FILES_OF_SIZE  # there will be room soon
        return f"the spool holds {self._size_bytes} bytes; at most {max_bytes} are kept" if excess_bytes >= 0 else None

    def _committed(self, report: CommitReport) -> None:
        for file in report.sealed:
            self._adopt(file).addErrback(self._numbers.broken)
        self._active_bytes, self._active_ms = report.active_bytes, report.active_ms
        self._note(report.failure)
        self._numbers.writing("records", report.failure)

    def _adopt(self, file: RecordFile) -> Deferred[None]:
        """Hand a sealed file to the archive."""
        size_bytes = file.size_bytes
        self._sealed_end = file.end
        self._adopting_bytes += size_bytes
        self._active_bytes, self._active_ms = 0, None
        return self._threads.read(lambda: self._archive.adopt(file)).addCallback(self._adopted, size_bytes)

    def _adopted(self, state: ArchiveState, size_bytes: int) -> None:
        self._adopting_bytes -= size_bytes
        self._note_sealed(state)

    async def _seal(self, seal: Callable[[], RecordFile | None]) -> None:
        file = await self._threads.write(seal)
        if file is not None:
            await self._adopt(file)

    def _note(self, failure: StorageError | None) -> None:
        self._failure = failure
        if failure is not None:
            self._retry_at_s = self._reactor.seconds() + PAUSE_S

    # Reading

    def read(self, sink: str, position: int, most_records: int, most_bytes: int) -> Deferred[Page | StorageError]:
        """See ``ISpool``."""
        if not self._running:
            return succeed(StorageError("the spool does not run"))
        bounds = PageBounds(self._sinks[sink], most_records, most_bytes)
        answer = Answer()
        Deferred.fromCoroutine(self._read(sink, position, bounds)).addBoth(answer.callback)
        return answer

    async def _read(self, sink: str, position: int, bounds: PageBounds) -> Page | StorageError:
        try:
            page = await self._read_page(position, bounds)
        except Exception as error:  # the port promises an answer
            return StorageError(f"reading failed: {type(error).__name__}: {error}")
        if isinstance(page, StorageError):
            return page
        self._numbers.damaged_records(sink, page.damaged_records)
        self._numbers.damaged_files(self._damaged)
        return Page(page.positions, page.records, page.next_position)

    async def _read_page(self, position: int, bounds: PageBounds) -> PageRead | StorageError:
        if position >= self._sealed_end:
            page = await self._threads.write(lambda: self._writer.read(position, bounds))
            if page is not None:
                return page
            # the file was sealed meanwhile, and the report of that came before this answer
        end = self._sealed_end
        return await self._threads.read(lambda: self._archive.read(position, end, bounds))

    # Cursors, size and age

    def settle(self, sink: str, position: int) -> None:
        """See ``ISpool``."""
        if not self._running or position <= self._cursors[sink]:
            return
        self._cursors[sink] = min(position, self._next_position)
        boundary = self._sealed.boundary
        if (
            boundary is not None
            and self._sealed.failure is None
            and min([self._cursors[each] for each in self._sinks]) >= boundary
        ):
            self._save_soon()

    @property
    def cursors(self) -> Mapping[str, int]:
        """See ``ISpool``."""
        return {sink: self._cursors[sink] for sink in self._sinks}

    def compact(self) -> Deferred[StorageError | None]:
        """See ``ISpool``."""
        if not self._running:
            return succeed(StorageError("the spool does not run"))
        done = Compacted()
        Deferred.fromCoroutine(self._compact()).addBoth(done.callback)
        return done

    async def _compact(self) -> StorageError | None:
        if min(self._cursors[each] for each in self._sinks) >= self._next_position:
            await self._seal(self._writer.seal)
        await self._save()
        return self._sealed.failure

    def _tick(self) -> None:
        """Write the cursors that have moved, and remove what is too old."""
        self._timer = self._reactor.callLater(SAVE_EVERY_S, self._tick)
        self._note_size()  # also while no file is sealed or removed
        if self._cursors != self._saved:
            self._save_soon()
        if self._file_age_ms:
            now_ms = self._now_ms()
            if self._active_ms is not None and now_ms - self._active_ms >= self._file_age_ms:
                Deferred.fromCoroutine(self._seal(self._writer.seal_old)).addErrback(self._numbers.broken)
            sealed_ms = self._sealed.oldest_sealed_ms
            if sealed_ms is not None and now_ms - sealed_ms >= self._limits.max_age_s * 1000:
                self._drop_oldest()

    def _save_soon(self) -> None:
        if not self._saving:
            Deferred.fromCoroutine(self._save()).addErrback(self._numbers.broken)

    async def _save(self) -> None:
        self._saving = True
        cursors = dict(self._cursors)
        try:
            state = await self._threads.read(lambda: self._archive.save(cursors, self._sinks))
        finally:
            self._saving = False
        self._numbers.writing("cursors", state.failure)
        if self._saved is None:
            self._note(state.failure)
        if state.failure is None:
            self._saved = cursors
        self._note_sealed(state)

    def _note_sealed(self, state: ArchiveState) -> None:
        self._sealed = state
        self._note_size()

    def _note_size(self) -> None:
        self._numbers.size(self._size_bytes, self._reactor.seconds())

    def _drop_oldest(self) -> None:
        """Move all cursors past the oldest file, so that it is removed. Its records are lost to sinks that need them."""
        if not self._dropping and self._sealed.failure is None:  # otherwise the cursors would move, and free no room
            Deferred.fromCoroutine(self._drop()).addErrback(self._numbers.broken)

    async def _drop(self) -> None:
        self._dropping = True
        cursors = dict(self._cursors)
        try:
            loss = await self._threads.read(lambda: self._archive.loss_of_oldest(cursors, self._sinks))
            if loss is not None:
                self._numbers.dropped(loss.lost)
                for sink in self._sinks:
                    self._cursors[sink] = max(self._cursors[sink], loss.boundary)
                await self._save()
        finally:
            self._dropping = False
