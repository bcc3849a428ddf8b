"""What is worth waiting for."""

from unittest import TestCase

from fleetgw.domain.expectation import Expectation


class ExpectationTests(TestCase):
    def test_as_many_again_as_were_confirmed_join_what_waits(self) -> None:
        expectation = Expectation()
        self.assertEqual(expectation.records, 0)
        expectation.confirmed(55, waiting=9)
        self.assertEqual(expectation.records, 64)

    def test_those_who_come_meanwhile_were_expected_already(self) -> None:
        expectation = Expectation()
        expectation.confirmed(40, waiting=0)
        expectation.confirmed(24, waiting=30)
        self.assertEqual(expectation.records, 64)

    def test_what_has_left_is_expected_no_more(self) -> None:
        expectation = Expectation()
        expectation.confirmed(40, waiting=0)
        expectation.left()
        expectation.confirmed(24, waiting=30)
        self.assertEqual(expectation.records, 54)
