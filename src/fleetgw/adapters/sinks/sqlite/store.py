"""The open file. Everything here blocks, and runs on the sink's own thread."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.adapters.sinks.sqlite.latest import LatestSignals
from fleetgw.adapters.sinks.sqlite.rows import Rows
from fleetgw.adapters.sinks.sqlite.schema import MIN_SQLITE, TABLES_BY_AGE, ForeignFile, migrate
from fleetgw.adapters.sinks.sqlite.statements import INSERTS, LATEST, all_are_shown, catch_up, insert, show_all
from fleetgw.adapters.sinks.sqlite.troubles import FileReplaced, is_records_own
from fleetgw.domain.errors import Rejected
from fleetgw.domain.ports import RECEIPT, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fleetgw.adapters.sinks.sqlite.settings import StoreSettings
    from fleetgw.domain.records import Record

LATEST_EVERY_S = 1.0
"""``latest`` is brought up to date at most so often: once a second costs far less than once a record."""

CHECKPOINT_PAGES = 4000
"""The write-ahead log is folded into the file about every 16 MB: fewer, larger steps than SQLite's default of 4 MB."""

TRIM_ROWS = 2000
"""Rows that one step of retention deletes from a table: some milliseconds between two batches."""

_PRIVATE = 0o600
_REASON_CHARACTERS = 300
_LOCK_SLICE_S = 0.1
_DAY_MS = 86_400_000
_MB = 1_000_000


