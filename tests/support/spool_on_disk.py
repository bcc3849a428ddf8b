"""A test case with a spool on a disk in memory."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import apsw
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.spool.database import close
from fleetgw.domain.errors import StorageError
from fleetgw.domain.ports import Appended, Page
from tests.support.disk import Disk, DiskFolder
from tests.support.spool_case import LIMITS, SpoolMaker, all_of, spooled_record

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fleetgw.adapters.spool.limits import SpoolLimits
    from fleetgw.adapters.spool.spool import Spool
    from fleetgw.domain.records import Record

SINKS = {"kafka": ("custom",), "redis": ("custom",)}
MANY = 10**9


class Pessimist(Random):
    """Keeps nothing that was not synced."""

    def random(self) -> float:
        """As high as can be."""
        return 0.999


class SpoolOnDisk(SynchronousTestCase):
    """Starts spools, one after the other, on one disk; threads run inline."""

    def setUp(self) -> None:
        """Make the disk."""
        self.disk = Disk()
        self.addCleanup(self.disk.close)
        self.maker = SpoolMaker(DiskFolder(self.disk), LIMITS)
        self.cursors: Mapping[str, int] = {}

    def limit(self, limits: SpoolLimits) -> None:
        """Make spools with other limits from now on."""
        self.maker.limits = limits

    def start(self, sinks: Mapping[str, Collection[str]] = SINKS) -> Spool:
        """Begin a process."""
        self.spool = self.maker.make()
        self.cursors = self.successResultOf(self.spool.start(sinks))
        return self.spool

    def set_bodies(self, name: str, body: object) -> None:
        """Give the rows of a file that no process has open another body, as damage to their types does."""
        connection = apsw.Connection(DiskFolder(self.disk).path_of(name), vfs=self.disk.name)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        connection.execute("UPDATE block SET body = ?", (body,))
        close(connection)

    def restart(self, sinks: Mapping[str, Collection[str]] = SINKS) -> Spool:
        """Kill the process, and begin another one."""
        self.disk.end_process()
        return self.start(sinks)

    def lose_power(self) -> Spool:
        """Lose all that was not synced, and begin another process."""
        self.disk.lose_power(Pessimist())
        return self.start()

    def store(self, *records: Record) -> range:
        """Append records, and see that they are synced."""
        appended = self.spool.append(records)
        if isinstance(appended, StorageError):
            raise appended
        failure = self.successResultOf(appended.synced)
        assert failure is None, failure
        return appended.positions

    def store_many(self, count: int, padding_bytes: int = 5000) -> list[Record]:
        """Store records in a commit each."""
        records = [spooled_record(number, padding_bytes=padding_bytes) for number in range(count)]
        for record in records:
            self.store(record)
        return records

    def fail_to_store(self, *records: Record) -> StorageError:
        """Append records that are not stored."""
        appended = self.spool.append(records)
        if isinstance(appended, StorageError):
            return appended
        assert isinstance(appended, Appended)
        failure = self.successResultOf(appended.synced)
        assert isinstance(failure, StorageError)
        return failure

    def read(self, sink: str = "kafka", position: int | None = None) -> list[Record]:
        """All that a sink gets, from its cursor on."""
        records: list[Record] = []
        position = self.cursors[sink] if position is None else position
        while True:
            page = self.successResultOf(self.spool.read(sink, position, 10, MANY))
            assert isinstance(page, Page), page
            records += page.records
            if page.next_position == position:
                return records
            position = page.next_position

    def assert_read(self, expected: Sequence[Record], sink: str = "kafka", position: int | None = None) -> None:
        """See that a sink gets these records, from its cursor on."""
        read = self.read(sink, position)
        assert list(map(all_of, read)) == list(map(all_of, expected)), read

    def files(self) -> list[str]:
        """Names of the files of records."""
        return [name for name in self.disk.entries if name.endswith(".spool") and not name.startswith("cursors")]

    def damaged(self, sink: str = "kafka") -> float:
        """Number of records that were counted as damaged."""
        return self.maker.metrics.value("lost_records_total", "unknown", sink, "damaged")
