"""Vehicles that share one backlog: order is kept, no record is lost, no vehicle exceeds its share of the flow."""

from collections import Counter
from unittest import TestCase
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleetgw.domain.delivery import vehicle_shares
from fleetgw.domain.delivery.backlog import Backlog
from fleetgw.domain.delivery.batch import Batch
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.delivery.vehicle_shares import Holding, VehicleShares
from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, Outcome
from fleetgw.domain.records import PeerIdentity, Record, Vehicle, ordering_key

SHARE = 250
LIMITS = BacklogLimits(
    queue_records=40, queue_bytes=4_000, in_flight_records=12, batch_records=5, batch_bytes=400, vehicle_bytes=SHARE
)
VEHICLES = [Vehicle(PeerIdentity("vehicle_device", vin), vin, vin) for vin in ("A", "B", "C")]
OUTCOMES = st.sampled_from([RECEIPT, RECEIPT, Retryable("later"), NotConnected("down"), Rejected("too large")])


def record(number: int, vehicle: Vehicle, cost_bytes: int, record_type: str = "V") -> Record:
    return Record(record_type, str(number).encode(), vehicle, b"", 0, None, 0, cost_bytes=cost_bytes)


class SharedBacklogMachine(RuleBasedStateMachine):
    """Records are numbered in the order taken. Vehicles connect and disconnect, so that the backlog is shared or not."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog: Backlog[Vehicle] = Backlog(LIMITS, 1.0, 8.0)
        self.backlog.share_among_vehicles(is_shared=True)
        self.is_shared = self.was_always_shared = True
        self.now_s = 0.0
        self.issued = 0
        self.held: dict[int, Record] = {}
        self.flying: list[Batch[Vehicle]] = []
        self.finished: set[int] = set()

    @rule(
        costs=st.lists(st.integers(1, 300), min_size=1, max_size=8),
        vehicle=st.sampled_from(VEHICLES),
        record_type=st.sampled_from(["V", "alerts"]),
    )
    def offer(self, costs: list[int], vehicle: Vehicle, record_type: str) -> None:
        records = [record(self.issued + place, vehicle, each, record_type) for place, each in enumerate(costs)]
        self.was_always_shared &= self.is_shared
        held = Counter(each.vin for each in self.held.values())
        held_bytes = Counter(dict.fromkeys("ABC", 0))
        for each in self.held.values():
            held_bytes[each.vin] += each.cost_bytes
        taken = self.backlog.offer(records, sum(each.cost_bytes for each in records), vehicle)
        for each in records[:taken]:
            self.held[int(each.txid)] = each
        self.issued += len(records)
        if not self.was_always_shared or self.backlog.retry_queue_records:
            return
        free, free_bytes = LIMITS.queue_records - held.total(), LIMITS.queue_bytes - held_bytes.total()
        taken_bytes = sum(costs[:taken])
        if not held[vehicle.vin] and free and free_bytes >= costs[0]:
            assert taken, "kept out by other vehicles"
        if taken > 1 or (taken and held[vehicle.vin]):
            assert held[vehicle.vin] + taken <= free - taken, "more than it left for the others"
            assert held_bytes[vehicle.vin] + taken_bytes <= free_bytes - taken_bytes

    @rule(is_shared=st.booleans())
    def vehicles_come_and_go(self, is_shared: bool) -> None:
        self.backlog.share_among_vehicles(is_shared=is_shared)
        if not self.held:
            self.was_always_shared = is_shared
        self.is_shared = is_shared

    @rule()
    def hand_out(self) -> None:
        batch = self.backlog.next_batch()
        if batch is None:
            return
        numbers = [int(each.txid) for each in batch.records]
        waiting = self.held.keys() - self.in_flight()
        assert waiting.issuperset(numbers), "not held, or handed out already"
        for place, each in enumerate(batch.records):
            older = [
                number
                for number in waiting.difference(numbers[:place])
                if number < int(each.txid) and ordering_key(self.held[number]) == ordering_key(each)
            ]
            assert not older, "an older record with its ordering key was left behind"
        if not batch.from_retry_queue:
            assert len(numbers) == 1 or sum(each.cost_bytes for each in batch.records) <= LIMITS.batch_bytes
        self.flying.append(batch)

    def in_flight(self) -> set[int]:
        return {int(each.txid) for batch in self.flying for each in batch.records}

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        batch = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self.take_outcomes(batch, [data.draw(OUTCOMES) for _ in batch.records])

    @precondition(lambda self: self.flying)
    @rule()
    def confirm(self) -> None:
        batch = self.flying.pop(0)
        self.take_outcomes(batch, [RECEIPT] * len(batch.records))

    def take_outcomes(self, batch: Batch[Vehicle], outcomes: list[Outcome]) -> None:
        self.backlog.settle(batch, outcomes, self.now_s, 0.0)
        for each, outcome in zip(batch.records, outcomes, strict=True):
            if outcome is RECEIPT or isinstance(outcome, Rejected):
                del self.held[int(each.txid)]
                self.finished.add(int(each.txid))

    @rule()
    def everything_is_confirmed_for_a_while(self) -> None:
        for _ in range(3 * len(self.held) + 3):
            self.now_s += 8.0
            self.backlog.end_pauses(self.now_s)
            self.hand_out()
            if self.flying:
                self.confirm()
        assert not self.held, "a record is never delivered"
        assert not self.backlog.has_more

    @invariant()
    def nothing_is_lost_or_counted_wrong(self) -> None:
        assert self.backlog.held_records == len(self.held)
        assert self.backlog.held_bytes == sum(each.cost_bytes for each in self.held.values())

    @invariant()
    def no_vehicle_has_more_than_its_share_in_flight(self) -> None:
        if not self.was_always_shared:
            return
        flying: dict[str, list[int]] = {}
        for batch in self.flying:
            for each in () if batch.from_retry_queue else batch.records:
                flying.setdefault(each.vin, []).append(each.cost_bytes)
        assert all(len(costs) == 1 or sum(costs) <= SHARE for costs in flying.values())

    @invariant()
    def records_that_may_flow_are_seen(self) -> None:
        if self.held and not self.flying and not self.backlog.retry_queue_records:
            assert self.backlog.has_more, "records wait, and none may be handed out"

    def teardown(self) -> None:
        self.backlog.close()
        lost = [int(each.txid) for each, _ in self.backlog.abandon()]
        assert sorted(lost) == sorted(self.held)
        for vehicle in VEHICLES:
            own = [number for number in lost if self.held[number].vehicle is vehicle]
            for record_type in ("V", "alerts"):
                of_type = [number for number in own if self.held[number].record_type == record_type]
                assert of_type == sorted(of_type)


class SharedBacklogModelTests(SharedBacklogMachine.TestCase):  # type: ignore[misc, name-defined]  # made by Hypothesis
    settings = settings(max_examples=200, stateful_step_count=40)


class SharedBacklogTests(TestCase):
    HOSTILE, HONEST, OTHER = VEHICLES

    def setUp(self) -> None:
        limits = BacklogLimits(queue_records=1000, queue_bytes=1_000_000_000, in_flight_records=1000, batch_records=1000)
        self.limits = limits
        self.backlog: Backlog[Vehicle] = Backlog(limits, 1.0, 8.0)

    def offer(self, vehicle: Vehicle, count: int, cost_bytes: int = 1) -> int:
        records = [record(number, vehicle, cost_bytes) for number in range(count)]
        return self.backlog.offer(records, count * cost_bytes, None)

    def cost_before(self, vehicle: Vehicle) -> int:
        """Cost of the others' records that a sink that answers at once gets before a vehicle's first one."""
        cost_bytes = 0
        while (batch := self.backlog.next_batch()) is not None:
            for each in batch.records:
                if each.vehicle is vehicle:
                    return cost_bytes
                cost_bytes += each.cost_bytes
            self.backlog.settle(batch, [RECEIPT] * len(batch.records), 0.0, 0.0)
        raise AssertionError("never")

    def test_an_honest_record_waits_for_one_share_of_a_flood(self) -> None:
        self.backlog.share_among_vehicles(is_shared=True)
        self.offer(self.HOSTILE, 400, cost_bytes=50_000)
        self.offer(self.HONEST, 1)
        self.assertLessEqual(self.cost_before(self.HONEST), self.limits.vehicle_bytes)

    def test_an_honest_record_waits_for_one_share_of_a_flood_that_began_alone(self) -> None:
        self.offer(self.HOSTILE, 900, cost_bytes=50_000)
        self.backlog.share_among_vehicles(is_shared=True)
        self.offer(self.HONEST, 1)
        self.assertLessEqual(self.cost_before(self.HONEST), self.limits.vehicle_bytes)

    def test_a_full_queue_is_divided_by_runs_of_records(self) -> None:
        """Divided record by record, a queue of 100,000 would block the reactor for a third of a second."""
        for vehicle in (self.HOSTILE, self.HONEST, self.HOSTILE):
            self.offer(vehicle, 300)
        with patch.object(VehicleShares, "take", autospec=True, side_effect=VehicleShares.take) as take:
            self.backlog.share_among_vehicles(is_shared=True)
        self.assertEqual([len(call.args[1]) for call in take.call_args_list], [300, 300, 300])

    def test_one_record_above_the_share_flows_alone(self) -> None:
        self.backlog.share_among_vehicles(is_shared=True)
        self.offer(self.HOSTILE, 3, cost_bytes=1_000_000)
        batch = self.backlog.next_batch()
        assert batch is not None
        self.assertEqual(len(batch.records), 1)
        self.assertIsNone(self.backlog.next_batch())
        self.backlog.settle(batch, [RECEIPT], 0.0, 0.0)
        self.assertIsNotNone(self.backlog.next_batch())

    def test_a_single_vehicle_has_the_whole_queue_and_the_whole_flow(self) -> None:
        self.assertEqual(self.offer(self.HOSTILE, 1000, cost_bytes=4_096), 1000)
        batches = [*iter(self.backlog.next_batch, None)]
        self.assertEqual(sum(len(batch.records) for batch in batches if batch is not None), 1000)

    def test_a_vehicle_leaves_as_much_room_as_it_takes(self) -> None:
        self.backlog.share_among_vehicles(is_shared=True)
        self.assertEqual(sum(self.offer(self.HOSTILE, 100) for _ in range(20)), 500)
        self.assertEqual(self.offer(self.HONEST, 100), 100)
        self.assertEqual(self.offer(self.HOSTILE, 100), 0)

    def test_records_in_the_retry_queue_count_for_their_vehicle(self) -> None:
        self.backlog.share_among_vehicles(is_shared=True)
        taken = 0
        for _ in range(20):
            taken += self.offer(self.HOSTILE, 100)
            while (batch := self.backlog.next_batch()) is not None:
                self.backlog.settle(batch, [Retryable("no")] * len(batch.records), 0.0, 0.0)
        self.assertEqual(taken, 500)
        self.assertEqual(self.offer(self.HONEST, 100), 100)

    def test_a_batch_is_bounded_by_cost(self) -> None:
        self.offer(self.HOSTILE, 100, cost_bytes=16_384)
        batch = self.backlog.next_batch()
        assert batch is not None
        self.assertEqual(len(batch.records), self.limits.batch_bytes // 16_384)

    def test_batches_from_the_retry_queue_are_bounded_by_cost(self) -> None:
        self.offer(self.HOSTILE, 100, cost_bytes=16_384)
        while (batch := self.backlog.next_batch()) is not None:
            self.backlog.settle(batch, [Retryable("no")] * len(batch.records), 0.0, 0.0)
        self.backlog.end_pauses(1.0)
        probe = self.backlog.next_batch()
        assert probe is not None
        self.backlog.settle(probe, [RECEIPT], 1.0, 0.0)
        batch = self.backlog.next_batch()
        assert batch is not None
        self.assertEqual(len(batch.records), self.limits.batch_bytes // 16_384)

    def test_shares_end_once_the_backlog_is_empty(self) -> None:
        self.backlog.share_among_vehicles(is_shared=True)
        self.offer(self.HOSTILE, 10)
        self.settle_all()
        self.backlog.share_among_vehicles(is_shared=False)
        self.assertEqual(self.offer(self.HOSTILE, 1000), 1000, "a single vehicle has the whole queue")

    def test_vehicles_without_records_are_rarely_searched_for_while_many_hold_records(self) -> None:
        looks = 0

        def counted(holding: Holding[str]) -> int:
            nonlocal looks
            looks += 1
            return holding.flowing_records + holding.retry_records + len(holding.overflow)

        with patch.object(Holding, "records", property(counted)), patch.object(vehicle_shares, "_HOLDINGS_KEPT", 100):
            shares: VehicleShares[str] = VehicleShares(SHARE)
            for number in range(100):
                each = Vehicle(PeerIdentity("vehicle_device", str(number)), str(number), str(number))
                shares.take([record(number, each, 10)], 10, None)
            for number in range(100, 1100):
                shares.of(str(number))
        self.assertGreater(looks, 100, "vehicles without records are forgotten")
        self.assertLess(looks, 20 * 100, "a search for each new vehicle would be 100 000 looks")

    def settle_all(self) -> None:
        while (batch := self.backlog.next_batch()) is not None:
            self.backlog.settle(batch, [RECEIPT] * len(batch.records), 0.0, 0.0)
