"""The contract of ``ISpool``, as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from fleetgw.domain.errors import SpoolFull, StorageError
from fleetgw.domain.ports import Appended, ISpool, Page
from tests.support.spool_case import all_of, spooled_record

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import TypeVar
    from unittest import TestCase as _TestCase

    from twisted.internet.defer import Deferred

    from fleetgw.domain.records import Record

    ResultT = TypeVar("ResultT")

    class TestCase(_TestCase):
        """Twisted's ``SynchronousTestCase``, with types."""

        def successResultOf(self, _deferred: Deferred[ResultT]) -> ResultT:
            """The result."""
            raise NotImplementedError

else:
    TestCase = object  # a mixin: the contract alone is no test

SINKS = {"kafka": ("V", "custom"), "redis": ("custom",)}
MANY = 10**9


class SpoolContract(TestCase):
    """Mix into a ``SynchronousTestCase`` and give ``restarted`` and ``fail_storage``.

    :cvar record_bytes: size of the records that fill a spool.
    """

    record_bytes = 8_000

    def restarted(self) -> ISpool:
        """A spool that is not started: the first call makes one, further ones do as a new process would."""
        raise NotImplementedError

    def fail_storage(self, *, fails: bool) -> None:
        """Make storing fail, or succeed again, also for a spool that has noticed it."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.cursors: Mapping[str, int] = {}
        self.spool = self.start(self.restarted())

    def start(self, spool: ISpool, sinks: Mapping[str, Collection[str]] = SINKS) -> ISpool:
        self.cursors = self.successResultOf(spool.start(sinks))
        return spool

    def restart(self, sinks: Mapping[str, Collection[str]] = SINKS) -> None:
        self.successResultOf(self.spool.stop())
        self.spool = self.start(self.restarted(), sinks)

    def store(self, *records: Record) -> range:
        appended = self.spool.append(records)
        self.assertIsInstance(appended, Appended)
        assert isinstance(appended, Appended)
        self.assertIsNone(self.successResultOf(appended.synced))
        return appended.positions

    def page(self, sink: str, position: int, most_records: int = MANY, most_bytes: int = MANY) -> Page:
        page = self.successResultOf(self.spool.read(sink, position, most_records, most_bytes))
        assert isinstance(page, Page), page
        self.assertEqual(len(page.positions), len(page.records))
        return page

    def read_all(self, sink: str, position: int, most_records: int = MANY, most_bytes: int = MANY) -> Sequence[Record]:
        records: list[Record] = []
        while True:
            page = self.page(sink, position, most_records, most_bytes)
            records += page.records
            if page.next_position == position:
                return records
            self.assertGreater(page.next_position, position)
            position = page.next_position

    def assert_read(self, sink: str, position: int, expected: Sequence[Record]) -> None:
        self.assertEqual([all_of(record) for record in self.read_all(sink, position)], [all_of(each) for each in expected])

    def test_provides_the_interface(self) -> None:
        verifyObject(ISpool, self.spool)

    def test_what_is_stored_is_read(self) -> None:
        records = [spooled_record(number) for number in range(5)]
        positions = self.store(*records[:2])
        self.assertEqual(len(positions), 2)
        following = self.store(*records[2:])
        self.assertGreaterEqual(following[0], positions.stop)
        self.assertEqual(self.cursors["kafka"], positions[0])
        page = self.page("kafka", positions[0])
        self.assertEqual([*page.positions], [*positions, *following])
        self.assertEqual(page.next_position, following.stop)
        self.assert_read("redis", positions[0], records)
        self.assert_read("redis", following[1], records[3:])

    def test_each_sink_reads_its_types_alone(self) -> None:
        records = [spooled_record(number, "V" if number % 2 else "custom") for number in range(6)]
        (first, *_) = self.store(*records, spooled_record(9, "unrouted"))
        self.assert_read("kafka", first, records)
        self.assert_read("redis", first, records[::2])
        page = self.page("redis", first)
        self.assertEqual(page.next_position, self.spool.state().next_position)

    def test_records_are_the_same_after_a_restart(self) -> None:
        records = [spooled_record(1, "V"), spooled_record(2)]
        self.store(*records)
        self.restart()
        self.assert_read("kafka", self.cursors["kafka"], records)

    def test_pages_are_bounded_by_records(self) -> None:
        records = [spooled_record(number) for number in range(7)]
        (first, *_) = self.store(*records)
        page = self.page("kafka", first, most_records=3)
        self.assertEqual([*page.positions], [first, first + 1, first + 2])
        self.assertEqual(page.next_position, first + 3)
        self.assertEqual(list(map(all_of, self.read_all("kafka", first, 3))), list(map(all_of, records)))

    def test_pages_are_bounded_by_bytes(self) -> None:
        records = [spooled_record(number, padding_bytes=1000) for number in range(7)]
        (first, *_) = self.store(*records)
        cost_bytes = records[0].cost_bytes
        self.assertEqual(len(self.page("kafka", first, most_bytes=2 * cost_bytes).records), 2)
        self.assertEqual(len(self.page("kafka", first, most_bytes=2 * cost_bytes - 1).records), 1)
        self.assertEqual(len(self.page("kafka", first, most_bytes=1).records), 1)
        self.assertEqual(len(self.read_all("kafka", first, MANY, 1)), 7)

    def test_at_the_end_there_is_nothing_to_read(self) -> None:
        positions = self.store(spooled_record(1))
        page = self.page("kafka", positions.stop)
        self.assertEqual(([*page.records], page.next_position), ([], positions.stop))

    def test_what_is_not_settled_is_read_again_after_a_restart(self) -> None:
        records = [spooled_record(number) for number in range(4)]
        (first, *_) = self.store(*records)
        self.spool.settle("kafka", first + 1)
        self.spool.settle("redis", first + 3)
        self.restart()
        self.assertEqual(self.cursors, {"kafka": first + 1, "redis": first + 3})
        self.assert_read("kafka", self.cursors["kafka"], records[1:])

    def test_the_cursors_follow(self) -> None:
        (first, second) = self.store(spooled_record(1), spooled_record(2))
        self.assertEqual(self.spool.cursors, {"kafka": first, "redis": first})
        self.spool.settle("kafka", second)
        self.assertEqual(self.spool.cursors, {"kafka": second, "redis": first})
        self.restart({"kafka": ("V",)})
        self.assertEqual(self.spool.cursors, {"kafka": second})

    def test_compaction_gives_the_room_of_what_is_settled_back(self) -> None:
        positions = self.store(*(spooled_record(number, padding_bytes=self.record_bytes) for number in range(3)))
        held_bytes = self.spool.state().size_bytes
        self.spool.settle("kafka", positions.stop)
        self.assertIsNone(self.successResultOf(self.spool.compact()))
        self.assertEqual(self.spool.state().size_bytes, held_bytes)
        self.spool.settle("redis", positions.stop)
        self.assertIsNone(self.successResultOf(self.spool.compact()))
        self.assertEqual(self.spool.state().size_bytes, 0)
        record = spooled_record(9)
        (position,) = self.store(record)
        self.assert_read("kafka", position, [record])

    def test_cursors_move_forwards_alone_and_not_past_the_end(self) -> None:
        (first, second) = self.store(spooled_record(1), spooled_record(2))
        self.spool.settle("kafka", second)
        self.spool.settle("kafka", first)
        self.spool.settle("redis", second + 1000)
        self.restart()
        self.assertEqual(self.cursors, {"kafka": second, "redis": second + 1})

    def test_a_new_sink_begins_behind_the_last_record(self) -> None:
        positions = self.store(spooled_record(1))
        self.restart({**SINKS, "mqtt": ("custom",)})
        self.assertEqual(self.cursors["mqtt"], positions.stop)
        record = spooled_record(2)
        self.store(record)
        self.restart({**SINKS, "mqtt": ("custom",)})
        self.assert_read("mqtt", self.cursors["mqtt"], [record])

    def test_a_sink_that_is_away_keeps_its_cursor(self) -> None:
        (first, second) = self.store(spooled_record(1), spooled_record(2))
        self.spool.settle("kafka", second)
        self.restart({"redis": ("custom",)})
        self.assertEqual(self.cursors, {"redis": first})
        self.restart()
        self.assertEqual(self.cursors, {"kafka": second, "redis": first})

    def test_positions_are_used_once(self) -> None:
        positions = self.store(spooled_record(1))
        for sink in SINKS:
            self.spool.settle(sink, positions.stop)
        self.restart()
        self.assertGreaterEqual(self.store(spooled_record(2))[0], positions.stop)
        self.assert_read("kafka", self.cursors["kafka"], [spooled_record(2)])

    def test_a_full_spool_refuses_until_there_is_room(self) -> None:
        number = 0
        while isinstance(appended := self.spool.append([spooled_record(number, padding_bytes=self.record_bytes)]), Appended):
            number += 1
        self.assertIsInstance(appended, SpoolFull)
        self.assertGreater(number, 10)
        self.assertEqual(len(self.read_all("redis", self.cursors["redis"])), number)
        end = self.spool.state().next_position
        self.spool.settle("kafka", end)
        self.assertIsInstance(self.spool.append([spooled_record(number)]), SpoolFull)
        self.spool.settle("redis", end)
        self.store(spooled_record(number))

    def test_what_fails_to_be_stored_is_said_and_heals(self) -> None:
        before = spooled_record(1)
        (first,) = self.store(before)
        self.fail_storage(fails=True)
        appended = self.spool.append([spooled_record(2)])
        assert isinstance(appended, Appended)
        self.assertIsInstance(self.successResultOf(appended.synced), StorageError)
        self.assertIsNotNone(self.spool.state().failure)
        self.fail_storage(fails=False)
        after = spooled_record(3)
        (position,) = self.store(after)
        self.assertGreaterEqual(position, appended.positions.stop)
        self.assertIsNone(self.spool.state().failure)
        for _ in range(2):
            read = {record.txid: record for record in self.read_all("kafka", first)}
            read.pop(b"tx-2", None)  # it may be there: the failure says that it may not
            self.assertEqual([all_of(record) for record in read.values()], [all_of(before), all_of(after)])
            self.restart()

    def test_the_state_follows(self) -> None:
        empty = self.spool.state()
        self.assertEqual((empty.first_position, empty.oldest_age_s), (empty.next_position, 0.0))
        (first,) = self.store(spooled_record(1, padding_bytes=self.record_bytes))
        state = self.spool.state()
        self.assertEqual((state.first_position, state.next_position, state.unsynced_records), (first, first + 1, 0))
        self.assertGreater(state.size_bytes, empty.size_bytes)
        self.assertIsNone(state.failure)

    def test_cancelling_does_nothing(self) -> None:
        appended = self.spool.append([spooled_record(1)])
        assert isinstance(appended, Appended)
        appended.synced.cancel()
        self.assertIsNone(self.successResultOf(appended.synced))

    def test_a_stopped_spool_takes_and_gives_nothing(self) -> None:
        self.successResultOf(self.spool.stop())
        self.assertIsInstance(self.spool.append([spooled_record(1)]), StorageError)
        self.assertIsInstance(self.successResultOf(self.spool.read("kafka", 1, 1, 1)), StorageError)
        self.spool.settle("kafka", 1)

    def tearDown(self) -> None:
        self.spool.stop()
