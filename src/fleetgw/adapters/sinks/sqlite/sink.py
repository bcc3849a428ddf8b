"""The ``sqlite`` sink: dispatches that come during a commit share the next one (group commit)."""

from __future__ import annotations

import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TypeVar

import apsw
from twisted.internet.defer import Deferred
from zope.interface import implementer

from fleetgw.adapters.process.serial_worker import SerialWorker, Worker
from fleetgw.adapters.sinks.sqlite.file_failures import FileFailure, failure_of
from fleetgw.adapters.sinks.sqlite.settings import read_settings
from fleetgw.adapters.sinks.sqlite.store import Store
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import ITakesFurtherTypes, NotReady, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch

T = TypeVar("T")

LATEST_INTERVAL_S = 1.0
"""Pause between checks whether ``latest`` is behind, so that it becomes current when no more records come."""

TRIM_INTERVAL_S = 60.0
"""Pause between two runs of retention."""

PROBE_MAX_S = 1.0
"""Longest pause between two probes of a file that cannot be written."""

LINGER_S = 0.002
"""Linger after a commit: vehicles with acknowledged records send their next ones now, and they can share the next commit."""

COMMIT_BYTES = 16_000_000
"""Most memory of the records of one commit; their rows take as much again."""


@implementer(ITakesFurtherTypes)
class SqliteSink(LifecycleSink):
    """Writes records into one SQLite file. A receipt means that the record is committed and synced to disk.

    One job at a time runs on the sink's own thread; all state here belongs to the reactor's thread.

    :param make_worker: makes the thread from its name; tests give their own.
    :param connect: see ``Store``; tests give their own.
    """

    def __init__(
        self,
        context: SinkContext,
        make_worker: Callable[[str], Worker] = SerialWorker,
        connect: Callable[[str], apsw.Connection] = apsw.Connection,
    ) -> None:
        """Make the sink.

        :raises ConfigurationError: a setting is wrong.
        """
        self._make_worker = make_worker
        self._settings = read_settings(context)
        metrics = PublishMetrics(context.metrics, "sqlite", "Records committed to the file.", context.record_types)
        super().__init__(context, timeout_s=self._settings.write_timeout_s, metrics=metrics)
        self._path: Path = self._settings.path
        self._store = Store(self._settings, connect, lambda: self._gave_up)
        self._failures = FailureLog(context.log, "sqlite_err", context.reactor)
        self._backoff = Backoff(0.5, PROBE_MAX_S)
        self._random = Random()  # noqa: S311  jitter needs no secrecy
        self._worker: Worker | None = None
        self._busy = False
        self._waiting: list[Dispatch] = []
        self._writing: list[Dispatch] = []
        self._trims = False
        self._wrote_last = False
        self._timers: dict[str, IDelayedCall] = {}
        self._gave_up = False

    def open(self) -> None:
        """Start the sink's thread, which opens the file now or later."""
        self._worker = self._make_worker(f"fleetgw-{self.name}")
        self.destination.not_ready(f"{self._path} is being opened")
        self._context.log.info("sqlite_registered", path=str(self._path), sqlite_version=apsw.sqlite_lib_version())
        self._run(self._store.open, self._probed)
        self._later("latest", LATEST_INTERVAL_S, self._update_latest)
        self._trims = True

    def deliver(self, dispatch: Dispatch) -> None:
        """Queue records for the next commit."""
        self._waiting.append(dispatch)
        self._next()

    def timed_out(self, dispatch: Dispatch) -> None:
        """See ``LifecycleSink``. A commit that ends later is ignored: to write the records again does no harm."""
        if dispatch in self._waiting:
            self._waiting.remove(dispatch)
        reason = f"{self._path}: nothing was committed within {self._settings.write_timeout_s:g} s"
        self._file_failed(FileFailure("TIMEOUT", reason, reopen=False))
        self.settle_rest(dispatch, Retryable(reason))

    def stopping(self) -> None:
        """Commit the waiting records at once."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._trims = False
        self._next()

    def abandon(self) -> None:
        """Commit nothing more."""
        self._gave_up = True
        self._waiting, self._writing = [], []

    def close(self) -> Deferred[None] | None:
        """Close the file, then end the thread."""
        worker, closed = self._worker, Deferred[None]()
        if worker is None:
            return None
        self._run(self._store.close, lambda _: closed.callback(None))
        self._worker = None
        worker.quit()
        return closed

    # One job at a time

    def _next(self) -> None:
        """Give the thread its next job, if it is idle."""
        if self._busy or self._worker is None:
            return
        if self._trims and (self._wrote_last or not self._waiting):  # in turn, so that neither starves the other
            self._wrote_last = False
            # by the wall clock, as the times at which records were received
            self._run(partial(self._store.trim, time.time_ns() // 1_000_000), self._trimmed)
        elif self._waiting and "linger" not in self._timers:
            self._wrote_last = True
            self._writing = self._take_for_commit()
            records = [record for each in self._writing for record in each.batch]
            self._run(partial(self._store.write, records), self._wrote)

    def _take_for_commit(self) -> list[Dispatch]:
        """Take the dispatches for the next commit, up to ``COMMIT_BYTES``; at least one."""
        size_bytes = count = 0
        for count, each in enumerate(self._waiting, 1):  # noqa: B007  used after the loop
            size_bytes += sum([record.cost_bytes for record in each.batch])
            if size_bytes >= COMMIT_BYTES:
                break
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _run(self, job: Callable[[], T], done: Callable[[T | FileFailure], None]) -> None:
        """Run a job on the thread, then ``done`` with its result or failure on the reactor's thread."""
        if self._worker is not None:
            self._busy = True
            self._worker.do(partial(self._on_thread, job, done))

    def _on_thread(self, job: Callable[[], T], done: Callable[[T | FileFailure], None]) -> None:
        result: T | FileFailure
        try:
            result = job()
        except Exception as error:  # of any kind: a job must not end the thread
            result = failure_of(error, self._path)
            if result.reopen:
                self._store.abandon()
        self._context.reactor.callFromThread(self._finished, done, result)

    def _finished(self, done: Callable[[T | FileFailure], None], result: T | FileFailure) -> None:
        self._busy = False
        done(result)
        self._next()

    def _wrote(self, result: list[Outcome] | FileFailure) -> None:
        writing, self._writing = self._writing, []
        self._later("linger", LINGER_S, self._next)
        if isinstance(result, FileFailure):
            self._file_failed(result)
            outcome: Outcome = NotConnected(result.reason) if result.reopen else Retryable(result.reason)
            result = [outcome] * sum(len(each.batch) for each in writing)
        else:
            self._file_works()
        start = 0
        for each in writing:
            end = start + len(each.batch)
            self.settle_all(each, result[start:end])
            start = end

    def _probed(self, result: FileFailure | None) -> None:
        if isinstance(result, FileFailure):
            self._file_failed(result)
        else:
            self._file_works()

    def _latest_updated(self, result: FileFailure | None) -> None:
        if isinstance(result, FileFailure):
            self._file_failed(result)

    def _trimmed(self, result: bool | FileFailure) -> None:  # noqa: FBT001  a job's result
        if isinstance(result, FileFailure):
            self._file_failed(result)
        if result is not True or self._stopped is not None:
            self._trims = False
            self._later("trim", TRIM_INTERVAL_S, self._trim)

    # Timers

    def _later(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        if self._stopped is None and name not in self._timers:
            self._timers[name] = self._context.reactor.callLater(delay_s, self._due, name, call)

    def _due(self, name: str, call: Callable[[], None]) -> None:
        del self._timers[name]
        call()

    def _update_latest(self) -> None:
        if not self._busy and self._store.latest_is_behind:
            self._run(self._store.update_latest, self._latest_updated)
        self._later("latest", LATEST_INTERVAL_S, self._update_latest)

    def _trim(self) -> None:
        self._trims = True
        self._next()

    def _probe(self) -> None:
        if isinstance(self.readiness(), NotReady):
            if self._busy:
                self._later("probe", self._backoff.initial_s, self._probe)
            else:
                self._run(self._store.probe, self._probed)

    # The state of the file

    def _file_works(self) -> None:
        self._backoff.succeeded()
        self.destination.ready()

    def _file_failed(self, failure: FileFailure) -> None:
        self._failures.add(failure.kind, failure.reason)
        self.destination.not_ready(failure.reason)
        if self._stopped is None:
            self._later("probe", self._backoff.failed(self._random.random()), self._probe)
