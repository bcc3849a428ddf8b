"""A lane that is full: callers wait for room, and are called back in their order."""

from twisted.internet.defer import succeed

from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import Retryable
from fleetgw.domain.memory_budget import MemoryBudget
from fleetgw.domain.ports import RECEIPT
from fleetgw.testing.sink_doubles import make_record
from tests.support.lane_case import LIMITS, TIMING, LaneCase

SMALL = BacklogLimits(queue_records=4, queue_bytes=10_000, in_flight_records=8, batch_records=2)


class RoomTests(LaneCase):
    def setUp(self) -> None:
        super().setUp()
        self.lane = self.make(SMALL)
        self.called: list[str] = []

    def take(self, *txids: str, record_type: str = "V", origin: None = None) -> int:
        records = [make_record(record_type=record_type, txid=txid, payload=b"12345") for txid in txids]
        return self.lane.take(records, 5 * len(records), origin)

    def wait(self, name: str, record_type: str = "V", *, takes: bool = True) -> None:
        """Wait for room; a caller that ``takes`` offers its name as a record, and waits anew while there is no room."""

        def called() -> None:
            self.called.append(name)
            if takes and not self.take(name, record_type=record_type):
                self.wait(name, record_type)

        self.lane.when_room(record_type, called)

    def test_take_counts_no_refusal_and_offer_does(self) -> None:
        self.assertEqual(self.take("1", "2", "3", "4", "5"), 4)
        self.assertEqual(self.number("lane_refused_total"), 0)
        self.assertEqual(self.offer("5"), 0)
        self.assertEqual(self.number("lane_refused_total"), 1)

    def test_waiters_are_called_first_come_first_served_while_there_is_room(self) -> None:
        self.take("1", "2", "3", "4")
        for name in "abc":
            self.wait(name)
        self.linger()
        self.clock.advance(60)
        self.assertEqual(self.called, [])
        self.sink.answer(0, RECEIPT)
        self.assertEqual(self.called, [], "called from within the settlement")
        self.clock.advance(0)
        self.assertEqual(self.called, ["a", "b"])
        self.sink.answer(1, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.called, ["a", "b", "c"])
        self.clock.advance(60)
        self.assertEqual(self.called, ["a", "b", "c"], "called twice")

    def test_a_retry_makes_no_room(self) -> None:
        self.take("1", "2", "3", "4")
        self.wait("a")
        self.linger()
        self.sink.answer(0, Retryable("later"))
        self.clock.advance(0)
        self.assertEqual(self.called, [])

    def test_no_waiter_is_called_from_within_take(self) -> None:
        self.sink.answer_with = lambda batch: succeed([RECEIPT] * len(batch))
        self.wait("a", takes=False)
        self.take("1")
        self.assertEqual(self.called, [])
        self.linger()
        self.clock.advance(0)
        self.assertEqual(self.called, ["a"])

    def test_a_waiter_that_still_finds_no_room_is_not_called_again_in_the_same_turn(self) -> None:
        self.take("1", "2", "3", "4")

        def in_vain() -> None:
            self.called.append("no room")
            self.lane.when_room("V", in_vain)

        self.lane.when_room("V", in_vain)
        self.wait("b")
        self.linger()
        self.sink.answer(0, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.called, ["no room", "b"])
        self.sink.answer(1, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.called, ["no room", "b", "no room"])

    def test_a_type_without_room_does_not_hold_up_another_one(self) -> None:
        """The retry queue counts for each type: a lane may have room for one type and none for another one."""
        self.take("1", "2", "3", "4")
        self.wait("v")
        self.wait("alert", "alerts")
        self.linger()
        self.sink.answer(0, Retryable("later"))
        self.sink.answer(1, Retryable("later"))
        self.clock.advance(0)
        self.assertEqual(self.called, ["alert"])

    def test_too_little_room_calls_nobody(self) -> None:
        """Otherwise each settlement would try thousands of vehicles without success."""
        self.lane = self.make(BacklogLimits(queue_records=32, queue_bytes=10_000, in_flight_records=8, batch_records=1))
        self.take(*[str(number) for number in range(32)])
        self.wait("a")
        self.linger()
        self.sink.answer(0, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.called, [])
        self.sink.answer(1, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.called, ["a"])

    def test_room_is_measured_in_bytes(self) -> None:
        self.lane = self.make(BacklogLimits(queue_records=100, queue_bytes=20, in_flight_records=8, batch_records=4))
        self.assert_called_once_there_is_room()

    def test_room_is_measured_in_memory(self) -> None:
        self.lane = self.make(LIMITS, TIMING, MemoryBudget(20, 1).share())
        self.assert_called_once_there_is_room()

    def assert_called_once_there_is_room(self) -> None:
        self.assertEqual(self.take("1", "2", "3", "4", "5"), 4)
        self.wait("a")
        self.linger()
        self.clock.advance(0)
        self.assertEqual(self.called, [])
        self.sink.answer(0, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.called, ["a"])

    def test_a_record_larger_than_an_empty_lane_is_refused(self) -> None:
        record = make_record(payload=b"x" * 10_001)
        self.assertEqual(self.lane.take([record], record.cost_bytes, None), 0)
        self.assertEqual(self.lane.held_records, 0)

    def test_a_waiter_that_raises_does_not_keep_the_others_waiting(self) -> None:
        def broken() -> None:
            raise RuntimeError("a session in pieces")

        self.take("1", "2", "3", "4")
        self.lane.when_room("V", broken)
        self.wait("b")
        self.linger()
        self.sink.answer(0, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.called, ["b"])
        self.assertIn("a session in pieces", str(self.log.fields_of("room_failed")[0]["error"]))

    def test_long_work_is_divided_into_turns(self) -> None:
        self.take("1", "2", "3", "4")

        def slow() -> None:
            self.called.append("slow")
            self.clock.rightNow += 1.0
            self.clock.callLater(0, self.called.append, "turn")

        self.lane.when_room("V", slow)
        self.lane.when_room("V", lambda: slow())  # another caller
        self.linger()
        self.sink.answer(0, RECEIPT)
        self.clock.advance(0)
        self.assertEqual(self.called, ["slow", "turn", "slow", "turn"])

    def test_a_lane_that_is_closed_calls_those_who_wait_and_then_nobody(self) -> None:
        self.take("1", "2", "3", "4")
        self.wait("a")
        self.linger()
        self.sink.answer(0, RECEIPT)
        self.lane.close()
        self.wait("b")
        self.sink.answer(1, RECEIPT)
        self.clock.advance(60)
        self.assertEqual(self.called, ["a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
