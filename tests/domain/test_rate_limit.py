"""The token buckets of vehicles."""

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.domain.rate_limit import TokenBucket, VehicleBuckets


class TokenBucketTests(TestCase):
    @given(st.integers(1, 50), st.floats(0.1, 100), st.lists(st.floats(-1, 5), max_size=200))
    def test_at_most_a_burst_and_the_rate_pass(self, limit: int, interval_s: float, steps: list[float]) -> None:
        bucket = TokenBucket(limit, interval_s, 0.0)
        now = latest = 0.0
        taken = 0
        for step in steps:
            now += step
            latest = max(latest, now)
            taken += bucket.take(now)
            self.assertLessEqual(taken, limit + latest * limit / interval_s + 1e-6)

    @given(st.integers(1, 50), st.floats(0.1, 100))
    def test_a_whole_burst_passes_at_once_and_again_after_an_interval(self, limit: int, interval_s: float) -> None:
        bucket = TokenBucket(limit, interval_s, 7.0)
        for start in (7.0, 7.0 + interval_s * 1.001):
            self.assertEqual([bucket.take(start) for _ in range(limit + 1)], [True] * limit + [False])

    def test_limit_and_interval_both_count(self) -> None:
        passed = {}
        for limit, interval_s in ((10, 60.0), (20, 60.0), (10, 30.0)):
            bucket = TokenBucket(limit, interval_s, 0.0)
            passed[limit, interval_s] = sum(bucket.take(tenth / 10) for tenth in range(1200))
        self.assertEqual(passed, {(10, 60.0): 29, (20, 60.0): 59, (10, 30.0): 49})

    def test_an_idle_bucket_fills_to_one_burst(self) -> None:
        bucket = TokenBucket(3, 1.0, 0.0)
        self.assertEqual([bucket.take(1000.0) for _ in range(4)], [True] * 3 + [False])

    def test_a_clock_that_goes_back_removes_no_tokens(self) -> None:
        bucket = TokenBucket(2, 1.0, 100.0)
        self.assertEqual([bucket.take(100.0), bucket.take(50.0), bucket.take(50.0)], [True, True, False])

    def test_a_clock_that_goes_back_adds_no_tokens(self) -> None:
        bucket = TokenBucket(1, 1.0, 100.0)
        self.assertTrue(bucket.take(100.0))
        self.assertFalse(bucket.take(50.0))
        self.assertFalse(bucket.take(100.5))
        self.assertTrue(bucket.take(101.0))

    @given(
        st.tuples(st.integers(1, 20), st.floats(1, 60)),
        st.lists(st.tuples(st.integers(1, 20), st.floats(1, 60), st.floats(0, 90), st.integers(0, 30)), max_size=8),
    )
    def test_a_change_gives_no_burst_and_takes_no_tokens(
        self, first: tuple[int, float], changes: list[tuple[int, float, float, int]]
    ) -> None:
        bucket = TokenBucket(*first, 0.0)
        now, tokens = 0.0, float(first[0])
        limit, interval_s = first
        for new_limit, new_interval_s, idle_s, wanted in changes:
            taken = sum(bucket.take(now) for _ in range(wanted))
            self.assertAlmostEqual(taken, min(wanted, int(tokens + 1e-9)), delta=1)
            now += idle_s
            tokens = min(limit, tokens - taken + idle_s * limit / interval_s)
            bucket.change(new_limit, new_interval_s, now)
            limit, interval_s = new_limit, new_interval_s
            tokens = min(limit, tokens)


class VehicleBucketsTests(TestCase):
    def test_a_change_reaches_every_bucket_and_keeps_idle_ones_until_they_are_full(self) -> None:
        buckets = VehicleBuckets(2, 10)
        for vin in "AB":
            self.assertTrue(all(buckets.of(vin, 0.0).take(0.0) for _ in range(2)))
        buckets.leave("B", 0.0)
        buckets.change(4, 10, 1.0)
        now = 10.0
        self.assertEqual([sum(buckets.of(vin, now).take(now) for _ in range(9)) for vin in "ABC"], [3, 3, 4])

    def test_connections_of_one_vehicle_share_a_bucket(self) -> None:
        buckets = VehicleBuckets(3, 60)
        taken = [buckets.of("A", 0.0).take(0.0) for _ in range(10)]
        self.assertEqual(sum(taken), 3)
        self.assertTrue(buckets.of("B", 0.0).take(0.0))

    def test_a_reconnect_gives_no_new_bucket(self) -> None:
        buckets = VehicleBuckets(3, 60)
        taken = 0
        for second in range(59):
            taken += sum(buckets.of("A", second).take(second) for _ in range(10))
            buckets.leave("A", second)
        self.assertEqual(taken, 3 + 2, "a burst, and one each 20 s")

    def test_a_bucket_is_forgotten_once_it_would_be_full(self) -> None:
        buckets = VehicleBuckets(3, 60)
        for number in range(100):
            buckets.of(str(number), 0.0)
            buckets.leave(str(number), 0.0)
        self.assertEqual(len(buckets), 100)
        buckets.of("A", 60.0)
        self.assertEqual(len(buckets), 1)

    def test_the_number_of_idle_buckets_is_bounded(self) -> None:
        buckets = VehicleBuckets(3, 60, max_idle=5)
        for number in range(100):
            buckets.of(str(number), 0.0)
            buckets.leave(str(number), 0.0)
        self.assertEqual(len(buckets), 5)

    def test_a_bucket_in_use_is_never_forgotten(self) -> None:
        buckets = VehicleBuckets(1, 60, max_idle=0)
        bucket = buckets.of("A", 0.0)
        buckets.leave("B", 1000.0)
        self.assertIs(buckets.of("A", 1000.0), bucket)
