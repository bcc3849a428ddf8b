"""The open file. Everything here blocks, and runs on the sink's thread."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import apsw
from attrs import define, field

from fleetgw.adapters.sinks.sqlite.file_failures import FileReplaced, is_fault_of_record
from fleetgw.adapters.sinks.sqlite.file_version import migrate
from fleetgw.adapters.sinks.sqlite.latest import LatestSignals
from fleetgw.adapters.sinks.sqlite.rows import Rows
from fleetgw.adapters.sinks.sqlite.schema import TABLES_BY_AGE
from fleetgw.adapters.sinks.sqlite.statements import (
    INSERTS,
    LATEST,
    insert,
    mark_latest_current,
    rebuild_latest,
    update_latest_if_behind,
)
from fleetgw.domain.errors import Rejected
from fleetgw.domain.ports import RECEIPT, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fleetgw.adapters.sinks.sqlite.settings import StoreSettings
    from fleetgw.domain.records import Record

LATEST_INTERVAL_S = 1.0
"""Shortest time between updates of ``latest``, which cost far less once a second than once a record."""

CHECKPOINT_PAGES = 4000
"""Pages after which the write-ahead log is written into the file: 16 MB, where SQLite's default is 4 MB."""

TRIM_ROWS = 2000
"""Rows that one step of retention deletes from a table: it takes some milliseconds between two batches."""

_PRIVATE = 0o600
_REASON_CHARACTERS = 300
_LOCK_WAIT_MS = 100
_DAY_MS = 86_400_000
_MB = 1_000_000


