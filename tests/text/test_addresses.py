"""Text of addresses."""

from unittest import TestCase

from fleetgw.adapters.text.addresses import address, split_address


class AddressTests(TestCase):
    def test_addresses_are_split(self) -> None:
        for text, expected in (
            ("kafka:9093", ("kafka", 9093)),
            ("kafka", ("kafka", 9092)),
            ("[::1]:9093", ("::1", 9093)),
            ("[::1]", ("::1", 9092)),
        ):
            self.assertEqual(split_address(text, 9092), expected)

    def test_an_ipv6_address_is_in_brackets(self) -> None:
        self.assertEqual((address("kafka", 9093), address("::1", 9093)), ("kafka:9093", "[::1]:9093"))
