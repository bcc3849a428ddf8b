"""Recent refusals: the newest first, those of one peer together, bounded."""

from unittest import TestCase

from fleetgw.domain.recent_refusals import MAX_REFUSALS, RecentRefusals, RefusalKind


class RecentRefusalsTests(TestCase):
    def setUp(self) -> None:
        self.now_ms = 1000
        self.recent = RecentRefusals(lambda: self.now_ms * 1_000_000)

    def add(self, reason: str, address: str, vin: str = "") -> None:
        self.recent.add(RefusalKind.CONNECTION, reason, f"because of {reason}", address=address, vin=vin)
        self.now_ms += 1

    def test_refusals_of_one_peer_for_one_reason_share_an_entry(self) -> None:
        self.add("full", "10.0.0.1:1000")
        self.add("full", "10.0.0.2:1000")
        self.add("unauthorized", "10.0.0.1:1001")
        self.add("full", "10.0.0.1:1002")
        self.assertEqual(
            [(each.reason, each.address, each.at_ms, each.times) for each in self.recent.newest_first],
            [
                ("full", "10.0.0.1:1002", 1003, 2),
                ("unauthorized", "10.0.0.1:1001", 1002, 1),
                ("full", "10.0.0.2:1000", 1001, 1),
            ],
        )

    def test_a_vehicle_is_one_peer_whatever_its_address(self) -> None:
        for address in ("10.0.0.1:1", "10.0.0.2:1"):
            self.add("full_vehicle", address, "VIN1")
        self.add("full_vehicle", "10.0.0.2:1", "VIN2")
        self.assertEqual([(each.vin, each.times) for each in self.recent.newest_first], [("VIN2", 1), ("VIN1", 2)])

    def test_one_peer_does_not_displace_the_others_and_many_are_bounded(self) -> None:
        self.add("full", "10.0.0.1:1")
        for port in range(2 * MAX_REFUSALS):
            self.add("full", f"10.0.0.2:{port}")
        self.assertEqual(len(self.recent.newest_first), 2)
        for host in range(MAX_REFUSALS):
            self.add("full", f"10.0.1.{host}:1")
        self.assertEqual(len(self.recent.newest_first), MAX_REFUSALS)
        self.assertEqual(self.recent.newest_first[-1].address, "10.0.1.0:1")
