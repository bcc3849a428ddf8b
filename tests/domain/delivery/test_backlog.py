"""The backlog of one sink, against a model."""

from unittest import TestCase

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleetgw.domain.delivery.backlog import Backlog
from fleetgw.domain.delivery.batch import Batch, Settlement
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.memory_budget import MemoryBudget
from fleetgw.domain.ports import RECEIPT, Outcome, Receipt
from fleetgw.domain.records import PeerIdentity, Record, Vehicle, ordering_key

LIMITS = BacklogLimits(queue_records=12, queue_bytes=60, in_flight_records=6, batch_records=4)
VEHICLES = [Vehicle(PeerIdentity("vehicle_device", vin), vin, vin) for vin in ("A", "B", "C")]

RECORD_TYPES = ("V", "alerts")

CONFIRMATIONS = st.sampled_from([RECEIPT, Receipt()])
OUTCOMES = CONFIRMATIONS | st.sampled_from([Retryable("later"), NotConnected("down"), Rejected("too large"), None])

PAUSE_INITIAL_S = 1.0
PAUSE_MAX_S = 8.0


BUDGET_BYTES = 200


def make_backlog(budget: MemoryBudget | None = None) -> Backlog[Vehicle]:
    share = (budget or MemoryBudget(1_000_000, 1)).share()
    return Backlog(LIMITS, PAUSE_INITIAL_S, PAUSE_MAX_S, share)


