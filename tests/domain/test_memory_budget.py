"""The memory budget of all queues: guaranteed shares, claimed memory, and no leak."""

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.domain.memory_budget import MemoryBudget


class MemoryBudgetTests(TestCase):
    def test_a_single_sink_may_take_the_whole_budget(self) -> None:
        budget = MemoryBudget(1000, 1)
        self.assertEqual(budget.share().room_bytes, 1000)

    def test_memory_that_another_sink_has_claimed_is_not_free(self) -> None:
        budget = MemoryBudget(1000, 2)
        one, other = budget.share(), budget.share()
        self.assertEqual(one.room_bytes, 750)
        one.take(750)
        self.assertEqual((one.room_bytes, other.room_bytes), (0, 250))

    def test_a_sink_that_takes_all_it_can_leaves_the_guaranteed_shares(self) -> None:
        budget = MemoryBudget(1200, 3)
        hanging, *others = (budget.share() for _ in range(3))
        hanging.take(hanging.room_bytes)
        for other in others:
            self.assertEqual(other.room_bytes, 200)
            other.take(200)
        self.assertEqual(sum(each.memory_bytes for each in (hanging, *others)), 1200)

    def test_the_guaranteed_share_is_used_before_memory_is_claimed(self) -> None:
        budget = MemoryBudget(1000, 2)
        one, other = budget.share(), budget.share()
        one.take(250)
        self.assertEqual(other.room_bytes, 750)

    def test_the_weight_multiplies_the_cost(self) -> None:
        budget = MemoryBudget(1000, 1)
        share = budget.share(2.5)
        self.assertEqual(share.room_bytes, 400)
        share.take(100)
        self.assertEqual((share.held_bytes, share.memory_bytes, share.room_bytes), (100, 250, 300))

    @given(
        st.lists(st.floats(1, 5), min_size=1, max_size=4),
        st.lists(st.tuples(st.integers(0, 3), st.floats(-1, 1))),
        st.integers(0, 10_000),
    )
    def test_the_sum_stays_below_the_ceiling_and_comes_back_whole(
        self, weights: list[float], changes: list[tuple[int, float]], ceiling_bytes: int
    ) -> None:
        budget = MemoryBudget(ceiling_bytes, len(weights))
        unclaimed_bytes = budget.unclaimed_bytes
        shares = [budget.share(weight) for weight in weights]
        for number, part in changes:
            share = shares[number % len(shares)]
            if part > 0:
                share.take(int(share.room_bytes * part))
            else:
                share.give_back(int(share.held_bytes * -part))
            self.assertLessEqual(sum(each.memory_bytes for each in shares), ceiling_bytes)
            self.assertGreaterEqual(min(each.room_bytes for each in shares), 0)
        for share in shares:
            share.give_back(share.held_bytes)
        self.assertEqual(budget.unclaimed_bytes, unclaimed_bytes)

    def test_a_sink_that_is_added_has_half_of_what_nobody_is_guaranteed_until_it_ends(self) -> None:
        budget = MemoryBudget(1000, 1)
        first = budget.share()
        added = budget.further_share()
        self.assertEqual((added.own_bytes, added.room_bytes, first.room_bytes), (250, 500, 750))
        budget.end(added)
        self.assertEqual(first.room_bytes, 1000)
        self.assertEqual(budget.further_share().own_bytes, 250)

    def test_a_sink_that_is_added_has_its_part_though_another_one_hangs_with_all_memory(self) -> None:
        budget = MemoryBudget(1000, 1)
        hanging = budget.share()
        hanging.take(hanging.room_bytes)
        added = budget.further_share()
        self.assertEqual((added.room_bytes, hanging.room_bytes), (250, 0))
        hanging.give_back(400)
        self.assertEqual((added.room_bytes, hanging.room_bytes), (400, 150))
