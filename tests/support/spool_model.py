"""A spool driven through crashes, and a model of what it owes.

The model knows of each record whether it was reported as synced, and for each sink what is settled. After any crash, each
record that was reported as synced and is not settled for a sink must be read for it, as it was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.spool.limits import SpoolLimits
from fleetgw.domain.errors import StorageError
from fleetgw.domain.ports import Appended
from fleetgw.domain.spool import Cursor
from tests.support.disk import Disk, DiskFolder
from tests.support.spool_case import KIB, SpoolMaker, all_of, spooled_record
from tests.support.workers import HeldWorker

if TYPE_CHECKING:
    from random import Random

    from twisted.internet.defer import Deferred

    from fleetgw.adapters.spool.spool import Spool
    from fleetgw.domain.ports import Page

SINKS = {"kafka": ("V", "custom"), "redis": ("custom",)}
LIMITS = SpoolLimits(max_bytes=1024 * KIB, file_bytes=40 * KIB)


class SpoolHistory:
    """One spool after the other on one disk, and the records in them.

    :ivar synced: numbers of the records that were reported as synced, by position.
    :ivar settled: by sink, the numbers of the records that are settled.
    """

    def __init__(self, limits: SpoolLimits = LIMITS) -> None:
        self.disk = Disk()
        self.maker = SpoolMaker(DiskFolder(self.disk), limits)
        self.workers: list[HeldWorker] = []
        self.maker.make_worker = self._make_worker
        self.types: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        self.synced: dict[int, int] = {}
        self.with_sink: dict[str, dict[int, int]] = {}
        self.settled: dict[str, set[int]] = {sink: set() for sink in SINKS}
        self._next_number = 0
        self.start()

    def _make_worker(self, name: str) -> HeldWorker:
        worker = HeldWorker(name)
        self.workers.append(worker)
        return worker

    def work(self) -> None:
        """Let the threads do all that there is."""
        while sum(worker.work() for worker in self.workers):
            pass

    def start(self) -> None:
        """Begin a process."""
        self.workers.clear()
        self.spool: Spool = self.maker.make()
        self.alive = True
        started: list[object] = []
        self.spool.start(SINKS).addBoth(started.append)
        self.work()
        (cursors,) = started
        assert isinstance(cursors, dict), cursors
        self.with_sink = {sink: {} for sink in SINKS}
        self.cursors = {sink: Cursor(position) for sink, position in cursors.items()}

    def append(self, count: int, record_type: str, padding_bytes: int) -> None:
        """Append records; they are written when the threads work."""
        numbers = range(self._next_number, self._next_number + count)
        records = [spooled_record(number, record_type, padding_bytes) for number in numbers]
        appended = self.spool.append(records)
        if isinstance(appended, StorageError):
            return
        assert isinstance(appended, Appended)
        self._next_number = numbers.stop
        assert not self.synced.keys() & set(appended.positions), "a position is used twice"
        for number in numbers:
            self.types[number], self.sizes[number] = record_type, padding_bytes
        spool = self.spool

        def synced(failure: StorageError | None) -> None:
            if failure is None and self.alive and spool is self.spool:
                self.synced.update(zip(appended.positions, numbers, strict=True))

        appended.synced.addCallback(synced)

    def read(self, sink: str, most_records: int) -> None:
        """Read the next page of a sink, and hand it to the sink."""
        cursor = self.cursors[sink]
        page = self._page(sink, cursor.next_position, most_records)
        if page is not None:
            self._check(sink, page)
            cursor.hand_out(page.positions, page.next_position)
            self.with_sink[sink].update(zip(page.positions, numbers_of(page), strict=True))

    def settle(self, sink: str, random: Random) -> None:
        """Settle some of what is with the sink, in any order."""
        with_sink = self.with_sink[sink]
        chosen = random.sample(sorted(with_sink), random.randint(0, len(with_sink)))
        self.settled[sink].update(with_sink.pop(position) for position in chosen)
        position = self.cursors[sink].settle(chosen)
        if position is not None:
            self.spool.settle(sink, position)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.maker.clock.advance(seconds)

    def end(self) -> None:
        """End the process at this moment: whatever it would do now never happens."""
        self.alive = False
        self.workers.clear()
        self.disk.end_process()

    def lose_power(self, random: Random) -> None:
        """Cut the power, and begin a process."""
        self.end()
        self.disk.lose_power(random)
        self.start()

    def kill(self) -> None:
        """Kill the process, and begin another one: the operating system forgets nothing."""
        self.end()
        self.start()

    def stop_and_start(self) -> None:
        """Stop the process in order, and begin another one."""
        self.spool.stop()
        self.work()
        self.kill()

    def check(self) -> None:
        """See that every sink gets what it is owed, from its cursor on."""
        self.disk.is_broken = self.disk.is_full = False
        self.disk.failing_syncs = 0
        self.work()
        for sink in SINKS:
            found: dict[int, int] = {}
            position = self.spool._cursors[sink]
            while (page := self._page(sink, position, 7)) is not None and page.next_position > position:
                self._check(sink, page)
                found.update(zip(page.positions, numbers_of(page), strict=True))
                position = page.next_position
            missing = {position: number for position, number in self.owed(sink).items() if found.get(position) != number}
            assert not missing, f"{sink} misses {missing}; files: {self.disk.entries.keys()}"
        damaged = self.maker.metrics.value("spool_damaged_files_total")
        assert not damaged, f"{damaged} files are damaged"

    def owed(self, sink: str) -> dict[int, int]:
        """Numbers of the records that the sink must get, by position."""
        types, settled = SINKS[sink], self.settled[sink]
        return {
            position: number
            for position, number in self.synced.items()
            if self.types[number] in types and number not in settled
        }

    def close(self) -> None:
        """Forget the disk."""
        self.end()
        self.disk.close()

    def _page(self, sink: str, position: int, most_records: int) -> Page | None:
        pages: list[object] = []
        deferred: Deferred[Page | StorageError] = self.spool.read(sink, position, most_records, 10**9)
        deferred.addCallback(pages.append)
        self.work()
        (page,) = pages
        return None if isinstance(page, StorageError) else page  # type: ignore[return-value]  # a page then

    def _check(self, sink: str, page: Page) -> None:
        """A page holds what was appended, as it was."""
        for record in page.records:
            number = record.received_at_ms
            expected = spooled_record(number, self.types[number], self.sizes[number])
            assert all_of(record) == all_of(expected), f"{sink}: {all_of(record)}"


def numbers_of(page: Page) -> list[int]:
    """The numbers of a page's records."""
    return [record.received_at_ms for record in page.records]