def record(number: int, size_bytes: int, vehicle: Vehicle = VEHICLES[0], record_type: str = "V") -> Record:
    payload = b"x" * (size_bytes // 2)  # the cost is more than the payload
    return Record(record_type, str(number).encode(), vehicle, payload, 0, None, 0, cost_bytes=size_bytes)


def number_of(record: Record) -> int:
    return int(record.txid)


class BacklogMachine(RuleBasedStateMachine):
    """The model knows each record taken as waiting, in flight or settled. Records are numbered in the order taken."""

    def __init__(self) -> None:
        super().__init__()
        # Another sink takes and gives back memory: sometimes only the guaranteed share is left.
        self.budget = MemoryBudget(BUDGET_BYTES, 2)
        self.share, self.other = self.budget.share(), self.budget.share(1.7)
        self.backlog = Backlog(LIMITS, PAUSE_INITIAL_S, PAUSE_MAX_S, self.share)
        self.now_s = 0.0
        self.issued = 0
        self.records: dict[int, Record] = {}
        self.origins: dict[int, Vehicle | None] = {}
        self.waiting: set[int] = set()
        self.flying: list[Batch[Vehicle]] = []
        self.settled: set[int] = set()
        self.may_be_retried: set[int] = set()
        self.handed_out: list[int] = []
        self.blocked_keys: set[tuple[str, str]] = set()

    def in_flight(self) -> list[int]:
        return [number_of(each) for batch in self.flying for each in batch.records]

    def held(self, record_type: str | None = None) -> list[Record]:
        held = [self.records[number] for number in (*self.waiting, *self.in_flight())]
        return [each for each in held if record_type in (None, each.record_type)]

    @rule(
        sizes=st.lists(st.integers(0, 25), min_size=1, max_size=9),
        vehicle=st.sampled_from(VEHICLES),
        record_type=st.sampled_from(RECORD_TYPES),
        awaited=st.booleans(),
    )
    def offer(self, sizes: list[int], vehicle: Vehicle, record_type: str, awaited: bool) -> None:
        numbers = range(self.issued, self.issued + len(sizes))
        records = [record(number, size, vehicle, record_type) for number, size in zip(numbers, sizes, strict=True)]
        held = self.held()
        origin = vehicle if awaited else None
        room_bytes = self.share.room_bytes
        assert room_bytes >= self.share.guaranteed_bytes - self.share.held_bytes
        taken = self.backlog.offer(records, sum(sizes), origin)
        assert sum(sizes[:taken]) <= room_bytes, "more than there is memory for"
        if not self.blocked_keys:
            fitting = [
                count
                for count in range(len(sizes) + 1)
                if len(held) + count <= LIMITS.queue_records
                and sum(each.cost_bytes for each in held) + sum(sizes[:count]) <= LIMITS.queue_bytes
                and sum(sizes[:count]) <= room_bytes
            ]
            assert taken == max(fitting), "fewer than there was room for"
        for number, each in zip(numbers[:taken], records, strict=False):
            self.records[number] = each
            self.origins[number] = origin
            self.waiting.add(number)
        self.issued += len(sizes)

    @rule(size_bytes=st.integers(-200, 200))
    def another_sink_takes_or_gives_back(self, size_bytes: int) -> None:
        self.other.take(max(-self.other.held_bytes, min(size_bytes, self.other.room_bytes)))

    @rule()
    def hand_out(self) -> None:
        batch = self.backlog.next_batch()
        room = LIMITS.in_flight_records - len(self.in_flight())
        if batch is None:
            blocked = {number for number in self.waiting if ordering_key(self.records[number]) in self.blocked_keys}
            assert room == 0 or self.waiting == blocked, "an unblocked record is not handed out"
            return
        numbers = [number_of(each) for each in batch.records]
        assert 1 <= len(numbers) <= min(LIMITS.batch_records, room)
        assert self.waiting.issuperset(numbers), "handed out, but not waiting"
        assert batch.origins == [self.origins[number] for number in numbers]
        for place, each in enumerate(batch.records):
            older = {
                number
                for number in self.waiting.difference(numbers[:place])
                if number < number_of(each) and ordering_key(self.records[number]) == ordering_key(each)
            }
            assert not older, "an older record with its ordering key was left behind"
        for number in numbers:
            assert number in self.may_be_retried or number not in self.handed_out, "twice without a reason"
        if not self.blocked_keys:
            assert numbers == sorted(self.waiting)[: len(numbers)], "not the oldest, in order"
        self.may_be_retried.difference_update(numbers)
        self.waiting.difference_update(numbers)
        self.flying.append(batch)
        self.handed_out += numbers

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), chance=st.floats(0, 1, exclude_max=True))
    def settle(self, data: st.DataObject, chance: float) -> None:
        batch = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        outcomes = data.draw(st.lists(OUTCOMES, min_size=len(batch.records), max_size=len(batch.records)))
        self.take_outcomes(batch, outcomes, chance)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        batch = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self.take_outcomes(batch, [RECEIPT] * len(batch.records), 0.0)

    def take_outcomes(self, batch: Batch[Vehicle], outcomes: list[Outcome], chance: float) -> None:
        settlement = self.backlog.settle(batch, outcomes, self.now_s, chance)
        numbers = [number_of(each) for each in batch.records]
        outcome_of = dict(zip(numbers, outcomes, strict=True))
        confirmed = [number for number in numbers if isinstance(outcome_of[number], Receipt)]
        refused = [number for number in numbers if isinstance(outcome_of[number], Rejected)]
        again = [number for number in numbers if number not in confirmed and number not in refused]
        lost = [number for number in again if isinstance(outcome_of[number], NotConnected)]
        due = [(origin, number_of(each)) for origin, records in settlement.confirmed.items() for each in records]
        awaited = [(self.origins[number], number) for number in confirmed if self.origins[number] is not None]
        assert len(due) == len(awaited)
        for vehicle in VEHICLES:
            assert [n for v, n in due if v is vehicle] == [n for v, n in awaited if v is vehicle], "not in order"
        assert [(number_of(each.record), each.origin, each.reason) for each in settlement.rejected] == [
            (number, self.origins[number], outcome_of[number]) for number in refused
        ]
        assert len(settlement.retried) == len(again)
        assert (settlement.retry_reason is not None) == bool(again)
        assert (settlement.not_connected is not None) == bool(lost)
        assert settlement.pause_s is None or 0 < settlement.pause_s <= PAUSE_MAX_S
        self.settled.update(confirmed, refused)
        self.waiting.update(again)
        self.may_be_retried.update(again)
        for number in again:
            if number not in lost or batch.from_retry_queue:
                self.blocked_keys.add(ordering_key(self.records[number]))
        self.forget_unblocked_keys()

    def forget_unblocked_keys(self) -> None:
        """An ordering key of which no record is held is not blocked."""
        self.blocked_keys &= {ordering_key(each) for each in self.held()}

    @rule(passed_s=st.floats(0, PAUSE_MAX_S))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s
        self.backlog.end_pauses(self.now_s)
        assert self.backlog.next_due_s is None or self.backlog.next_due_s > self.now_s

    @rule()
    def retry_now(self) -> None:
        self.backlog.retry_now()
        assert self.backlog.next_due_s is None

    @rule()
    def everything_is_confirmed_for_a_while(self) -> None:
        """All records are delivered, each ordering key's in order, and no ordering key stays blocked."""
        while self.flying:
            batch = self.flying.pop()
            self.take_outcomes(batch, [RECEIPT] * len(batch.records), 0.0)
        first = len(self.handed_out)
        for _ in range(2 * len(self.waiting)):
            self.time_passes(PAUSE_MAX_S)
            self.hand_out()
            if self.flying:
                batch = self.flying.pop()
                self.take_outcomes(batch, [RECEIPT] * len(batch.records), 0.0)
        assert not self.waiting, "a record is never delivered"
        by_key: dict[tuple[str, str], list[int]] = {}
        for number in self.handed_out[first:]:
            by_key.setdefault(ordering_key(self.records[number]), []).append(number)
        assert all(numbers == sorted(numbers) for numbers in by_key.values())
        assert not self.backlog.has_more
        assert self.backlog.next_due_s is None
        assert self.backlog.retry_queue_records == 0

    @precondition(lambda self: self.flying)
    @rule(more=st.sampled_from([-1, 1]))
    def settle_with_another_number_of_outcomes(self, more: int) -> None:
        batch = self.flying[0]
        try:
            self.backlog.settle(batch, [RECEIPT] * (len(batch.records) + more), self.now_s, 0.0)
        except ValueError:
            return
        raise AssertionError("taken")

    @invariant()
    def counts_are_right_and_bounded(self) -> None:
        flying = self.in_flight()
        held = [*self.waiting, *flying]
        assert len(held) == len(set(held)), "duplicated"
        assert set(held) | self.settled == self.records.keys(), "lost"
        assert not self.settled & set(held), "settled and held"
        assert self.backlog.held_records == len(held)
        assert self.backlog.held_bytes == sum(each.cost_bytes for each in self.held())
        assert self.share.held_bytes == self.backlog.held_bytes
        assert self.share.memory_bytes + self.other.memory_bytes <= BUDGET_BYTES
        assert self.backlog.in_flight_records == len(flying) <= LIMITS.in_flight_records
        assert self.backlog.held_records - self.backlog.retry_queue_records <= LIMITS.queue_records
        for record_type in RECORD_TYPES:
            of_type = self.held(record_type)
            assert len(of_type) <= LIMITS.queue_records
            assert sum(each.cost_bytes for each in of_type) <= LIMITS.queue_bytes

    @invariant()
    def waiting_records_are_seen(self) -> None:
        if not self.blocked_keys:
            assert self.backlog.has_more == bool(self.waiting)
            assert self.backlog.retry_queue_records == 0

    def teardown(self) -> None:
        """A closed backlog takes no record and hands none out; then all records held are given up on, once, in order."""
        self.backlog.close()
        assert self.backlog.offer([record(0, 0)], 0, None) == 0
        assert self.backlog.next_batch() is None
        held = sorted([*self.waiting, *self.in_flight()])
        lost = self.backlog.abandon()
        assert [number_of(each) for each, _ in lost] == held
        assert all(self.origins[number_of(each)] is origin for each, origin in lost)
        for batch in self.flying:
            late = self.backlog.settle(batch, [RECEIPT] * len(batch.records), self.now_s, 0.0)
            assert not late.confirmed
        assert (self.backlog.held_records, self.backlog.held_bytes, self.backlog.in_flight_records) == (0, 0, 0)
        assert self.share.held_bytes == 0
        self.other.give_back(self.other.held_bytes)
        assert self.budget.unclaimed_bytes == BUDGET_BYTES - 2 * self.share.guaranteed_bytes, "memory leaked"


