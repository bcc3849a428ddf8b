"""Replaying records of the spool through a lane."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.spool.memory import MemorySpool
from fleetgw.app.pipeline import replay
from fleetgw.app.pipeline.replay import Replay, Replayed
from fleetgw.domain.errors import Rejected, StorageError
from fleetgw.domain.ports import RECEIPT
from tests.support.lane_case import LaneCase
from tests.support.spool_case import spooled_record


class ReplayTests(LaneCase, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.spool = MemorySpool(Clock(), 1_000_000)
        self.spool.start({"scripted": ("custom",), "away": ("custom",)})
        self.replay = Replay(self.spool, self.lane)
        self.progress: list[Replayed] = []

    def spooled(self, count: int, settled: int) -> None:
        """Spool records, received at milliseconds 0, 1, ...; the first ones are settled for the lane's sink."""
        self.spool.append([spooled_record(number) for number in range(count)])
        self.spool.settle("scripted", settled + 1)

    def run_replay(self, since_ms: int = 0) -> Deferred[Replayed]:
        run = Deferred.fromCoroutine(self.replay.run(1, since_ms, lambda each: self.progress.append(evolve(each))))
        self.linger()
        return run

    def answer(self) -> None:
        for number in range(len(self.sink.batches)):
            if not self.sink.batches[number][1].called:
                self.sink.answer(number, RECEIPT)
        self.linger()

    def test_what_is_settled_is_delivered_again_and_the_rest_is_left_to_the_cursor(self) -> None:
        self.spooled(6, settled=4)
        run = self.run_replay(since_ms=2)
        self.assertNoResult(run)
        self.assertEqual([sorted(txids) for txids in self.sink.txids], [["tx-2", "tx-3"]])
        self.assertTrue(self.replay.is_busy)
        self.answer()
        self.assertEqual(self.successResultOf(run), Replayed(offered=2, settled=2))
        self.assertEqual(self.spool.cursors["scripted"], 5)

    def test_a_record_that_is_refused_is_told(self) -> None:
        self.spooled(1, settled=1)
        run = self.run_replay()
        self.sink.answer(0, Rejected("too large"))
        self.assertEqual(self.successResultOf(run), Replayed(offered=1, settled=0))

    def test_pages_follow_each_other(self) -> None:
        self.patch(replay, "PAGE_RECORDS", 2)
        self.spooled(3, settled=3)
        run = self.run_replay()
        self.answer()
        self.answer()
        self.assertEqual(self.progress, [Replayed(2, 2), Replayed(3, 3)])
        self.assertEqual(self.successResultOf(run), Replayed(3, 3))

    def test_nothing_is_settled(self) -> None:
        self.spooled(3, settled=0)
        self.assertEqual(self.successResultOf(self.run_replay()), Replayed())

    def test_a_spool_that_cannot_be_read_fails_it(self) -> None:
        self.spooled(1, settled=1)
        self.patch(self.spool, "read", lambda *_: succeed(StorageError("on purpose")))
        self.failureResultOf(self.run_replay(), StorageError)
