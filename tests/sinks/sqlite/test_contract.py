"""The ``sqlite`` sink keeps the contract with a real file: locked by another program, or moved away with its folder."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import apsw
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.sqlite.sink import SqliteSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import IDispatcher
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import Received
from fleetgw.testing.real_reactor import RealReactorHarness

LARGEST_VALUE_BYTES = 10_000


class WatchedConnection(apsw.Connection):
    """Reports failed statements, such as those while the file is locked."""

    def __init__(self, path: str, on_failure: Callable[[], None]) -> None:
        super().__init__(path)
        self._on_failure = on_failure
        # SQLite's own limit is 10^9 bytes, which no record reaches
        self.limit(apsw.SQLITE_LIMIT_LENGTH, LARGEST_VALUE_BYTES)

    def execute(self, *args: object) -> apsw.Cursor:
        try:
            return super().execute(*args)
        except apsw.Error:
            self._on_failure()
            raise


class SqliteHarness(RealReactorHarness):
    record_types = ("my_type", "V")  # the contract's payloads are opaque, and stored as custom records
    confirmed_metric = "sqlite_publish_total"
    refused_payload = b"x" * (LARGEST_VALUE_BYTES + 1)

    def __init__(self) -> None:
        self._root = tempfile.TemporaryDirectory()
        self._folder = Path(self._root.name, "data")
        self._folder.mkdir()
        self._path = self._folder / "records.sqlite3"
        self._lock: apsw.Connection | None = None
        self._on_failure: Deferred[None] = Deferred()

    async def tear_down(self) -> None:
        self._root.cleanup()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {"path": str(self._path), "write_timeout_s": timeout_s}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        return SqliteSink(context, connect=self._connect)

    def _connect(self, path: str) -> apsw.Connection:
        return WatchedConnection(path, lambda: reactor.callFromThread(self._report_failure))

    def _report_failure(self) -> None:
        failed, self._on_failure = self._on_failure, Deferred()
        failed.callback(None)

    async def a_while(self) -> None:
        """Wait until a statement of the sink has failed, while the file is locked."""
        if self._lock is not None:
            await self._on_failure

    async def received(self, at_least: int) -> Sequence[Received]:
        if not self._path.exists():
            return []
        connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        rows = connection.execute("SELECT vin, payload FROM custom_records").fetchall()
        connection.close()
        return [Received(*row) for row in rows]

    async def hold(self) -> None:
        self._lock = apsw.Connection(str(self._path))
        self._lock.execute("BEGIN IMMEDIATE")

    async def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def go_away(self) -> None:
        self._folder.rename(self._folder.with_name("away"))

    async def come_back(self) -> None:
        self._folder.with_name("away").rename(self._folder)


class SqliteSinkContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> SqliteHarness:
        return SqliteHarness()