@define
class Store:
    """One file, opened when first needed and again whenever it has become useless.

    Methods raise ``sqlite3.Error``, ``OSError``, ``ForeignFile`` and ``FileReplaced``; nothing is written then.

    :ivar given_up: asked while another program's lock is waited for.
    """

    settings: StoreSettings
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    given_up: Callable[[], bool] = lambda: False
    _connection: sqlite3.Connection | None = None
    _identity: tuple[int, int] = (0, 0)
    _vehicle_ids: dict[str, int] = field(factory=dict)
    _unfolded: LatestSignals = field(factory=LatestSignals)
    _folded_at_s: float = 0.0
    _others_seen: int | None = None  # what of other processes' commits ``latest`` shows; None: not known

    def open(self) -> None:
        """Open the file, make or migrate it where needed, bring ``latest`` up to date; nothing if it is open."""
        if self._connection is not None:
            return
        if sqlite3.sqlite_version_info < MIN_SQLITE:
            raise ForeignFile(f"Python comes with SQLite {sqlite3.sqlite_version}, 3.38 or later is needed")
        _make_private(self.settings.path)
        connection = self.connect(
            self.settings.path, timeout=_LOCK_SLICE_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self.settings.synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * 4096}")
            connection.execute("PRAGMA cache_size = -16000")  # KiB
            connection.execute("PRAGMA secure_delete = OFF")
            migrate(connection)
            self._identity = _identity(self.settings.path)
            self._others_seen = _commits_of_others(connection)
            catch_up(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def close(self) -> None:
        """Bring ``latest`` up to date and close the file; what cannot be done any more is done at the next opening."""
        if self._connection is None:
            return
        with suppress(sqlite3.Error, OSError, FileReplaced):
            self.fold()
        self.abandon()

    def abandon(self) -> None:
        """Close without a further word: the file is of no more use."""
        connection, self._connection = self._connection, None
        self._vehicle_ids.clear()
        self._unfolded.clear()
        if connection is not None:
            connection.close()

    def probe(self) -> None:
        """See whether the file can be written, by writing."""
        self._in_transaction(lambda connection: connection.execute("UPDATE progress SET latest_through = latest_through"))

    def write(self, records: Sequence[Record]) -> list[Outcome]:
        """Write records in one transaction and have it on the disk.

        :return: one outcome per record: a receipt, or ``Rejected`` for one that cannot be written whatever happens.
        """
        self.open()
        rows = Rows()
        outcomes: list[Outcome] = [RECEIPT] * len(records)
        folds = bool(self._unfolded) and time.monotonic() - self._folded_at_s >= LATEST_EVERY_S

        def all_together(connection: sqlite3.Connection) -> None:
            if folds:
                self._fold(connection)
            vehicle_ids = self._identify(connection, {record.vehicle.vin for record in records})
            for index, record in enumerate(records):
                try:
                    rows.add(record, vehicle_ids[record.vehicle.vin])
                except (sqlite3.Error, MemoryError):
                    raise
                except Exception as error:  # whatever a strange record does, it does it to itself alone
                    outcomes[index] = _rejection(error)
            _insert(connection, rows)

        try:
            self._in_transaction(all_together)
        except Exception as error:
            if not is_records_own(error):
                raise
            return self._write_one_by_one(records)
        if folds:
            self._unfolded.clear()
        self._unfolded.merge(rows.latest)
        return outcomes

    def _write_one_by_one(self, records: Sequence[Record]) -> list[Outcome]:
        """Find the records that cannot be written; still one transaction."""
        outcomes: list[Outcome] = []
        written: list[Rows] = []

        def each_alone(connection: sqlite3.Connection) -> None:
            for record in records:
                connection.execute("SAVEPOINT one")
                rows = Rows()
                try:
                    rows.add(record, self._identify(connection, {record.vin})[record.vin])
                    _insert(connection, rows)
                except Exception as error:
                    if not is_records_own(error):
                        raise
                    connection.execute("ROLLBACK TO one")
                    self._vehicle_ids.clear()
                    outcomes.append(_rejection(error))
                else:
                    outcomes.append(RECEIPT)
                    written.append(rows)
                connection.execute("RELEASE one")

        self._in_transaction(each_alone)
        for rows in written:
            self._unfolded.merge(rows.latest)
        return outcomes

    @property
    def owes_latest(self) -> bool:
        """Whether there are records that ``latest`` does not show yet."""
        return bool(self._unfolded)

    def fold(self) -> None:
        """Bring ``latest`` up to date."""
        if self._unfolded:
            self._in_transaction(self._fold)
            self._unfolded.clear()

    def _fold(self, connection: sqlite3.Connection) -> None:
        others = _commits_of_others(connection)
        if others == self._others_seen:
            insert(connection, LATEST, self._unfolded.cells())
            all_are_shown(connection)
        else:  # another process writes too, and may die before it shows what it has written
            show_all(connection)
            self._others_seen = others
        self._folded_at_s = time.monotonic()

    def trim(self, now_ms: int, row_limit: int = TRIM_ROWS) -> bool:
        """Delete some of what is too old or too much, the oldest first; whether there is more to delete.

        :param now_ms: epoch milliseconds.
        """
        self.open()
        connection = self._connection
        assert connection is not None  # noqa: S101  open() has just made it
        before_ms = self._cutoff_ms(connection, now_ms)
        if before_ms is None:
            return False
        deleted = 0

        def delete(connection: sqlite3.Connection) -> None:
            nonlocal deleted
            for table in TABLES_BY_AGE:
                # the newest row stays, so that ids only ever grow
                deleted += connection.execute(
                    f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT ?)"  # noqa: S608  constants
                    f" AND received_at_ms < ? AND id < (SELECT max(id) FROM {table})",
                    (row_limit, before_ms),
                ).rowcount

        self._in_transaction(delete)
        return deleted > 0

    def _cutoff_ms(self, connection: sqlite3.Connection, now_ms: int) -> int | None:
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

    def _identify(self, connection: sqlite3.Connection, vins: set[str]) -> Mapping[str, int]:
        """Ids of vehicles, which are made where there are none: two steps for all of them, as for rows in statements.py."""
        new = vins - self._vehicle_ids.keys()
        if new:
            names = json.dumps(sorted(new), ensure_ascii=False)
            connection.execute("INSERT OR IGNORE INTO vehicle (vin) SELECT value FROM json_each(?)", (names,))
            found = "SELECT json_group_object(vin, id) FROM vehicle WHERE vin IN (SELECT value FROM json_each(?))"
            self._vehicle_ids |= json.loads(connection.execute(found, (names,)).fetchone()[0])
        return self._vehicle_ids

    def _in_transaction(self, work: Callable[[sqlite3.Connection], object]) -> None:
        self.open()
        connection = self._connection
        assert connection is not None  # noqa: S101  open() has just made it
        self._begin(connection)
        try:
            work(connection)
            connection.execute("COMMIT")
        except BaseException:
            self._vehicle_ids.clear()  # some may have been of vehicles that are not in the file now
            self._others_seen = None
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if _identity(self.settings.path) != self._identity:
            raise FileReplaced

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Take the write lock; where another program has it, wait for it in slices."""
        # half of the time that a record has: it is told that the lock was the reason, not the time
        deadline_s = time.monotonic() + self.settings.write_timeout_s / 2
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() >= deadline_s or self.given_up():
                    raise
            else:
                return


def _insert(connection: sqlite3.Connection, rows: Rows) -> None:
    for statement in INSERTS:
        cells = getattr(rows, statement.table)
        if cells:
            insert(connection, statement, cells)


def _rejection(error: Exception) -> Rejected:
    return Rejected(f"no row can be made of it: {type(error).__name__}: {error}"[:_REASON_CHARACTERS])


def _make_private(path: Path) -> None:
    """Make a file that does not exist yet, for its owner alone whatever the umask; -wal and -shm get the file's mode.

    A file that exists keeps its mode: an operator may have let others read it.
    """
    with suppress(OSError):  # which the opening meets too, and says better
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


def _commits_of_others(connection: sqlite3.Connection) -> int:
    """A number that changes whenever another connection has changed the file."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, size_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size_bytes)
