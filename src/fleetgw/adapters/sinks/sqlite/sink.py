"""The ``sqlite`` sink on the reactor: gathers what is dispatched while a commit is under way into the next one."""

from __future__ import annotations

import sqlite3
import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred

from fleetgw.adapters.sinks.sqlite.settings import read_settings
from fleetgw.adapters.sinks.sqlite.store import Store
from fleetgw.adapters.sinks.sqlite.troubles import Trouble, trouble
from fleetgw.adapters.sinks.support.base_sink import BaseSink
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.numbers import PublishNumbers
from fleetgw.adapters.sinks.support.serial_worker import SerialWorker, Worker
from fleetgw.domain.backoff import Backoff
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import NotReady, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch

T = TypeVar("T")

CARE_INTERVAL_S = 1.0
"""How often the sink looks whether ``latest`` is behind, so that it is right when vehicles fall silent."""

TRIM_INTERVAL_S = 60.0

PROBE_MAX_S = 1.0
"""The longest pause between two tries to write to a file that could not be written."""

GATHER_S = 0.002
"""How long what waits waits on when a commit is done: its vehicles send their next records now, and each commit costs."""

COMMIT_BYTES = 16_000_000
"""One commit begins with no more records than take so much memory: their rows take as much again."""


class SqliteSink(BaseSink):
    """Writes records into one SQLite file. A receipt means: committed, and the disk has it.

    One job at a time runs on the sink's own thread; all state here belongs to the reactor's thread.

    :param make_worker: makes the thread from its name, for tests.
    :param connect: as ``sqlite3.connect``, for tests.
    """

    def __init__(
        self,
        context: SinkContext,
        make_worker: Callable[[str], Worker] = SerialWorker,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> None:
        """Make the sink.

        :raises ConfigurationError: a setting is not what it must be.
        """
        self._make_worker = make_worker
        self._settings = read_settings(context)
        numbers = PublishNumbers(context.metrics, "sqlite", "Records committed to the file.", context.record_types)
        super().__init__(context, timeout_s=self._settings.write_timeout_s, numbers=numbers)
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
        self._context.log.info("sqlite_registered", path=str(self._path), sqlite_version=sqlite3.sqlite_version)
        self._run(self._store.open, self._looked)
        self._later("care", CARE_INTERVAL_S, self._care)
        self._trims = True

    def deliver(self, dispatch: Dispatch) -> None:
        """Have records committed, together with all that is waiting when the thread is free."""
        self._waiting.append(dispatch)
        self._next()

    def timed_out(self, dispatch: Dispatch) -> None:
        """See ``BaseSink``. A commit that ends later is not heard: writing the records again does no harm."""
        if dispatch in self._waiting:
            self._waiting.remove(dispatch)
        reason = f"{self._path}: nothing was committed within {self._settings.write_timeout_s:g} s"
        self._stuck(Trouble("TIMEOUT", reason, reopen=False))
        self.settle_rest(dispatch, Retryable(reason))

    def stopping(self) -> None:
        """Commit what is waiting."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._trims = False
        self._next()

    def abandon(self) -> None:
        """Stopping was cancelled: the thread commits nothing more."""
        self._gave_up = True
        self._waiting, self._writing = [], []

    def close(self) -> Deferred[None] | None:
        """Close the file, and let the thread end."""
        worker, closed = self._worker, Deferred[None]()
        if worker is None:
            return None
        self._run(self._store.close, lambda _: closed.callback(None))
        self._worker = None
        worker.quit()
        return closed

    # One job at a time

    def _next(self) -> None:
        """Give the thread what is most urgent, if it is idle."""
        if self._busy or self._worker is None:
            return
        if self._trims and (self._wrote_last or not self._waiting):  # by turns, so that neither starves the other
            self._wrote_last = False
            # the wall clock, as records' times of receipt; as many rows as came in at least
            self._run(partial(self._store.trim, time.time_ns() // 1_000_000), self._trimmed)
        elif self._waiting and "gather" not in self._timers:
            self._wrote_last = True
            self._writing = self._fitting()
            records = [record for each in self._writing for record in each.batch]
            self._run(partial(self._store.write, records), self._wrote)

    def _fitting(self) -> list[Dispatch]:
        """Take of what waits as much as one commit may hold; at least one batch."""
        size_bytes = count = 0
        for count, each in enumerate(self._waiting, 1):  # noqa: B007  how many fit
            size_bytes += sum([record.cost_bytes for record in each.batch])
            if size_bytes >= COMMIT_BYTES:
                break
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _run(self, job: Callable[[], T], done: Callable[[T | Trouble], None]) -> None:
        """Run a job on the thread; ``done`` gets its result, or why there is none, on the reactor's."""
        if self._worker is not None:
            self._busy = True
            self._worker.do(partial(self._on_thread, job, done))

    def _on_thread(self, job: Callable[[], T], done: Callable[[T | Trouble], None]) -> None:
        result: T | Trouble
        try:
            result = job()
        except Exception as error:  # of any kind: a job must not end the thread, and each has its word in trouble()
            result = trouble(error, self._path)
            if result.reopen:
                self._store.abandon()
        self._context.reactor.callFromThread(self._finished, done, result)

    def _finished(self, done: Callable[[T | Trouble], None], result: T | Trouble) -> None:
        self._busy = False
        done(result)
        self._next()

    def _wrote(self, result: list[Outcome] | Trouble) -> None:
        writing, self._writing = self._writing, []
        self._later("gather", GATHER_S, self._next)
        if isinstance(result, Trouble):
            self._stuck(result)
            outcome: Outcome = NotConnected(result.reason) if result.reopen else Retryable(result.reason)
            result = [outcome] * sum(len(each.batch) for each in writing)
        else:
            self._works()
        start = 0
        for each in writing:
            end = start + len(each.batch)
            self.settle_all(each, result[start:end])
            start = end

    def _looked(self, result: Trouble | None) -> None:
        if isinstance(result, Trouble):
            self._stuck(result)
        else:
            self._works()

    def _folded(self, result: Trouble | None) -> None:
        if isinstance(result, Trouble):
            self._stuck(result)

    def _trimmed(self, result: bool | Trouble) -> None:  # noqa: FBT001  a job's result
        if isinstance(result, Trouble):
            self._stuck(result)
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

    def _care(self) -> None:
        if not self._busy and self._store.owes_latest:
            self._run(self._store.fold, self._folded)
        self._later("care", CARE_INTERVAL_S, self._care)

    def _trim(self) -> None:
        self._trims = True
        self._next()

    def _probe(self) -> None:
        if isinstance(self.readiness(), NotReady):
            if self._busy:
                self._later("probe", self._backoff.initial_s, self._probe)
            else:
                self._run(self._store.probe, self._looked)

    # The state of the file

    def _works(self) -> None:
        self._backoff.succeeded()
        self.destination.ready()

    def _stuck(self, found: Trouble) -> None:
        self._failures.add(found.kind, found.reason)
        self.destination.not_ready(found.reason)
        if self._stopped is None:
            self._later("probe", self._backoff.failed(self._random.random()), self._probe)
