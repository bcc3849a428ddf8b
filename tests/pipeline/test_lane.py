"""A lane over a scripted sink: outcomes, and the end of a lane."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from fleetgw.domain.errors import NotConnected, Rejected, Retryable, Unheard
from fleetgw.domain.ports import RECEIPT, Outcome
from fleetgw.domain.records import Record
from tests.support.lane_case import LaneCase, Origin


class BrokenOrigin(Origin):
    def confirmed(self, records: Sequence[Record]) -> None:
        raise RuntimeError("the link is in pieces")


class OutcomeTests(LaneCase):
    def test_each_kind_of_outcome_has_its_effect(self) -> None:
        self.offer("ok", "no", "later", "down", origin=self.origin)
        self.linger()
        self.sink.answer(0, RECEIPT, Rejected("too large"), Retryable("throttled"), NotConnected("gone"))
        self.assertEqual(self.origin.confirmed_txids, [["ok"]])
        self.assertEqual(self.number("dead_letter_total"), 1)
        self.assertEqual(self.number("lane_retried_total"), 1)
        self.clock.advance(1)
        self.assertEqual(self.sink.txids[1:], [["later"]])
        self.sink.answer(1, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.sink.txids[2:], [["down"]])
        self.sink.answer(2, RECEIPT)
        self.assertEqual(self.origin.confirmed_txids, [["ok"], ["later"], ["down"]])
        self.assertEqual(self.lane.held_records, 0)

    def test_an_unheard_record_is_neither_acked_nor_retried_nor_a_dead_letter(self) -> None:
        self.offer("heard", "unheard", origin=self.origin)
        self.linger()
        self.sink.answer(0, RECEIPT, Unheard("nobody subscribes"))
        self.clock.advance(60)
        self.assertEqual(self.origin.confirmed_txids, [["heard"]])
        self.assertEqual(len(self.sink.batches), 1)
        self.assertEqual(self.lane.held_records, 0)
        self.assertEqual(self.number("dead_letter_total"), 0)
        self.assertEqual(self.log.fields_of("dead_letter"), [])

    def test_a_deferred_that_fails_loses_no_record(self) -> None:
        self.offer("1", "2", origin=self.origin)
        self.linger()
        self.sink.batches[0][1].errback(RuntimeError("a bug"))
        self.assertIn("a bug", str(self.log.fields_of("dispatch_failed")[0]["error"]))
        self.clock.advance(1)
        self.sink.answer(1, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.sink.txids[1:], [["1"], ["2"]])

    def test_a_dispatch_that_raises_loses_no_record(self) -> None:
        def broken(_batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
            raise RuntimeError("a bug")

        self.sink.answer_with = broken
        self.offer("1")
        self.linger()
        self.assertIn("a bug", str(self.log.fields_of("dispatch_failed")[0]["error"]))
        self.sink.answer_with = None
        self.clock.advance(1)
        self.assertEqual(self.sink.txids[1:], [["1"]])

    def test_a_dispatch_that_returns_no_deferred_loses_no_record(self) -> None:
        self.sink.answer_with = lambda _batch: None
        self.offer("1")
        self.linger()
        self.sink.answer_with = None
        self.clock.advance(1)
        self.assertEqual(self.sink.txids[1:], [["1"]])

    def test_a_wrong_number_of_outcomes_confirms_no_record(self) -> None:
        wrong: list[object] = [None, 7, [], [RECEIPT] * 3, [RECEIPT] * 4]
        for number, outcomes in enumerate(wrong):
            with self.subTest(outcomes=outcomes):
                if number == 0:
                    self.offer("1", "2", origin=self.origin)
                self.clock.advance(60)
                self.sink.batches[number][1].callback(outcomes)
                self.assertEqual(self.origin.confirmed_txids, [])
                self.assertEqual(self.lane.held_records, 2)
                self.assertEqual(len(self.log.fields_of("dispatch_failed")), number + 1)

    def test_an_origin_that_raises_does_not_keep_others_from_their_confirmations(self) -> None:
        self.offer("1", origin=BrokenOrigin())
        self.offer("2", origin=self.origin)
        self.linger()
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.origin.confirmed_txids, [["2"]])
        self.assertEqual(self.lane.held_records, 0)
        self.assertIn("the link is in pieces", str(self.log.fields_of("confirmation_failed")[0]["error"]))


class EndTests(LaneCase):
    def test_an_empty_lane_is_drained_at_once(self) -> None:
        self.assertTrue(self.lane.drain().called)

    def test_drain_fires_once_all_records_have_settled(self) -> None:
        self.offer("1", "2")
        drained = self.lane.drain()
        self.linger()
        self.sink.answer(0, RECEIPT, Retryable("once more"))
        self.assertFalse(drained.called)
        self.clock.advance(1)
        self.sink.answer(1, Rejected("after all"))
        self.assertTrue(drained.called)

    def test_draining_ends_a_backoff(self) -> None:
        self.offer("1")
        self.linger()
        for number in range(7):
            self.sink.answer(number, Retryable("down"))
            if number < 6:
                self.clock.advance(60)
        drained = self.lane.drain()
        self.clock.advance(0)
        self.sink.answer(7, RECEIPT)
        self.assertTrue(drained.called)

    def test_a_cancelled_drain_does_not_disturb_another(self) -> None:
        self.offer("1")
        given_up, waiting = self.lane.drain(), self.lane.drain()
        given_up.addErrback(lambda _: None)
        given_up.cancel()
        self.linger()
        self.sink.answer(0, RECEIPT)
        self.assertTrue(waiting.called)
        later = self.lane.drain()
        self.assertTrue(later.called)

    def test_a_closed_lane_takes_no_record_dispatches_none_and_leaves_no_timer(self) -> None:
        self.offer("1")
        self.lane.close()
        self.assertEqual(self.offer("2"), 0)
        self.clock.advance(60)
        self.assertEqual(self.sink.txids, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_records_in_flight_may_settle_after_close(self) -> None:
        self.offer("1", "2", origin=self.origin)
        self.linger()
        self.lane.close()
        self.sink.answer(0, RECEIPT, Retryable("stopped"))
        self.assertEqual(self.origin.confirmed_txids, [["1"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.lane.abandon(), 1)

    def test_abandoned_records_that_no_vehicle_resends_are_dead_letters_in_order(self) -> None:
        self.offer(*"abcdef")
        self.offer("awaited", origin=self.origin)
        self.linger()
        self.lane.close()
        self.sink.answer(1, Retryable("stopped"))
        self.assertEqual(self.lane.abandon(), 7)
        letters = self.log.fields_of("dead_letter")
        self.assertEqual([letter["metadata"]["txid"] for letter in letters], list("abcdef"))
        self.assertTrue(all(letter["payload_base64"] for letter in letters))
        self.assertEqual(self.number("lane_held_records"), 0)
        self.sink.answer(0, RECEIPT)
        self.assertEqual((self.lane.held_records, self.lane.abandon()), (0, 0))
        self.lost = 6
