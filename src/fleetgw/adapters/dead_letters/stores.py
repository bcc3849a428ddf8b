"""The dead letters of all sinks: a folder with a folder for each sink, within one limit of size."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from twisted.internet.defer import Deferred, DeferredList

from fleetgw.adapters.dead_letters.letters import SpooledDeadLetters
from fleetgw.adapters.dead_letters.removed import load, save
from fleetgw.adapters.dead_letters.shared_worker import SharedWorker
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.adapters.process.serial_worker import SerialWorker
from fleetgw.adapters.spool.folder import Folder
from fleetgw.adapters.spool.limits import SpoolLimits
from fleetgw.adapters.spool.reading import EVERY_TYPE
from fleetgw.adapters.spool.spool import Spool
from fleetgw.adapters.spool.threads import Threads
from fleetgw.domain.errors import ConfigurationError, SpoolFull, StorageError
from fleetgw.domain.metrics import DEAD_LETTERS_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.python.failure import Failure

    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.domain.errors import Problem
    from fleetgw.domain.ports import ILog, IMetrics

KEY = "dead_letters.path"
FILE_BYTES = 8 * 1024 * 1024
"""Most bytes of one file: what is removed gives room back by whole files."""


def folder_name(sink: str) -> str:
    """The name of a sink's folder."""
    name = quote(sink.encode("utf-8", "surrogateescape"), safe="")
    return name.replace(".", "%2E") if name.startswith(".") else name


def sink_of(name: str) -> str:
    """The sink of a folder's name."""
    return unquote(name, errors="surrogateescape")


def sinks_in(folder: Folder) -> Sequence[str]:
    """The sinks that have a folder in this one.

    :raises OSError: it cannot be read.
    """
    found = [name for name in folder.names() if os.path.isdir(folder.path_of(name))]
    return [sink_of(name) for name in found if folder_name(sink_of(name)) == name]


class DeadLetterStores:
    """The stores of the sinks that records are routed to, and of those that were.

    :ivar path: of the folder.
    :ivar sinks: by the sink's name; complete once ``start`` has fired.
    :param max_bytes: most bytes of all sinks' files together: a letter that finds no room is not stored.
    :param wall_s: epoch seconds.
    """

    def __init__(
        self,
        path: str,
        max_bytes: int,
        reactor: IThreadedReactor,
        metrics: IMetrics,
        log: ILog,
        *,
        wall_s: Callable[[], float],
        make_worker: Callable[[str], Worker] = SerialWorker,
    ) -> None:
        self._folder = Folder(path, KEY)
        self.path = self._folder.path
        self._max_bytes = max_bytes
        self._reactor = reactor
        self._size_bytes = metrics.gauge(DEAD_LETTERS_SIZE_BYTES)
        self._log = log
        self._wall_s = wall_s
        self._worker = SharedWorker("dead letters", make_worker)
        self._threads = Threads(reactor, lambda _: self._worker, lambda: None)
        self._spools: dict[str, Spool] = {}
        self._running: list[Spool] = []
        self._is_open = False
        self.sinks: dict[str, SpooledDeadLetters] = {}

    def of(self, sink: str) -> SpooledDeadLetters:
        """The store of a sink that records are routed to. A new one while the others run starts by itself."""
        if sink not in self.sinks:
            self._add(sink)
            if self._is_open:
                Deferred.fromCoroutine(self._start_one(sink)).addErrback(self._log_late_failure)
        return self.sinks[sink]

    def start(self) -> Deferred[None]:
        """Open the stores.

        :return: fires once that is done. Fails with ``ConfigurationError`` only: the folder, or that of a sink, cannot be
            used, is in use by another process, or is of a newer version. Call ``stop`` then, too.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        for sink in await self._threads.read(self._open):
            self.of(sink)
        self._is_open = True
        problems: list[Problem] = []
        for sink in [*self.sinks]:
            try:
                await self._start_one(sink)
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems)

    def _log_late_failure(self, failure: Failure) -> None:
        """A store that has not started takes no letters, which go to the log then."""
        self._log.error("spool_failed", path=self.path, kind="records", error=failure.getErrorMessage())

    def stop(self) -> Deferred[None]:
        """Close the stores, each as ``ISpool.stop`` says; fires then, and never fails."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await DeferredList([spool.stop() for spool in self._running])
        await self._threads.read(self._folder.close)
        self._worker.end()

    def _add(self, sink: str) -> None:
        folder = Folder(self._folder.path_of(folder_name(sink)), KEY)
        self._spools[sink] = spool = Spool(
            folder,
            SpoolLimits(self._max_bytes, file_bytes=FILE_BYTES),
            self._reactor,
            NullMetrics(),  # the spool's metrics count records on their way
            self._log,
            wall_s=self._wall_s,
            json_payloads=True,  # a letter is stored again although the configuration has changed
            make_worker=lambda _: self._worker,
        )
        self.sinks[sink] = SpooledDeadLetters(
            sink, spool, self._refusal, partial(self._save, folder), lambda: int(self._wall_s() * 1000)
        )

    def _open(self) -> Sequence[str]:
        """Lock the folder; returns the sinks that have a folder in it."""
        self._folder.open()
        try:
            return sinks_in(self._folder)
        except OSError as error:
            raise self._folder.problem(f"cannot be read: {error.strerror}", "make it readable") from error

    async def _start_one(self, sink: str) -> None:
        spool = self._spools[sink]
        await spool.start({sink: EVERY_TYPE})  # letters are kept although their type may have no route any more
        self._running.append(spool)
        path = self._folder.path_of(folder_name(sink))
        try:
            failure = await self.sinks[sink].begin(await self._threads.read(lambda: load(path)))
        except OSError as error:
            failure = StorageError(f"{path}: {error}")
        if failure is not None:
            raise self._folder.problem(f"cannot be used: {failure}", "make its files readable and writable") from failure

    def _refusal(self) -> StorageError | None:
        size_bytes = sum([spool.state().size_bytes for spool in self._running])
        self._size_bytes.set_to(size_bytes)
        if size_bytes < self._max_bytes:
            return None
        return SpoolFull(f"the dead letters take {size_bytes} bytes; at most {self._max_bytes} are kept")

    async def _save(self, folder: Folder, ranges: Sequence[range]) -> StorageError | None:
        try:
            await self._threads.read(lambda: save(folder.path, ranges))
        except OSError as error:
            return StorageError(f"{folder.path}: {error}")
        return None
