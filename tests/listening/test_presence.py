"""Bounds in total and per address, and the connections that make room."""

from unittest import TestCase

from fleetgw.adapters.listening.presence import CROWD_SHARE, FREED_SHARE, Presence, address_group


class AddressGroupTests(TestCase):
    def test_groups(self) -> None:
        self.assertEqual(address_group("10.0.0.1"), "10.0.0.1")
        self.assertEqual(address_group("::ffff:10.0.0.1"), "10.0.0.1")
        self.assertEqual(address_group("2001:db8:1:2:3::4"), address_group("2001:db8:1:2:ffff::1"))
        self.assertNotEqual(address_group("2001:db8:1:2::1"), address_group("2001:db8:1:3::1"))
        self.assertEqual(address_group("fe80::1%eth0"), address_group("fe80::2"))
        self.assertEqual(address_group("no address"), "no address")


class PresenceTests(TestCase):
    def test_bounds(self) -> None:
        presence: Presence[int] = Presence(3, 2)
        presence.add(1, "2001:db8::1")
        presence.add(2, "2001:db8::2")
        self.assertTrue(presence.is_full_for("2001:db8::3"))
        self.assertFalse(presence.is_full_for("10.0.0.1"))
        self.assertFalse(presence.is_full)
        presence.add(3, "10.0.0.1")
        self.assertTrue(presence.is_full)
        presence.remove(1)
        presence.remove(1)
        self.assertFalse(presence.is_full or presence.is_full_for("2001:db8::3"))

    def test_none(self) -> None:
        presence: Presence[int] = Presence(0, 0)
        for number in range(100):
            presence.add(number, "10.0.0.1")
        self.assertFalse(presence.is_full or presence.is_full_for("10.0.0.1"))

    def test_the_largest_group_loses_its_oldest(self) -> None:
        limit = 4 * CROWD_SHARE
        presence: Presence[int] = Presence(limit, 0)
        for number in range(limit):
            presence.add(number, f"10.0.0.{number % 2 * number}")  # half from one address, the others alone
        removed = presence.make_room()
        self.assertEqual(removed, list(range(0, 4 * limit // FREED_SHARE // 2, 2)))
        self.assertEqual(len(presence), limit - limit // FREED_SHARE)

    def test_a_reconnect_storm_of_many_addresses_loses_no_connection(self) -> None:
        limit = 4 * CROWD_SHARE
        presence: Presence[int] = Presence(limit, 0)
        for number in range(limit):
            presence.add(number, f"10.0.{number % 64}.1")
        self.assertEqual(presence.make_room(), [])
