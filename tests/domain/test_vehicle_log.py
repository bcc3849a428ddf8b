"""Log lines that vehicles cause: their fields are made only for lines that are written."""

from unittest import TestCase
from unittest.mock import patch

from fleetgw.domain.line_limit import INTERVAL_S, LINES
from fleetgw.domain.vehicle_log import VehicleLog
from fleetgw.testing.sink_doubles import ReadableLog


class VehicleLogTests(TestCase):
    def setUp(self) -> None:
        self.now_s = 0.0
        self.made = 0
        self.log = ReadableLog()
        self.vehicle_log = VehicleLog(self.log, lambda: self.now_s)

    def fields(self) -> dict[str, object]:
        self.made += 1
        return {"number": self.made}

    def test_events_below_the_level_cost_nothing(self) -> None:
        with patch.object(ReadableLog, "info_enabled", new=False):
            for _ in range(2 * LINES):
                self.vehicle_log.info("came", "vin", self.fields)
        self.assertEqual((self.made, self.log.entries), (0, []))
        self.vehicle_log.info("came", "vin", self.fields)  # nothing was left out because of the limit
        self.assertEqual(self.log.entries, [("info", "came", {"number": 1})])

    def test_lines_beyond_the_limit_are_counted_and_their_fields_not_made(self) -> None:
        for _ in range(LINES + 3):
            self.vehicle_log.info("came", "vin", self.fields)
        self.assertEqual((self.made, len(self.log.entries)), (LINES, LINES))
        self.now_s += INTERVAL_S
        self.vehicle_log.info("came", "vin", self.fields)
        self.assertEqual(self.log.entries[-1], ("info", "came", {"number": LINES + 1, "more_unwritten": 3}))
