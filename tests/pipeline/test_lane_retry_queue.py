"""The retry queue of a lane."""

from collections.abc import Callable

from fleetgw.app.pipeline.lane import EARLY_FLUSH_RECORDS
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import RECEIPT
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import make_record
from tests.support.lane_case import TIMING, LaneCase, succeeded


class RetryQueueTests(LaneCase):
    """Retryable records, while the destination can be reached, block only their ordering keys."""

    def offer_of(self, vin: str, record_type: str, *txids: str) -> None:
        records = [make_record(vin, txid, record_type=record_type, payload=b"12345") for txid in txids]
        self.assertEqual(self.lane.offer(records, 5 * len(records), self.origin), len(records))

    def refuse(self, refuses: Callable[[Record], bool], reason: Retryable) -> None:
        """Have the sink answer at once: some records are retryable, the others confirmed."""
        self.sink.answer_with = lambda batch: succeeded([reason if refuses(each) else RECEIPT for each in batch])

    def test_retryable_records_of_one_type_block_no_other_type(self) -> None:
        self.refuse(lambda record: record.record_type == "alerts", Retryable("no such topic"))
        for number in range(40):
            self.offer_of("A", "alerts", f"a{number}")
            self.offer_of("A", "V", f"v{number}")
            self.linger()
            self.assertEqual(self.origin.confirmed_txids.pop(), [f"v{number}"], "delayed by another type's backoff")
        self.assertEqual(self.lane.held_records, 40)
        self.assertEqual(self.number("lane_held_records"), 40)
        self.refuse(lambda _record: False, Retryable(""))
        self.clock.pump([TIMING.retry_max_s] + [0.0] * 20)
        self.assertEqual(
            [txid for txids in self.origin.confirmed_txids for txid in txids], [f"a{number}" for number in range(40)]
        )
        self.assertEqual(self.lane.held_records, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_retryable_records_of_one_vehicle_block_no_other_vehicle(self) -> None:
        self.refuse(lambda record: record.vin == "A", Retryable("the listener failed"))
        for number in range(20):
            self.offer_of("A", "V", f"a{number}")
            self.offer_of("B", "V", f"b{number}")
            self.clock.advance(1)
            self.assertEqual(self.origin.confirmed_txids.pop(), [f"b{number}"])
        tried = [txid for txids in self.sink.txids for txid in txids if txid.startswith("a")]
        self.assertEqual({*tried}, {"a0"}, "later records must wait for it")
        self.assertLess(len(tried), 10, "the backoff does not grow")

    def test_a_failing_retry_does_not_stop_the_dispatch_of_others(self) -> None:
        self.refuse(lambda record: record.vin < "VIN8", Retryable("no"))
        for number in range(8):
            self.offer_of(f"VIN{number}", "V", f"a{number}")
        self.clock.pump([0.005, 0.0, 0.0])
        self.clock.advance(0.994)
        for number in range(8):
            self.offer_of("VIN8", "V", f"b{number}")
        self.clock.pump([0.006, 0.0, 0.0, 0.0])
        self.assertEqual(
            [txid for txids in self.origin.confirmed_txids for txid in txids], [f"b{number}" for number in range(8)]
        )

    def test_each_ordering_key_has_its_own_backoff(self) -> None:
        self.refuse(lambda _record: True, Retryable("later"))
        self.offer_of("A", "V", "a")
        self.clock.pump([1.0] * 40)
        tries = len(self.sink.batches)
        self.refuse(lambda record: record.vin == "A", Retryable("later"))
        self.clock.advance(30)
        self.assertEqual(len(self.sink.batches), tries + 1, "the backoff is a short one")
        self.refuse(lambda _record: True, Retryable("later"))
        self.offer_of("B", "V", "b")
        self.linger()
        self.refuse(lambda _record: False, Retryable(""))
        self.clock.advance(1)
        self.assertEqual(self.origin.confirmed_txids, [["b"]])
        self.clock.advance(30)
        self.assertEqual(self.origin.confirmed_txids, [["b"], ["a"]])

    def test_not_connected_holds_all_records_back(self) -> None:
        self.refuse(lambda record: record.record_type == "alerts", NotConnected("gone"))
        self.offer_of("A", "alerts", "a")
        self.linger()
        self.offer_of("B", "V", "v")
        self.linger()
        self.assertEqual(self.sink.txids, [["a"]])

    def test_retryable_records_stay_in_order_before_blocked_ones(self) -> None:
        self.offer_of("A", "V", "1", "2", "3")
        self.linger()
        self.offer_of("A", "V", "4")
        self.sink.answer(0, RECEIPT, Retryable("later"), Retryable("later"))
        self.offer_of("A", "V", "5")
        self.linger()
        self.clock.advance(1)
        self.sink.answer(1, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.sink.txids[1:], [["2"], ["3", "4", "5"]])

    def test_blocked_records_do_not_count_for_an_early_flush(self) -> None:
        self.lane = self.make(BacklogLimits(1000, 100_000, 1000, 1000))
        self.offer_of("A", "V", "refused", *map(str, range(EARLY_FLUSH_RECORDS)))
        self.clock.advance(0)
        self.sink.answer(0, Retryable("later"))
        self.offer_of("B", "V", "b")
        self.clock.advance(0)
        self.assertEqual(len(self.sink.txids), 1, "one record is flushed early")
        self.linger()
        self.assertEqual(self.sink.txids[1:], [["b"]])

    def test_the_size_of_the_retry_queue_is_logged_once_in_a_while(self) -> None:
        self.refuse(lambda _record: True, Retryable("no such topic"))
        for number in range(50):
            self.offer_of(f"VIN{number}", "V", "1")
            self.clock.advance(0.1)
        (event,) = self.log.fields_of("dispatch_retry")
        self.assertEqual((event["error"], event["retry_queue_records"]), ("no such topic", 1))
        self.clock.advance(TIMING.retry_max_s)
        self.assertEqual(self.log.fields_of("dispatch_retry")[1]["retry_queue_records"], 50)

    def test_draining_ends_all_backoffs(self) -> None:
        self.refuse(lambda _record: True, Retryable("later"))
        self.offer_of("A", "V", "1", "2")
        self.clock.pump([1.0] * 100)
        self.refuse(lambda _record: False, Retryable(""))
        drained = self.lane.drain()
        self.clock.pump([0.0] * 2)
        self.assertTrue(drained.called)
        self.assertEqual([txid for txids in self.origin.confirmed_txids for txid in txids], ["1", "2"])

    def test_a_closed_lane_retries_no_record_and_abandons_all_in_order(self) -> None:
        self.refuse(lambda record: record.vin == "A", Retryable("later"))
        for number in range(3):
            self.lane.offer([make_record("A", f"{number}", payload=b"12345")], 5, None)
            self.linger()
        self.lane.close()
        self.lane.offer([make_record("A", "late", payload=b"12345")], 5, None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.lost = self.lane.abandon()
        self.assertEqual(self.lost, 3)
        letters = self.log.fields_of("dead_letter")
        self.assertEqual([letter["metadata"]["txid"] for letter in letters], list("012"))
