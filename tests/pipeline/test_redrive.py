"""Redriving dead letters through a lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.dead_letters.letters import SpooledDeadLetters
from fleetgw.adapters.spool.memory import MemorySpool
from fleetgw.adapters.spool.reading import EVERY_TYPE
from fleetgw.app.pipeline import redrive
from fleetgw.app.pipeline.redrive import Redrive, Redriven
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import Rejected, Retryable, StorageError
from fleetgw.domain.ports import RECEIPT, Page
from fleetgw.testing.sink_doubles import make_record
from tests.support.lane_case import LaneCase

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class RedriveCase(LaneCase, SynchronousTestCase):
    def setUp(self) -> None:
        self.spool = MemorySpool(Clock(), 1_000_000)
        self.spool.start({"scripted": EVERY_TYPE})
        self.dead_letters = self.letters = SpooledDeadLetters(
            "scripted", self.spool, lambda: None, self.save, lambda: 1_700_000_000_000
        )
        self.save_failure: StorageError | None = None
        super().setUp()
        self.redrive = Redrive(self.letters, self.lane)
        self.progress: list[Redriven] = []

    async def save(self, _removed: Sequence[range]) -> StorageError | None:
        return self.save_failure

    def store(self, *txids: str, vin: str = "5YJ3E1EA7KF000001", size_bytes: int = 5) -> None:
        for txid in txids:
            record = make_record(vin, txid, payload=b"x" * size_bytes)
            self.assertIsNone(self.successResultOf(self.letters.store(record, "too large")))

    def run_redrive(self, positions: Collection[int] | None = None) -> Deferred[Redriven]:
        run = Deferred.fromCoroutine(self.redrive.run(positions, lambda each: self.progress.append(evolve(each))))
        self.linger()
        return run

    def stored(self) -> list[tuple[str, str]]:
        page = self.successResultOf(self.letters.read(1, 1000, 10**9))
        assert isinstance(page, Page)
        return [(record.txid.decode(), record.reason) for record in page.records]  # type: ignore[attr-defined]  # letters


class RedriveTests(RedriveCase):
    def test_a_letter_leaves_the_store_once_the_sink_has_confirmed_it(self) -> None:
        self.store("1", "2")
        run = self.run_redrive()
        self.assertEqual(self.sink.txids, [["1", "2"]])
        self.assertNoResult(run)
        self.assertEqual(len(self.stored()), 2)
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.successResultOf(run), Redriven(offered=2, delivered=2))
        self.assertEqual(self.stored(), [])
        self.assertFalse(self.redrive.is_busy)

    def test_one_that_is_refused_again_stays_with_the_new_reason(self) -> None:
        self.store("1", "2")
        run = self.run_redrive()
        self.sink.answer(0, Rejected("still too large"), RECEIPT)
        self.assertEqual(self.successResultOf(run), Redriven(offered=2, delivered=1, refused_again=1))
        self.assertEqual(self.stored(), [("1", "still too large")])

    def test_letters_that_are_stored_again_are_not_offered_again(self) -> None:
        self.patch(redrive, "PAGE_RECORDS", 2)
        self.store("1", "2", "3")
        run = self.run_redrive()
        for number in range(2):
            self.sink.answer(number, Rejected("no"))
            self.linger()
        self.assertEqual(self.successResultOf(run), Redriven(offered=3, refused_again=3))
        self.assertEqual(self.sink.txids, [["1", "2"], ["3"]])

    def test_one_that_cannot_be_stored_again_stays_as_it_was(self) -> None:
        self.store("1")
        run = self.run_redrive()
        self.spool.failure = StorageError("disk full")
        self.sink.answer(0, Rejected("still too large"))
        self.spool.failure = None
        self.assertEqual(self.successResultOf(run), Redriven(offered=1, kept=1))
        self.assertEqual(self.stored(), [("1", "too large")])

    def test_a_sink_that_is_away_gets_them_later(self) -> None:
        self.store("1")
        run = self.run_redrive()
        self.sink.answer(0, Retryable("away"))
        self.assertNoResult(run)
        self.clock.advance(60)
        self.sink.answer(1, RECEIPT)
        self.assertEqual(self.successResultOf(run).delivered, 1)

    def test_some_letters_by_position(self) -> None:
        self.store("1", "2", "3")
        run = self.run_redrive({2})
        self.sink.answer(0, RECEIPT)
        self.successResultOf(run)
        self.assertEqual([txid for txid, _ in self.stored()], ["1", "3"])

    def test_letters_wait_for_room_in_the_lane(self) -> None:
        self.lane = self.make(BacklogLimits(2, 10**9, 2, 2))
        self.redrive = Redrive(self.letters, self.lane)
        self.store(*map(str, range(5)))
        run = self.run_redrive()
        answered = 0
        for _ in range(10):
            if answered < len(self.sink.batches):
                self.sink.answer(answered, RECEIPT)
                answered += 1
            self.clock.advance(1)
        self.assertEqual(self.successResultOf(run), Redriven(offered=5, delivered=5))
        self.assertEqual([txid for txids in self.sink.txids for txid in txids], [str(number) for number in range(5)])

    def test_a_letter_for_which_the_lane_never_has_room_is_kept(self) -> None:
        self.lane = self.make(BacklogLimits(10, 100, 10, 10))
        self.redrive = Redrive(self.letters, self.lane)
        self.store("1", size_bytes=1000)
        self.store("2", vin="LRW3E7EK4NC000003")
        run = self.run_redrive()
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.successResultOf(run), Redriven(offered=2, delivered=1, kept=1))
        self.assertEqual([txid for txid, _ in self.stored()], ["1"])

    def test_pages_follow_each_other(self) -> None:
        self.patch(redrive, "PAGE_RECORDS", 2)
        self.store("1", "2", "3")
        run = self.run_redrive()
        self.sink.answer(0, RECEIPT)
        self.linger()
        self.sink.answer(1, RECEIPT)
        self.assertEqual([each.delivered for each in self.progress], [2, 3])
        self.assertEqual(self.successResultOf(run).delivered, 3)

    def test_what_is_given_up_is_settled_all_the_same(self) -> None:
        self.patch(redrive, "PAGE_RECORDS", 2)
        self.store("1", "2", "3")
        run = self.run_redrive()
        run.cancel()
        self.failureResultOf(run, CancelledError)
        self.assertTrue(self.redrive.is_busy)
        self.sink.answer(0, RECEIPT)
        self.linger()
        self.assertFalse(self.redrive.is_busy)
        self.assertEqual(len(self.sink.batches), 1)
        self.assertEqual([txid for txid, _ in self.stored()], ["3"])

    def test_a_wait_for_room_can_be_given_up(self) -> None:
        self.lane = self.make(BacklogLimits(1, 10**9, 1, 1))
        self.redrive = Redrive(self.letters, self.lane)
        self.store("1", "2")
        run = self.run_redrive()
        run.cancel()
        self.failureResultOf(run, CancelledError)
        self.sink.answer(0, RECEIPT)
        self.clock.advance(1)
        self.assertFalse(self.redrive.is_busy)
        self.assertEqual(len(self.sink.batches), 1)

    def test_letters_that_the_lane_abandons_stay(self) -> None:
        self.store("1")
        self.run_redrive()
        self.lane.close()
        self.lane.abandon()
        self.assertEqual(self.stored(), [("1", "too large")])
        self.assertEqual(self.log.fields_of("dead_letter"), [])

    def test_a_removal_that_is_not_durable_fails_it(self) -> None:
        self.store("1")
        run = self.run_redrive()
        self.save_failure = StorageError("disk full")
        self.sink.answer(0, RECEIPT)
        self.failureResultOf(run, StorageError)

    def test_a_store_that_cannot_be_read_fails_it(self) -> None:
        self.store("1")
        self.spool.stop()
        self.failureResultOf(self.run_redrive(), StorageError)

    def test_nothing_to_redrive(self) -> None:
        self.assertEqual(self.successResultOf(self.run_redrive()), Redriven())
        self.assertEqual(self.sink.batches, [])
