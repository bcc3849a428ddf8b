"""The gauges of the spool's size, and of the time until it is full."""

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from tests.support.disk import Disk, DiskFolder
from tests.support.spool_case import LIMITS, SpoolMaker, spooled_record


class SizeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = Disk()
        self.addCleanup(self.disk.close)
        self.maker = SpoolMaker(DiskFolder(self.disk))
        self.spool = self.maker.make()

    def gauges(self) -> tuple[float, float]:
        value = self.maker.metrics.value
        self.assertEqual(value("spool_max_bytes"), LIMITS.max_bytes)
        return value("spool_size_bytes"), value("spool_seconds_until_full")

    def test_growth_while_no_file_is_full(self) -> None:
        self.assertEqual(self.gauges(), (0, inf))
        self.successResultOf(self.spool.start({"a": ["custom"]}))
        self.maker.clock.advance(1)
        size_before, seconds = self.gauges()
        self.assertEqual(seconds, inf)
        for number in range(10):
            self.spool.append([spooled_record(number, padding_bytes=1000)])
            self.maker.clock.advance(1)
        size, seconds = self.gauges()
        self.assertGreater(size, size_before)
        self.assertEqual(
            round(seconds), round((LIMITS.max_bytes - size) * 11 / (size - size_before))
        )  # 11 s after the start
        self.successResultOf(self.spool.stop())