@define
class Store:
    """One file, opened when first needed, and again after an error that requires it.

    Methods raise ``apsw.Error``, ``OSError``, ``ForeignFile`` and ``FileReplaced``; nothing is written then.

    :ivar connect: makes a connection from a path.
    :ivar given_up: tells whether to stop waiting for another program's lock.
    """

    settings: StoreSettings
    connect: Callable[[str], apsw.Connection] = apsw.Connection
    given_up: Callable[[], bool] = lambda: False
    _connection: apsw.Connection | None = None
    _identity: tuple[int, int] = (0, 0)
    _vehicle_ids: dict[str, int] = field(factory=dict)
    _new_latest: LatestSignals = field(factory=LatestSignals)
    _latest_at_s: float = 0.0
    _commits_seen: int | None = None  # other processes' commits that ``latest`` includes; None: unknown

    def open(self) -> None:
        """Open the file unless it is open: create or migrate it where needed, and update ``latest``."""
        if self._connection is not None:
            return
        _make_private(self.settings.path)
        connection = self.connect(str(self.settings.path))
        try:
            connection.set_busy_timeout(_LOCK_WAIT_MS)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self.settings.synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * 4096}")
            connection.execute("PRAGMA cache_size = -16000")  # KiB
            connection.execute("PRAGMA secure_delete = OFF")
            migrate(connection)
            self._identity = _identity(self.settings.path)
            self._commits_seen = _commits_of_others(connection)
            update_latest_if_behind(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def close(self) -> None:
        """Update ``latest``, or leave that to the next opening if it fails, and close the file."""
        if self._connection is None:
            return
        with suppress(apsw.Error, OSError, FileReplaced):
            self.update_latest()
        self.abandon()

    def abandon(self) -> None:
        """Close the file without any further access to it."""
        connection, self._connection = self._connection, None
        self._vehicle_ids.clear()
        self._new_latest.clear()
        if connection is not None:
            connection.close()

    def probe(self) -> None:
        """Test whether the file can be written, by a write that changes nothing."""
        self._in_transaction(lambda connection: connection.execute("UPDATE progress SET latest_through = latest_through"))

    def write(self, records: Sequence[Record]) -> list[Outcome]:
        """Write records in one transaction, synced to disk.

        :return: one outcome per record: a receipt, or ``Rejected`` for a record that can never be written.
        """
        self.open()
        rows = Rows()
        outcomes: list[Outcome] = [RECEIPT] * len(records)
        updates_latest = bool(self._new_latest) and time.monotonic() - self._latest_at_s >= LATEST_INTERVAL_S

        def write_all(connection: apsw.Connection) -> None:
            if updates_latest:
                self._update_latest(connection)
            vehicle_ids = self._ids_of(connection, {record.vehicle.vin for record in records})
            for index, record in enumerate(records):
                try:
                    rows.add(record, vehicle_ids[record.vehicle.vin])
                except (apsw.Error, MemoryError):
                    raise
                except Exception as error:  # of any kind: a malformed record must not fail the others
                    outcomes[index] = _rejection(error)
            _insert(connection, rows)

        try:
            self._in_transaction(write_all)
        except Exception as error:
            if not is_fault_of_record(error):
                raise
            return self._write_one_by_one(records)
        if updates_latest:
            self._new_latest.clear()
        self._new_latest.merge(rows.latest)
        return outcomes

    def _write_one_by_one(self, records: Sequence[Record]) -> list[Outcome]:
        """Write each record in a savepoint of its own, to find those that cannot be written; still one transaction."""
        outcomes: list[Outcome] = []
        written: list[Rows] = []

        def write_each(connection: apsw.Connection) -> None:
            for record in records:
                connection.execute("SAVEPOINT one")
                rows = Rows()
                try:
                    rows.add(record, self._ids_of(connection, {record.vin})[record.vin])
                    _insert(connection, rows)
                except Exception as error:
                    if not is_fault_of_record(error):
                        raise
                    connection.execute("ROLLBACK TO one")
                    self._vehicle_ids.clear()
                    outcomes.append(_rejection(error))
                else:
                    outcomes.append(RECEIPT)
                    written.append(rows)
                connection.execute("RELEASE one")

        self._in_transaction(write_each)
        for rows in written:
            self._new_latest.merge(rows.latest)
        return outcomes

    @property
    def latest_is_behind(self) -> bool:
        """Whether there are records that ``latest`` does not include yet."""
        return bool(self._new_latest)

    def update_latest(self) -> None:
        """Update the table ``latest``."""
        if self._new_latest:
            self._in_transaction(self._update_latest)
            self._new_latest.clear()

    def _update_latest(self, connection: apsw.Connection) -> None:
        others = _commits_of_others(connection)
        if others == self._commits_seen:
            insert(connection, LATEST, self._new_latest.cells())
            mark_latest_current(connection)
        else:  # another process writes too, and may end before it updates ``latest``
            rebuild_latest(connection)
            self._commits_seen = others
        self._latest_at_s = time.monotonic()

    def trim(self, now_ms: int, row_limit: int = TRIM_ROWS) -> bool:
        """Delete some of the records that are too old or too many, oldest first; returns whether there are more.

        :param now_ms: epoch milliseconds.
        """
        self.open()
        connection = self._connection
        assert connection is not None  # noqa: S101  open() has just made it
        before_ms = self._cutoff_ms(connection, now_ms)
        if before_ms is None:
            return False
        deleted = 0

        def delete(connection: apsw.Connection) -> None:
            nonlocal deleted
            for table in TABLES_BY_AGE:
                # the newest row stays, so that ids always grow
                connection.execute(
                    f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT ?)"  # noqa: S608  constants
                    f" AND received_at_ms < ? AND id < (SELECT max(id) FROM {table})",
                    (row_limit, before_ms),
                )
                deleted += connection.changes()

        self._in_transaction(delete)
        return deleted > 0

    def _cutoff_ms(self, connection: apsw.Connection, now_ms: int) -> int | None:
        settings = self.settings
        cutoffs = []
        if settings.retention_days:
            cutoffs.append(now_ms - int(settings.retention_days * _DAY_MS))
        if settings.max_size_mb and _used_bytes(connection) > settings.max_size_mb * _MB:
            firsts = [
                row[0]
                for table in TABLES_BY_AGE
                for row in connection.execute(f"SELECT received_at_ms FROM {table} ORDER BY id LIMIT 1")  # noqa: S608  constants
            ]
            if firsts:
                oldest_ms = min(firsts)
                cutoffs.append(oldest_ms + max(1000, (now_ms - oldest_ms) // 50))
        return max(cutoffs, default=None)

    def _ids_of(self, connection: apsw.Connection, vins: set[str]) -> Mapping[str, int]:
        """Ids of vehicles, new ones included: two steps for all of them, see ``statements``."""
        new = vins - self._vehicle_ids.keys()
        if new:
            names = json.dumps(sorted(new), ensure_ascii=False)
            connection.execute("INSERT OR IGNORE INTO vehicle (vin) SELECT value FROM json_each(?)", (names,))
            found = "SELECT json_group_object(vin, id) FROM vehicle WHERE vin IN (SELECT value FROM json_each(?))"
            self._vehicle_ids |= json.loads(connection.execute(found, (names,)).get)
        return self._vehicle_ids

    def _in_transaction(self, work: Callable[[apsw.Connection], object]) -> None:
        self.open()
        connection = self._connection
        assert connection is not None  # noqa: S101  open() has just made it
        self._begin(connection)
        try:
            work(connection)
            connection.execute("COMMIT")
        except BaseException:
            self._vehicle_ids.clear()  # some may be of vehicles whose insertion was rolled back
            self._commits_seen = None
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if _identity(self.settings.path) != self._identity:
            raise FileReplaced

    def _begin(self, connection: apsw.Connection) -> None:
        """Take the write lock; while another program has it, try again in short waits."""
        # half of the timeout, so that records fail with the lock as the reason, not the timeout
        deadline_s = time.monotonic() + self.settings.write_timeout_s / 2
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except apsw.BusyError:
                if time.monotonic() >= deadline_s or self.given_up():
                    raise
            else:
                return


def _insert(connection: apsw.Connection, rows: Rows) -> None:
    for statement in INSERTS:
        cells = getattr(rows, statement.table)
        if cells:
            insert(connection, statement, cells)


def _rejection(error: Exception) -> Rejected:
    return Rejected(f"no row can be made of it: {type(error).__name__}: {error}"[:_REASON_CHARACTERS])


def _make_private(path: Path) -> None:
    """Create a missing file for its owner alone, whatever the umask; SQLite gives -wal and -shm the same mode.

    An existing file keeps its mode: an operator may have let others read it.
    """
    with suppress(OSError):  # opening the file meets the same error, with a better message
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE)
        try:
            os.fchmod(descriptor, _PRIVATE)
        finally:
            os.close(descriptor)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _commits_of_others(connection: apsw.Connection) -> int:
    """A number that changes with every commit of another connection."""
    return int(connection.execute("PRAGMA data_version").get)


def _used_bytes(connection: apsw.Connection) -> int:
    pages, free, size_bytes = (
        connection.execute(f"PRAGMA {name}").get for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size_bytes)
