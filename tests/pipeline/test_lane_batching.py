"""A lane over a scripted sink: batches, linger, limits."""

from twisted.internet.defer import Deferred
from zope.interface import directlyProvides

from fleetgw.app.pipeline.lane import EARLY_FLUSH_RECORDS, PROMPT_FLUSH_RECORDS
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.memory_budget import MemoryBudget
from fleetgw.domain.ports import RECEIPT, IPromptDispatcher
from tests.support.lane_case import LIMITS, TIMING, LaneCase, succeeded


class BatchingTests(LaneCase):
    def test_records_linger_and_leave_in_one_batch(self) -> None:
        self.offer("1", "2")
        self.clock.advance(0.004)
        self.offer("3")
        self.assertEqual(self.sink.txids, [])
        self.clock.advance(0.001)
        self.assertEqual(self.sink.txids, [["1", "2", "3"]])

    def test_enough_records_are_flushed_in_the_reactors_next_turn(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer(*map(str, range(EARLY_FLUSH_RECORDS - 1)))
        self.clock.advance(0)
        self.assertEqual(self.sink.txids, [])
        self.offer("one", "another of the same turn")
        self.offer("and a third")
        self.clock.advance(0)
        self.assertEqual([len(batch) for batch in self.sink.txids], [EARLY_FLUSH_RECORDS + 2])

    def test_a_batch_lingers_for_as_many_records_as_are_in_flight(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer(*map(str, range(50)))
        self.clock.advance(0)
        self.offer(*map(str, range(49)))
        self.clock.advance(0.004)
        self.assertEqual(len(self.sink.txids), 1)
        self.offer("the fiftieth")
        self.clock.advance(0)
        self.assertEqual([len(batch) for batch in self.sink.txids], [50, 50])
        self.sink.answer(0, RECEIPT)
        self.offer(*map(str, range(40)))
        self.clock.advance(0)
        self.assertEqual(len(self.sink.txids), 2, "50 are under way")
        self.clock.advance(TIMING.linger_s)
        self.assertEqual(len(self.sink.txids), 3, "the linger timeout is over")

    def test_a_batch_lingers_for_as_many_records_as_were_confirmed(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer(*map(str, range(60)), origin=self.origin)
        self.clock.advance(0)
        self.offer("left over", origin=self.origin)
        self.sink.answer(0, RECEIPT)
        self.offer(*map(str, range(59)), origin=self.origin)
        self.clock.advance(0.004)
        self.assertEqual(len(self.sink.txids), 1, "60 records are expected")
        self.offer("the sixtieth", origin=self.origin)
        self.clock.advance(0)
        self.assertEqual([len(batch) for batch in self.sink.txids], [60, 61])
        self.sink.answer(1, RECEIPT)
        self.offer("1", origin=self.origin)
        self.clock.advance(TIMING.linger_s)
        self.assertEqual(len(self.sink.txids), 3, "the linger timeout is over")
        self.offer(*map(str, range(EARLY_FLUSH_RECORDS)), origin=self.origin)
        self.clock.advance(0)
        self.assertEqual(len(self.sink.txids), 4, "an old estimate counts")

    def test_confirmations_without_an_origin_do_not_make_a_batch_linger(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer(*map(str, range(60)))
        self.clock.advance(0)
        self.sink.answer(0, RECEIPT)
        self.offer(*map(str, range(EARLY_FLUSH_RECORDS)))
        self.clock.advance(0)
        self.assertEqual([len(batch) for batch in self.sink.txids], [60, EARLY_FLUSH_RECORDS])

    def test_a_batch_for_a_prompt_sink_is_flushed_early_whatever_is_in_flight(self) -> None:
        directlyProvides(self.sink, IPromptDispatcher)
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        for _ in range(2):
            self.offer(*map(str, range(60)), origin=self.origin)
            self.clock.advance(0)
        self.sink.answer(0, RECEIPT)
        self.offer(*map(str, range(PROMPT_FLUSH_RECORDS)))
        self.clock.advance(0)
        self.assertEqual([len(batch) for batch in self.sink.txids], [60, 60, PROMPT_FLUSH_RECORDS])
        self.offer(*map(str, range(PROMPT_FLUSH_RECORDS - 1)))
        self.clock.advance(0.004)
        self.assertEqual(len(self.sink.txids), 3, "a few records linger")
        self.clock.advance(0.001)
        self.assertEqual(len(self.sink.txids), 4)

    def test_waiting_records_do_not_shorten_the_backoff(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer("1")
        self.linger()
        self.sink.answer(0, Retryable("not now"))
        self.offer(*map(str, range(100)))
        self.clock.advance(TIMING.linger_s)
        self.assertEqual(len(self.sink.txids), 1)

    def test_batches_and_the_in_flight_window_are_bounded(self) -> None:
        self.offer(*"abcdefghijkl")
        self.linger()
        self.assertEqual(self.sink.txids, [list("abcd"), list("efgh")])
        self.sink.answer(0, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.sink.txids[2:], [list("ijkl")])

    def test_overlapping_batches_settle_in_any_order(self) -> None:
        self.offer(*"abcdefgh", origin=self.origin)
        self.linger()
        self.sink.answer(1, RECEIPT)
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.origin.confirmed_txids, [list("efgh"), list("abcd")])
        self.assertEqual(self.lane.held_records, 0)

    def test_a_sink_may_answer_at_once(self) -> None:
        self.sink.answer_with = lambda batch: succeeded([RECEIPT] * len(batch))
        self.offer(*"abcdefghijkl", origin=self.origin)
        for _ in range(3):
            self.linger()
        self.assertEqual(self.origin.confirmed_txids, [list("abcd"), list("efgh"), list("ijkl")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_full_queue_takes_the_first_records_and_counts_the_others(self) -> None:
        self.lane = self.make(BacklogLimits(queue_records=3, queue_bytes=12, in_flight_records=8, batch_records=4))
        self.assertEqual(self.offer("1", "2", "3"), 2)
        self.assertEqual(self.offer("4"), 0)
        self.assertEqual(self.number("lane_refused_total"), 2)
        self.linger()
        self.assertEqual(self.sink.txids, [["1", "2"]])
        self.assertEqual(self.number("lane_held_records"), 2)
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.number("lane_held_records"), 0)

    def test_records_above_the_memory_budget_are_refused_counted_and_logged_once_in_a_while(self) -> None:
        share = MemoryBudget(24, 1).share(2.0)
        self.lane = self.make(LIMITS, share=share)
        self.assertEqual(self.offer("1", "2", "3"), 2)
        self.assertEqual(self.offer("4"), 0)
        for name in ("lane_refused_total", "lane_refused_for_memory_total"):
            self.assertEqual(self.number(name), 2)
        self.assertEqual(
            [fields for _, event, fields in self.log.entries if event == "memory_ceiling_reached"],
            [{"dispatcher": "scripted", "memory_bytes": 20, "ceiling_bytes": 24}],
        )
        self.linger()
        self.assertEqual(self.number("lane_memory_bytes"), 20)
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.number("lane_memory_bytes"), 0)
        self.assertEqual(self.offer("3"), 1)

    def test_records_above_the_limits_are_not_counted_for_the_memory_budget(self) -> None:
        for limits in (BacklogLimits(1, 100, 1, 1), BacklogLimits(9, 7, 1, 1)):
            self.lane = self.make(limits, share=MemoryBudget(24, 1).share())
            self.assertEqual(self.offer("1", "2"), 1)
            self.assertEqual(self.number("lane_refused_for_memory_total"), 0)

    def test_abandoned_records_give_their_memory_back(self) -> None:
        share = MemoryBudget(1000, 1).share()
        self.lane = self.make(LIMITS, share=share)
        self.offer("1", "2")
        self.linger()
        self.sink.answer(0, Retryable("later"), NotConnected("gone"))
        self.assertEqual(share.held_bytes, 10)
        self.lane.close()
        self.lost = self.lane.abandon()
        self.assertEqual(share.held_bytes, 0)

    def test_a_refused_offer_leaves_no_timer(self) -> None:
        self.lane = self.make(BacklogLimits(queue_records=1, queue_bytes=100, in_flight_records=1, batch_records=1))
        self.offer("1")
        self.linger()
        self.offer("2")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TurnTests(LaneCase):
    def test_slow_dispatches_are_spread_over_reactor_turns(self) -> None:
        """Other descriptors are served in between."""

        def slowly(_batch: object) -> Deferred[object]:
            self.clock.rightNow += 0.003  # type: ignore[attr-defined]  # nothing that is due may run meanwhile
            return Deferred()

        self.lane = self.make(BacklogLimits(queue_records=100, queue_bytes=10_000, in_flight_records=100, batch_records=4))
        self.sink.answer_with = slowly
        self.offer(*map(str, range(20)))
        handed = []
        while len(self.sink.batches) < 5:
            (call,) = self.clock.getDelayedCalls()
            self.clock.calls.remove(call)  # type: ignore[attr-defined]
            before = len(self.sink.batches)
            call.func()  # type: ignore[attr-defined]
            handed.append(len(self.sink.batches) - before)
        self.assertEqual(handed, [2, 2, 1])
