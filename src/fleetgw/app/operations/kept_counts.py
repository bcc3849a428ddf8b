"""Keeps the signal counts: begins each day in time, and has them survive a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from fleetgw.adapters.process.serial_worker import SerialWorker
from fleetgw.adapters.signal_counts import DailyFiles
from fleetgw.adapters.spool.folder import Folder
from fleetgw.domain.signal_counts import DAY_NS, DayCount

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.adapters.signal_counts.daily_files import Loaded
    from fleetgw.domain.ports import ILog
    from fleetgw.domain.signal_counts import SignalCounts

WRITE_TICKS = 60
"""The counts are written once in so many seconds, on a thread of their own."""

STOP_S = 2.0
"""The longest wait for the disk when the gateway stops."""


class KeptCounts:
    """Call ``tick`` once a second between ``start`` and ``stop``.

    :param path: the folder; None keeps the counts in memory alone. It is locked from ``start`` to ``stop``.
    :param wall_ns: returns epoch nanoseconds.
    """

    def __init__(
        self,
        counts: SignalCounts,
        path: str | None,
        reactor: IThreadedReactor,
        wall_ns: Callable[[], int],
        log: ILog,
        make_worker: Callable[[str], Worker] = SerialWorker,
    ) -> None:
        self._counts = counts
        self._files = None if path is None else DailyFiles(Folder(path, "operations.folder"))
        self._reactor = reactor
        self._wall_ns = wall_ns
        self._log = log
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._ticks = 0
        self._unwritten: set[int] = set()
        self._is_writing = False

    def start(self) -> Deferred[None]:
        """Read the counts of earlier runs; fires then.

        :raises ConfigurationError: the folder cannot be used, or another process uses it.
        """
        files = self._files
        if files is None:
            return succeed(None)
        files.folder.open()
        self._worker = self._make_worker("signal counts")
        loaded: Deferred[Loaded | OSError] = Deferred()
        self._worker.do(lambda: self._load(files, loaded))
        return loaded.addCallback(self._restore)

    def _load(self, files: DailyFiles, loaded: Deferred[Loaded | OSError]) -> None:
        result: Loaded | OSError
        try:
            result = files.load(self._counts.day)
        except OSError as error:
            result = error
        self._reactor.callFromThread(loaded.callback, result)

    def _restore(self, loaded: Loaded | OSError) -> None:
        if isinstance(loaded, OSError):
            self._log.error("signal_counts_failed", error=f"cannot be read: {loaded}")
            return
        for day, counted in loaded.days.items():
            self._counts.restore(day, counted)
        for name, fault in loaded.faults.items():
            self._log.error("signal_counts_failed", error=f"{name}: {fault}")

    def tick(self) -> None:
        """A second has passed."""
        self._unwritten.add(self._counts.day)
        self._counts.begin_day(self._wall_ns() // DAY_NS)
        self._ticks += 1
        if self._ticks % WRITE_TICKS == 0:
            self._write()

    def _write(self) -> None:
        files, worker = self._files, self._worker
        if files is None or worker is None or self._is_writing:
            return
        self._is_writing = True
        kept = self._counts.days
        days = {day: DayCount(kept[day].vehicles.copy(), kept[day].others) for day in self._unwritten if day in kept}
        self._unwritten.clear()
        today = self._counts.day
        worker.do(lambda: self._write_in_thread(files, days, today))

    def _write_in_thread(self, files: DailyFiles, days: dict[int, DayCount], today: int) -> None:
        failure: OSError | None = None
        try:
            files.write(days, today)
        except OSError as error:
            failure = error
        self._reactor.callFromThread(self._written, failure, days)

    def _written(self, failure: OSError | None, days: dict[int, DayCount]) -> None:
        self._is_writing = False
        if failure is not None:
            self._unwritten.update(days)
            self._log.error("signal_counts_failed", error=f"cannot be written: {failure}")

    def stop(self) -> Deferred[None]:
        """Write the counts; fires then, or after ``STOP_S`` on a disk that hangs. Never fails.

        Does nothing when nothing has started.
        """
        files, worker = self._files, self._worker
        if files is None or worker is None:
            return succeed(None)
        self._unwritten.add(self._counts.day)
        self._is_writing = False  # the worker writes one after the other
        self._write()
        self._worker = None
        stopped: Deferred[None] = Deferred()
        worker.do(lambda: self._reactor.callFromThread(stopped.callback, None))
        worker.quit()
        stopped.addTimeout(STOP_S, self._reactor)
        return stopped.addCallbacks(lambda _: files.folder.close(), self._not_written_in_time)

    def _not_written_in_time(self, _: Failure) -> None:
        """Keep the lock: the thread may write yet."""
        self._log.error("signal_counts_failed", error=f"were not written within {STOP_S:g} s of the stop")
