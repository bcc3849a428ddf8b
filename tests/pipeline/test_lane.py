"""A lane over a scripted sink, on a clock."""

import base64
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import directlyProvides

from fleetgw.app.pipeline.lane import EARLY_FLUSH_RECORDS, PROMPT_FLUSH_RECORDS
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import NotConnected, Rejected, Retryable, Unheard
from fleetgw.domain.memory_budget import MemoryBudget
from fleetgw.domain.ports import RECEIPT, IPromptDispatcher, Outcome
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import make_record
from tests.support.lane_case import LIMITS, TIMING, LaneCase, Origin, succeeded


class BrokenOrigin(Origin):
    def confirmed(self, records: Sequence[Record]) -> None:
        raise RuntimeError("the link is in pieces")


class GatheringTests(LaneCase):
    def test_records_wait_for_company_and_leave_together(self) -> None:
        self.offer("1", "2")
        self.clock.advance(0.004)
        self.offer("3")
        self.assertEqual(self.sink.txids, [])
        self.clock.advance(0.001)
        self.assertEqual(self.sink.txids, [["1", "2", "3"]])

    def test_enough_company_leaves_with_the_reactors_turn(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer(*map(str, range(EARLY_FLUSH_RECORDS - 1)))
        self.clock.advance(0)
        self.assertEqual(self.sink.txids, [])
        self.offer("one", "and another of the same turn")
        self.offer("and a third")
        self.clock.advance(0)
        self.assertEqual([len(batch) for batch in self.sink.txids], [EARLY_FLUSH_RECORDS + 2])

    def test_the_more_is_under_way_the_more_is_company(self) -> None:
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
        self.assertEqual(len(self.sink.txids), 3, "nobody waits longer than that")

    def test_as_many_as_were_confirmed_are_company(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer(*map(str, range(60)), origin=self.origin)
        self.clock.advance(0)
        self.offer("left over", origin=self.origin)
        self.sink.answer(0, RECEIPT)
        self.offer(*map(str, range(59)), origin=self.origin)
        self.clock.advance(0.004)
        self.assertEqual(len(self.sink.txids), 1, "the vehicle sends 60 again, it may be supposed")
        self.offer("the sixtieth", origin=self.origin)
        self.clock.advance(0)
        self.assertEqual([len(batch) for batch in self.sink.txids], [60, 61])
        self.sink.answer(1, RECEIPT)
        self.offer("1", origin=self.origin)
        self.clock.advance(TIMING.linger_s)
        self.assertEqual(len(self.sink.txids), 3, "nobody waits longer than that")
        self.offer(*map(str, range(EARLY_FLUSH_RECORDS)), origin=self.origin)
        self.clock.advance(0)
        self.assertEqual(len(self.sink.txids), 4, "nothing is left over of what was supposed before")

    def test_those_who_did_not_wait_send_nothing_because_of_a_confirmation(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer(*map(str, range(60)))
        self.clock.advance(0)
        self.sink.answer(0, RECEIPT)
        self.offer(*map(str, range(EARLY_FLUSH_RECORDS)))
        self.clock.advance(0)
        self.assertEqual([len(batch) for batch in self.sink.txids], [60, EARLY_FLUSH_RECORDS])

    def test_a_prompt_sink_needs_little_company_whatever_is_under_way(self) -> None:
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
        self.assertEqual(len(self.sink.txids), 3, "one by one records would cost it more")
        self.clock.advance(0.001)
        self.assertEqual(len(self.sink.txids), 4)

    def test_company_does_not_shorten_the_pause_after_a_failure(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer("1")
        self.gather()
        self.sink.answer(0, Retryable("not now"))
        self.offer(*map(str, range(100)))
        self.clock.advance(TIMING.linger_s)
        self.assertEqual(len(self.sink.txids), 1)

    def test_batches_are_cut_and_the_window_is_kept(self) -> None:
        self.offer(*"abcdefghijkl")
        self.gather()
        self.assertEqual(self.sink.txids, [list("abcd"), list("efgh")])
        self.sink.answer(0, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.sink.txids[2:], [list("ijkl")])

    def test_overlapping_batches_settle_in_any_order(self) -> None:
        self.offer(*"abcdefgh", origin=self.origin)
        self.gather()
        self.sink.answer(1, RECEIPT)
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.origin.told, [list("efgh"), list("abcd")])
        self.assertEqual(self.lane.held_records, 0)

    def test_a_sink_that_answers_at_once(self) -> None:
        self.sink.answer_with = lambda batch: succeeded([RECEIPT] * len(batch))
        self.offer(*"abcdefghijkl", origin=self.origin)
        for _ in range(3):
            self.gather()
        self.assertEqual(self.origin.told, [list("abcd"), list("efgh"), list("ijkl")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_full_queue_takes_the_first_ones_and_counts_the_rest(self) -> None:
        self.lane = self.make(BacklogLimits(queue_records=3, queue_bytes=12, in_flight_records=8, batch_records=4))
        self.assertEqual(self.offer("1", "2", "3"), 2)
        self.assertEqual(self.offer("4"), 0)
        self.assertEqual(self.number("lane_refused_total"), 2)
        self.gather()
        self.assertEqual(self.sink.txids, [["1", "2"]])
        self.assertEqual(self.number("lane_held_records"), 2)
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.number("lane_held_records"), 0)

    def test_what_the_memory_of_all_queues_has_no_room_for_is_refused_counted_and_now_and_then_logged(self) -> None:
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
        self.gather()
        self.assertEqual(self.number("lane_memory_bytes"), 20)
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.number("lane_memory_bytes"), 0)
        self.assertEqual(self.offer("3"), 1)

    def test_a_full_queue_is_not_the_memorys_fault(self) -> None:
        for limits in (BacklogLimits(1, 100, 1, 1), BacklogLimits(9, 7, 1, 1)):
            self.lane = self.make(limits, share=MemoryBudget(24, 1).share())
            self.assertEqual(self.offer("1", "2"), 1)
            self.assertEqual(self.number("lane_refused_for_memory_total"), 0)

    def test_what_is_given_up_on_takes_no_memory(self) -> None:
        share = MemoryBudget(1000, 1).share()
        self.lane = self.make(LIMITS, share=share)
        self.offer("1", "2")
        self.gather()
        self.sink.answer(0, Retryable("later"), NotConnected("gone"))
        self.assertEqual(share.held_bytes, 10)
        self.lane.close()
        self.lane.abandon()
        self.assertEqual(share.held_bytes, 0)

    def test_no_timer_is_left_where_nothing_was_taken(self) -> None:
        self.lane = self.make(BacklogLimits(queue_records=1, queue_bytes=100, in_flight_records=1, batch_records=1))
        self.offer("1")
        self.gather()
        self.offer("2")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OutcomeTests(LaneCase):
    def test_every_outcome_has_its_own_consequence(self) -> None:
        self.offer("ok", "no", "later", "down", origin=self.origin)
        self.gather()
        self.sink.answer(0, RECEIPT, Rejected("too large"), Retryable("throttled"), NotConnected("gone"))
        self.assertEqual(self.origin.told, [["ok"]])
        self.assertEqual(self.number("dead_letter_total"), 1)
        self.assertEqual(self.number("lane_retried_total"), 1)
        self.clock.advance(1)
        self.assertEqual(self.sink.txids[1:], [["later"]])
        self.sink.answer(1, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.sink.txids[2:], [["down"]])
        self.sink.answer(2, RECEIPT)
        self.assertEqual(self.origin.told, [["ok"], ["later"], ["down"]])
        self.assertEqual(self.lane.held_records, 0)

    def test_a_dead_letter_is_logged_with_all_that_was_to_be_delivered(self) -> None:
        self.offer("acked")
        self.offer("awaited", origin=self.origin)
        self.gather()
        self.sink.answer(0, Rejected("too large"))
        letters = self.log.fields_of("dead_letter")
        self.assertEqual([letter["vehicle_resends"] for letter in letters], [False, True])
        self.assertEqual(letters[0]["dispatcher"], "scripted")
        self.assertEqual(letters[0]["error"], "too large")
        self.assertEqual(base64.b64decode(str(letters[0]["payload_base64"])), b"12345")
        self.assertEqual(letters[0]["metadata"], make_record(txid="acked").metadata())
        self.assertEqual(self.origin.told, [])

    def test_what_nobody_was_there_to_hear_is_neither_acked_nor_put_aside_nor_tried_again(self) -> None:
        self.offer("heard", "unheard", origin=self.origin)
        self.gather()
        self.sink.answer(0, RECEIPT, Unheard("nobody subscribes"))
        self.clock.advance(60)
        self.assertEqual(self.origin.told, [["heard"]])
        self.assertEqual(len(self.sink.batches), 1)
        self.assertEqual(self.lane.held_records, 0)
        self.assertEqual(self.number("dead_letter_total"), 0)
        self.assertEqual(self.log.fields_of("dead_letter"), [])

    def test_a_deferred_that_fails_loses_nothing(self) -> None:
        self.offer("1", "2", origin=self.origin)
        self.gather()
        self.sink.batches[0][1].errback(RuntimeError("a bug"))
        self.assertIn("a bug", str(self.log.fields_of("dispatch_failed")[0]["error"]))
        self.clock.advance(1)
        self.sink.answer(1, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.sink.txids[1:], [["1"], ["2"]])

    def test_a_dispatch_that_raises_loses_nothing(self) -> None:
        def broken(_batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
            raise RuntimeError("a bug")

        self.sink.answer_with = broken
        self.offer("1")
        self.gather()
        self.assertIn("a bug", str(self.log.fields_of("dispatch_failed")[0]["error"]))
        self.sink.answer_with = None
        self.clock.advance(1)
        self.assertEqual(self.sink.txids[1:], [["1"]])

    def test_a_dispatch_that_returns_no_deferred_loses_nothing(self) -> None:
        self.sink.answer_with = lambda _batch: None
        self.offer("1")
        self.gather()
        self.sink.answer_with = None
        self.clock.advance(1)
        self.assertEqual(self.sink.txids[1:], [["1"]])

    def test_another_number_of_outcomes_confirms_nothing(self) -> None:
        wrong: list[object] = [None, 7, [], [RECEIPT] * 3, [RECEIPT] * 4]
        for number, outcomes in enumerate(wrong):
            with self.subTest(outcomes=outcomes):
                if number == 0:
                    self.offer("1", "2", origin=self.origin)
                self.clock.advance(60)
                self.sink.batches[number][1].callback(outcomes)
                self.assertEqual(self.origin.told, [])
                self.assertEqual(self.lane.held_records, 2)
                self.assertEqual(len(self.log.fields_of("dispatch_failed")), number + 1)

    def test_one_origin_that_fails_harms_no_other(self) -> None:
        self.offer("1", origin=BrokenOrigin())
        self.offer("2", origin=self.origin)
        self.gather()
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.origin.told, [["2"]])
        self.assertEqual(self.lane.held_records, 0)
        self.assertIn("the link is in pieces", str(self.log.fields_of("confirmation_failed")[0]["error"]))


class BackoffTests(LaneCase):
    def pauses(self) -> list[float]:
        return [float(str(fields["pause_s"])) for fields in self.log.fields_of("dispatch_retry")]

    def test_pauses_grow_with_jitter_within_bounds(self) -> None:
        self.offer("1")
        self.gather()
        for number in range(9):
            self.sink.answer(number, NotConnected("down"))
            self.assertEqual(len(self.sink.batches), number + 1)
            self.clock.advance(self.pauses()[-1])
        for number, pause_s in enumerate(self.pauses()):
            longest = min(30.0, 2.0**number)
            self.assertTrue(longest / 2 <= pause_s <= longest, (number, pause_s))
        self.assertEqual(len({pause_s / min(30.0, 2.0**n) for n, pause_s in enumerate(self.pauses())}), 9, "no jitter")

    def test_batches_that_fail_together_are_one_failure(self) -> None:
        self.offer(*"abcdefgh")
        self.gather()
        self.sink.answer(1, NotConnected("down"))
        self.sink.answer(0, NotConnected("down"))
        self.assertEqual(len(self.pauses()), 1)
        self.clock.advance(1)
        self.assertEqual(self.sink.txids[2:], [list("abcd"), list("efgh")])
        self.sink.answer(2, NotConnected("down"))
        self.assertTrue(1 <= self.pauses()[-1] <= 2, self.pauses())

    def test_nothing_leaves_during_a_pause(self) -> None:
        self.offer("1")
        self.gather()
        self.sink.answer(0, NotConnected("down"))
        self.offer("2")
        self.clock.advance(0.4)
        self.assertEqual(len(self.sink.batches), 1)
        self.clock.advance(0.6)
        self.assertEqual(self.sink.txids[1:], [["1"], ["2"]])

    def test_a_pause_takes_the_place_of_a_send_that_is_due(self) -> None:
        self.offer("1")
        self.gather()
        self.offer("2")
        self.sink.answer(0, NotConnected("down"))
        self.gather()
        self.assertEqual(len(self.sink.batches), 1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_success_starts_over(self) -> None:
        self.offer("1", "2")
        self.gather()
        for number in range(3):
            self.sink.answer(number, NotConnected("down"))
            self.clock.advance(30)
        self.sink.answer(3, RECEIPT, NotConnected("down"))
        self.assertLessEqual(self.pauses()[-1], 1)


class EndTests(LaneCase):
    def test_drained_at_once_when_empty(self) -> None:
        self.assertTrue(self.lane.drain().called)

    def test_drained_once_everything_has_settled(self) -> None:
        self.offer("1", "2")
        drained = self.lane.drain()
        self.gather()
        self.sink.answer(0, RECEIPT, Retryable("once more"))
        self.assertFalse(drained.called)
        self.clock.advance(1)
        self.sink.answer(1, Rejected("after all"))
        self.assertTrue(drained.called)

    def test_draining_ends_a_pause(self) -> None:
        self.offer("1")
        self.gather()
        for number in range(7):
            self.sink.answer(number, Retryable("down"))
            if number < 6:
                self.clock.advance(60)
        drained = self.lane.drain()
        self.clock.advance(0)
        self.sink.answer(7, RECEIPT)
        self.assertTrue(drained.called)

    def test_one_who_no_longer_waits_harms_nobody(self) -> None:
        self.offer("1")
        given_up, waiting = self.lane.drain(), self.lane.drain()
        given_up.addErrback(lambda _: None)
        given_up.cancel()
        self.gather()
        self.sink.answer(0, RECEIPT)
        self.assertTrue(waiting.called)
        later = self.lane.drain()
        self.assertTrue(later.called)

    def test_closed_it_takes_nothing_gives_nothing_and_leaves_no_timer(self) -> None:
        self.offer("1")
        self.lane.close()
        self.assertEqual(self.offer("2"), 0)
        self.clock.advance(60)
        self.assertEqual(self.sink.txids, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_in_flight_may_still_settle_after_closing(self) -> None:
        self.offer("1", "2", origin=self.origin)
        self.gather()
        self.lane.close()
        self.sink.answer(0, RECEIPT, Retryable("stopped"))
        self.assertEqual(self.origin.told, [["1"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.lane.abandon(), 1)

    def test_abandoned_what_nobody_sends_again_is_logged_in_order(self) -> None:
        self.offer(*"abcdef")
        self.offer("awaited", origin=self.origin)
        self.gather()
        self.lane.close()
        self.sink.answer(1, Retryable("stopped"))
        self.assertEqual(self.lane.abandon(), 7)
        letters = self.log.fields_of("dead_letter")
        self.assertEqual([letter["metadata"]["txid"] for letter in letters], list("abcdef"))
        self.assertTrue(all(letter["payload_base64"] for letter in letters))
        self.assertEqual(self.number("lane_held_records"), 0)
        self.sink.answer(0, RECEIPT)
        self.assertEqual((self.lane.held_records, self.lane.abandon()), (0, 0))
