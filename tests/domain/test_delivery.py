"""The delivery state of a sink's records, against a model; and back-off."""

from typing import ClassVar
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleetgw.domain.delivery import Backlog, BacklogLimits, Backoff, Batch
from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, Receipt
from fleetgw.domain.records import PeerIdentity, Record, Vehicle

LIMITS = BacklogLimits(queue_records=12, queue_bytes=60, in_flight_records=6, batch_records=4)
VEHICLES = [Vehicle(PeerIdentity("vehicle_device", vin), vin, vin) for vin in ("A", "B", "C")]

OUTCOMES = st.sampled_from(
    [RECEIPT, Receipt(), RECEIPT, Retryable("later"), NotConnected("down"), Rejected("too large"), None]
)


def record(number: int, size_bytes: int, vehicle: Vehicle = VEHICLES[0]) -> Record:
    return Record("V", str(number).encode(), vehicle, b"x" * size_bytes, 0, None, 0)


def number_of(record: Record) -> int:
    return int(record.txid)


class BacklogMachine(RuleBasedStateMachine):
    """Every record that was taken is known to the model as waiting, in flight or settled; numbers are the order taken in."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog: Backlog[Vehicle] = Backlog(LIMITS)
        self.issued = 0
        self.sizes: dict[int, int] = {}
        self.origins: dict[int, Vehicle | None] = {}
        self.waiting: set[int] = set()
        self.flying: list[Batch[Vehicle]] = []
        self.settled: set[int] = set()
        self.due: list[tuple[Vehicle, int]] = []
        self.handed_out: list[int] = []
        self.failed = False

    def in_flight(self) -> list[int]:
        return [number_of(each) for batch in self.flying for each in batch.records]

    @rule(
        sizes=st.lists(st.integers(0, 25), min_size=1, max_size=9),
        vehicle=st.sampled_from(VEHICLES),
        awaited=st.booleans(),
    )
    def offer(self, sizes: list[int], vehicle: Vehicle, awaited: bool) -> None:
        numbers = range(self.issued, self.issued + len(sizes))
        records = [record(number, size, vehicle) for number, size in zip(numbers, sizes, strict=True)]
        held = len(self.waiting) + len(self.in_flight())
        held_bytes = sum(self.sizes[number] for number in [*self.waiting, *self.in_flight()])
        room = 0
        while (
            room < len(sizes)
            and held + room < LIMITS.queue_records
            and held_bytes + sum(sizes[: room + 1]) <= LIMITS.queue_bytes
        ):
            room += 1
        origin = vehicle if awaited else None
        assert self.backlog.offer(records, sum(sizes), origin) == room
        for number, size in zip(numbers[:room], sizes[:room], strict=True):
            self.sizes[number] = size
            self.origins[number] = origin
            self.waiting.add(number)
        self.issued += len(sizes)

    @rule()
    def hand_out(self) -> None:
        batch = self.backlog.next_batch()
        room = LIMITS.in_flight_records - len(self.in_flight())
        if batch is None:
            assert not self.waiting or room == 0
            return
        numbers = [number_of(each) for each in batch.records]
        assert 1 <= len(numbers) <= min(LIMITS.batch_records, room)
        assert numbers == sorted(self.waiting)[: len(numbers)], "not the oldest, in order"
        assert batch.origins == [self.origins[number] for number in numbers]
        self.waiting -= set(numbers)
        self.flying.append(batch)
        self.handed_out += numbers

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        batch = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        outcomes = data.draw(st.lists(OUTCOMES, min_size=len(batch.records), max_size=len(batch.records)))
        settlement = self.backlog.settle(batch, outcomes)
        numbers = [number_of(each) for each in batch.records]
        fates = dict(zip(numbers, outcomes, strict=True))
        confirmed = [number for number in numbers if isinstance(fates[number], Receipt)]
        refused = [number for number in numbers if isinstance(fates[number], Rejected)]
        again = [number for number in numbers if number not in confirmed and number not in refused]
        due = [(origin, number_of(each)) for origin, records in settlement.due.items() for each in records]
        assert sorted(due, key=lambda pair: pair[1]) == [
            (self.origins[number], number) for number in confirmed if self.origins[number] is not None
        ]
        for vehicle in VEHICLES:
            assert [n for v, n in due if v is vehicle] == sorted(n for v, n in due if v is vehicle), "not in order"
        assert [(number_of(each.record), each.origin, each.reason) for each in settlement.refused] == [
            (number, self.origins[number], fates[number]) for number in refused
        ]
        assert settlement.retried_records == len(again)
        assert (settlement.retry_reason is not None) == bool(again)
        self.settled.update(confirmed, refused)
        self.waiting.update(again)
        self.failed = self.failed or bool(again)

    @precondition(lambda self: self.flying)
    @rule(more=st.sampled_from([-1, 1]))
    def settle_with_another_number_of_outcomes(self, more: int) -> None:
        batch = self.flying[0]
        try:
            self.backlog.settle(batch, [RECEIPT] * (len(batch.records) + more))
        except ValueError:
            return
        raise AssertionError("taken")

    @invariant()
    def counts_are_right_and_bounded(self) -> None:
        flying = self.in_flight()
        held = [*self.waiting, *flying]
        assert len(held) == len(set(held)), "doubled"
        assert set(held) | self.settled == self.sizes.keys(), "lost"
        assert not self.settled & set(held), "settled and held"
        assert self.backlog.held_records == len(held) <= LIMITS.queue_records
        assert self.backlog.held_bytes == sum(self.sizes[number] for number in held) <= LIMITS.queue_bytes
        assert self.backlog.in_flight_records == len(flying) <= LIMITS.in_flight_records

    @invariant()
    def order_is_kept_while_nothing_fails(self) -> None:
        assert self.failed or self.handed_out == sorted(self.handed_out)

    def teardown(self) -> None:
        """Closed, it takes and gives nothing; then everything held is given up on, once, in order."""
        self.backlog.close()
        assert self.backlog.offer([record(0, 0)], 0, None) == 0
        assert self.backlog.next_batch() is None
        held = sorted([*self.waiting, *self.in_flight()])
        lost = self.backlog.abandon()
        assert sorted(number_of(each) for each, _ in lost) == held
        if not self.flying:
            assert [number_of(each) for each, _ in lost] == held
        assert all(self.origins[number_of(each)] is origin for each, origin in lost)
        for batch in self.flying:
            late = self.backlog.settle(batch, [RECEIPT] * len(batch.records))
            assert not late.due
        assert (self.backlog.held_records, self.backlog.held_bytes, self.backlog.in_flight_records) == (0, 0, 0)


class BacklogModelTests(BacklogMachine.TestCase):  # type: ignore[misc, name-defined]  # made by Hypothesis
    settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


class BacklogTests(TestCase):
    def setUp(self) -> None:
        self.backlog: Backlog[Vehicle] = Backlog(LIMITS)

    def hand_out(self) -> Batch[Vehicle]:
        batch = self.backlog.next_batch()
        assert batch is not None
        return batch

    def test_what_fails_goes_to_the_front_in_order_whichever_batch_settles_first(self) -> None:
        self.backlog.offer([record(number, 1) for number in range(8)], 8, None)
        first, second = self.hand_out(), self.hand_out()
        self.backlog.settle(second, [Retryable("later")] * 2)
        self.backlog.settle(first, [Retryable("later")] * 4)
        order = [[number_of(each) for each in self.hand_out().records] for _ in range(2)]
        self.assertEqual(order, [[0, 1, 2, 3], [4, 5]])
        self.assertIsNone(self.backlog.next_batch(), "the window is full")

    def test_a_refused_record_blocks_nobody(self) -> None:
        self.backlog.offer([record(number, 1) for number in range(6)], 6, VEHICLES[0])
        settlement = self.backlog.settle(self.hand_out(), [Rejected("no"), RECEIPT, Rejected("no"), RECEIPT])
        self.assertEqual([number_of(each) for each in settlement.due[VEHICLES[0]]], [1, 3])
        self.assertEqual([number_of(each) for each in self.hand_out().records], [4, 5])
        self.assertEqual(self.backlog.held_records, 2)

    def test_what_is_no_outcome_is_not_taken_for_a_confirmation(self) -> None:
        self.backlog.offer([record(0, 1)], 1, VEHICLES[0])
        settlement = self.backlog.settle(self.hand_out(), [None])  # type: ignore[list-item]  # the point of it
        self.assertFalse(settlement.due)
        self.assertIn("None", str(settlement.retry_reason))
        self.assertEqual(self.backlog.held_records, 1)

    def test_a_batch_settles_once(self) -> None:
        self.backlog.offer([record(0, 5), record(1, 5)], 10, VEHICLES[0])
        batch = self.hand_out()
        self.assertTrue(self.backlog.settle(batch, [RECEIPT, RECEIPT]).due)
        self.assertFalse(self.backlog.settle(batch, [RECEIPT, RECEIPT]).due)
        self.assertEqual((self.backlog.held_records, self.backlog.in_flight_records), (0, 0))


class BackoffTests(TestCase):
    cases: ClassVar[list[float]] = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]

    def test_pauses_double_up_to_the_longest(self) -> None:
        backoff = Backoff(0.5, 30)
        self.assertEqual([backoff.failed(0.0) for _ in self.cases], self.cases)

    def test_a_success_starts_over(self) -> None:
        backoff = Backoff(0.5, 30)
        for _ in range(4):
            backoff.failed(0.0)
        backoff.succeeded()
        self.assertEqual(backoff.failed(0.0), 0.5)

    @given(st.floats(0.001, 60), st.floats(0.001, 600), st.lists(st.floats(0, 1, exclude_max=True), max_size=80))
    def test_jitter_shortens_by_half_at_most_and_never_lengthens(
        self, initial_s: float, more_s: float, chances: list[float]
    ) -> None:
        backoff = Backoff(initial_s, initial_s + more_s)
        for failures, chance in enumerate(chances):
            longest = min(initial_s + more_s, initial_s * 2.0**failures)
            pause_s = backoff.failed(chance)
            self.assertLessEqual(pause_s, longest)
            self.assertGreater(pause_s, longest * 0.4999)
