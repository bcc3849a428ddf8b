"""Appends that wait for the disk. All that wait while a commit is under way share the next one (group commit)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import Factory, define
from twisted.internet.defer import Deferred

from fleetgw.adapters.spool.writer import CommitReport
from fleetgw.domain.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from fleetgw.adapters.spool.numbers import SpoolNumbers
    from fleetgw.adapters.spool.threads import Threads
    from fleetgw.adapters.spool.writer import Writer

COMMIT_BYTES = 1024 * 1024
"""Most bytes of one commit: a longer one would delay those that wait for the next."""


class Synced(Deferred["StorageError | None"]):
    """The answer to an append: as ``Appended`` says, cancelling it does nothing."""

    def cancel(self) -> None:
        """Do nothing: the records are written."""


@define(eq=False)
class _Waiting:
    """Records of one append that wait for their sync."""

    first_position: int
    encoded: list[bytes]
    size_bytes: int
    cost_bytes: int
    synced: Synced = Factory(Synced)


class GroupCommit:
    """Commits appends in the writer's thread, in their order, one commit at a time.

    :ivar unsynced_records: number of records that wait.
    :ivar unsynced_bytes: their size on disk.
    :ivar cost_bytes: the memory that they take, as ``Record.cost_bytes``.
    :param committed: called after each commit, before its records are reported.
    """

    def __init__(
        self, threads: Threads, writer: Writer, numbers: SpoolNumbers, committed: Callable[[CommitReport], None]
    ) -> None:
        self._threads = threads
        self._writer = writer
        self._numbers = numbers
        self._committed = committed
        self._waiting: deque[_Waiting] = deque()
        self._is_committing = False
        self.unsynced_records = self.unsynced_bytes = self.cost_bytes = 0

    def add(self, first_position: int, encoded: list[bytes], cost_bytes: int) -> Synced:
        """Commit encoded records with successive positions; see ``Appended.synced`` for the answer."""
        waiting = _Waiting(first_position, encoded, sum(map(len, encoded)), cost_bytes)
        self.unsynced_records += len(encoded)
        self.unsynced_bytes += waiting.size_bytes
        self.cost_bytes += cost_bytes
        self._waiting.append(waiting)
        if not self._is_committing:
            self._commit_next()
        return waiting.synced

    def _commit_next(self) -> None:
        waiting = self._waiting
        if not waiting:
            return
        taken = [waiting.popleft()]
        size_bytes = taken[0].size_bytes
        while waiting and (size_bytes := size_bytes + waiting[0].size_bytes) <= COMMIT_BYTES:
            taken.append(waiting.popleft())
        first = taken[0].first_position
        encoded = [record for each in taken for record in each.encoded]
        self._is_committing = True
        report = self._threads.write(lambda: self._writer.commit(first, encoded)).addErrback(self._broken)
        report.addCallback(self._report, taken).addErrback(self._numbers.broken)

    def _broken(self, failure: Failure) -> CommitReport:
        self._numbers.broken(failure)
        return CommitReport(StorageError(f"the commit failed: {failure.getErrorMessage()}"))

    def _report(self, report: CommitReport, taken: list[_Waiting]) -> None:
        self._committed(report)
        if report.failure is not None:  # what waits would fail likewise
            taken += self._waiting
            self._waiting.clear()
        count = sum([len(each.encoded) for each in taken])
        self.unsynced_records -= count
        self.unsynced_bytes -= sum([each.size_bytes for each in taken])
        self.cost_bytes -= sum([each.cost_bytes for each in taken])
        (self._numbers.appended if report.failure is None else self._numbers.failed)(count)
        self._is_committing = False
        self._commit_next()
        for each in taken:
            each.synced.callback(report.failure)