class BacklogModelTests(BacklogMachine.TestCase):  # type: ignore[misc, name-defined]  # made by Hypothesis
    settings = settings(max_examples=150, stateful_step_count=40)


class BacklogTests(TestCase):
    def setUp(self) -> None:
        self.backlog = make_backlog()

    def hand_out(self) -> Batch[Vehicle]:
        batch = self.backlog.next_batch()
        assert batch is not None
        return batch

    def settle(self, batch: Batch[Vehicle], *outcomes: Outcome, now_s: float = 0.0) -> Settlement[Vehicle]:
        """Settle a batch; one outcome stands for all."""
        each = [*outcomes] * len(batch.records) if len(outcomes) == 1 else [*outcomes]
        return self.backlog.settle(batch, each, now_s, 0.0)

    def handed_out(self) -> list[list[int]]:
        """The numbers of all records that may be handed out now."""
        batches = iter(self.backlog.next_batch, None)
        return [[number_of(each) for each in batch.records] for batch in batches if batch is not None]

    def test_not_connected_batches_are_handed_out_again_first_in_their_old_order(self) -> None:
        self.backlog.offer([record(number, 1) for number in range(8)], 8, None)
        first, second = self.hand_out(), self.hand_out()
        self.settle(second, NotConnected("down"))
        self.settle(first, NotConnected("down"))
        self.assertEqual(self.handed_out(), [[0, 1, 2, 3], [4, 5]])
        self.assertIsNone(self.backlog.next_batch(), "the window is full")

    def test_a_retryable_record_blocks_only_its_ordering_key(self) -> None:
        self.backlog.offer([record(0, 1)], 1, None)
        self.settle(self.hand_out(), Retryable("later"))
        self.backlog.offer([record(1, 1)], 1, None)
        self.backlog.offer([record(2, 1, record_type="alerts")], 1, None)
        self.backlog.offer([record(3, 1, VEHICLES[1])], 1, None)
        self.assertEqual(self.handed_out(), [[2, 3]])
        self.assertEqual(self.backlog.retry_queue_records, 2)

    def test_the_oldest_record_is_retried_alone_and_the_others_follow_its_success(self) -> None:
        self.backlog.offer([record(number, 1) for number in range(3)], 3, None)
        self.settle(self.hand_out(), RECEIPT, Retryable("later"), Retryable("later"))
        self.backlog.offer([record(3, 1)], 1, None)
        self.assertEqual(self.handed_out(), [])
        self.backlog.end_pauses(PAUSE_INITIAL_S)
        probe = self.hand_out()
        self.assertEqual([number_of(each) for each in probe.records], [1])
        self.assertEqual(self.handed_out(), [])
        self.settle(probe, RECEIPT)
        self.assertEqual(self.handed_out(), [[2, 3]])

    def test_a_failure_while_the_others_follow_pauses_the_ordering_key_again(self) -> None:
        self.backlog.offer([record(number, 1) for number in range(8)], 8, None)
        self.settle(self.hand_out(), Retryable("later"))
        self.assertEqual(self.handed_out(), [])
        self.backlog.end_pauses(PAUSE_INITIAL_S)
        self.settle(self.hand_out(), RECEIPT)
        self.settle(self.hand_out(), Retryable("later"), now_s=PAUSE_INITIAL_S)
        self.assertEqual(self.handed_out(), [])
        self.assertEqual(self.backlog.next_due_s, 2 * PAUSE_INITIAL_S)

    def test_a_failure_of_another_batch_does_not_end_a_retry_in_flight(self) -> None:
        self.backlog.offer([record(number, 1) for number in range(6)], 6, None)
        first, second = self.hand_out(), self.hand_out()
        self.settle(first, Retryable("later"))
        self.backlog.end_pauses(PAUSE_INITIAL_S)
        probe = self.hand_out()
        self.settle(second, Retryable("later"))
        self.assertIsNone(self.backlog.next_due_s)
        self.settle(probe, RECEIPT)
        self.assertEqual(self.handed_out(), [[1, 2, 3, 4], [5]])

    def test_pauses_double_and_a_success_starts_over(self) -> None:
        self.backlog.offer([record(number, 1) for number in range(2)], 2, None)
        self.settle(self.hand_out(), Retryable("later"))
        pauses = []
        now_s = 0.0
        for outcome in (*[Retryable("later")] * 4, RECEIPT, Retryable("later")):
            due_s = self.backlog.next_due_s
            if due_s is not None:
                pauses.append(due_s - now_s)
                now_s = due_s
                self.backlog.end_pauses(now_s)
            self.settle(self.hand_out(), outcome, now_s=now_s)
        self.assertEqual(pauses, [1, 2, 4, 8, 8])
        self.assertEqual(self.backlog.next_due_s, now_s + 1)

    def test_retry_now_starts_the_backoff_over(self) -> None:
        self.backlog.offer([record(0, 1)], 1, None)
        self.settle(self.hand_out(), Retryable("later"))
        for _ in range(3):
            self.backlog.retry_now()
            self.settle(self.hand_out(), Retryable("later"))
        self.assertEqual(self.backlog.next_due_s, PAUSE_INITIAL_S)

    def test_retries_and_waiting_records_take_turns(self) -> None:
        vehicles = [Vehicle(PeerIdentity("vehicle_device", str(n)), str(n), str(n)) for n in range(5)]
        for number, vehicle in enumerate(vehicles):
            self.backlog.offer([record(number, 1, vehicle)], 1, None)
            self.settle(self.hand_out(), Retryable("later"))
        self.backlog.offer([record(number, 1, VEHICLES[1]) for number in range(5, 11)], 6, None)
        self.backlog.retry_now()
        order = []
        for _ in range(4):
            batch = self.hand_out()
            order.append([number_of(each) for each in batch.records])
            self.settle(batch, Retryable("later") if batch.from_retry_queue else RECEIPT)
        self.assertEqual(order, [[0, 1, 2, 3], [5, 6, 7, 8], [4], [9, 10]])

    def test_retryable_records_of_one_type_leave_the_room_of_another(self) -> None:
        for number in range(LIMITS.queue_records + 1):
            taken = self.backlog.offer([record(number, 1)], 1, None)
            self.assertEqual(taken, number < LIMITS.queue_records)
            batch = self.backlog.next_batch()
            if batch is not None:
                self.settle(batch, Retryable("later"))
        self.assertEqual(self.backlog.retry_queue_records, LIMITS.queue_records)
        others = [record(number, 1, record_type="alerts") for number in range(100, 100 + LIMITS.queue_records + 1)]
        self.assertEqual(self.backlog.offer(others, len(others), None), LIMITS.queue_records)

    def test_a_rejected_record_blocks_no_other(self) -> None:
        self.backlog.offer([record(number, 1) for number in range(6)], 6, VEHICLES[0])
        settlement = self.settle(self.hand_out(), Rejected("no"), RECEIPT, Rejected("no"), RECEIPT)
        self.assertEqual([number_of(each) for each in settlement.confirmed[VEHICLES[0]]], [1, 3])
        self.assertEqual([number_of(each) for each in self.hand_out().records], [4, 5])
        self.assertEqual(self.backlog.held_records, 2)

    def test_a_value_that_is_no_outcome_counts_as_retryable(self) -> None:
        self.backlog.offer([record(0, 1)], 1, VEHICLES[0])
        settlement = self.settle(self.hand_out(), None)  # type: ignore[arg-type]  # the point of it
        self.assertFalse(settlement.confirmed)
        self.assertIn("None", str(settlement.retry_reason))
        self.assertEqual(self.backlog.held_records, 1)

    def test_a_batch_settles_once(self) -> None:
        self.backlog.offer([record(0, 5), record(1, 5)], 10, VEHICLES[0])
        batch = self.hand_out()
        self.assertTrue(self.settle(batch, RECEIPT).confirmed)
        self.assertFalse(self.settle(batch, RECEIPT).confirmed)
        self.assertEqual((self.backlog.held_records, self.backlog.in_flight_records), (0, 0))
