"""The estimate of the next batch's size."""

from unittest import TestCase

from fleetgw.domain.batch_estimate import BatchEstimate


class BatchEstimateTests(TestCase):
    def test_as_many_records_as_were_confirmed_are_expected_beside_the_waiting_ones(self) -> None:
        estimate = BatchEstimate()
        self.assertEqual(estimate.records, 0)
        estimate.confirmed(55, waiting=9)
        self.assertEqual(estimate.records, 64)

    def test_records_that_arrive_between_confirmations_are_not_expected_twice(self) -> None:
        estimate = BatchEstimate()
        estimate.confirmed(40, waiting=0)
        estimate.confirmed(24, waiting=30)
        self.assertEqual(estimate.records, 64)

    def test_reset_starts_over(self) -> None:
        estimate = BatchEstimate()
        estimate.confirmed(40, waiting=0)
        estimate.reset()
        estimate.confirmed(24, waiting=30)
        self.assertEqual(estimate.records, 54)
