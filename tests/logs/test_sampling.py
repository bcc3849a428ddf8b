"""Repeated warnings and errors are sampled, with the number of those left out."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.logs.sampling import SAMPLED_LINES, SamplingLog
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.log_contract import LogContract


class SamplingLogContractTests(LogContract, SynchronousTestCase):
    def make_log(self) -> SamplingLog:
        return SamplingLog(ReadableLog(), Clock().seconds)

    make_broken_log = make_log


class SamplingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.written = Clock(), ReadableLog()
        self.log = SamplingLog(self.written, self.clock.seconds)

    def written_of(self, event: str) -> list[dict[str, object]]:
        return self.written.fields_of(event)

    def test_a_burst_is_counted(self) -> None:
        for number in range(SAMPLED_LINES + 7):
            self.log.error("failed", number=number)
        self.assertEqual([each["number"] for each in self.written_of("failed")], list(range(SAMPLED_LINES)))
        self.clock.advance(10)
        self.log.error("failed", more_unwritten=3)
        self.assertEqual(self.written_of("failed")[-1], {"more_unwritten": 10})
        self.log.error("failed")
        self.assertEqual(self.written_of("failed")[-1], {})

    def test_sinks_and_events_have_limits_of_their_own(self) -> None:
        for sink in ("kafka", "mqtt"):
            for _ in range(2 * SAMPLED_LINES):
                self.log.warn("failed", dispatcher=sink)
        self.log.warn("another")
        self.assertEqual((len(self.written_of("failed")), len(self.written_of("another"))), (2 * SAMPLED_LINES, 1))

    def test_the_last_copy_of_a_record_is_always_written(self) -> None:
        for _ in range(2 * SAMPLED_LINES):
            self.log.error("dead_letter", dispatcher="kafka", payload_base64="AA==")
        self.assertEqual(len(self.written_of("dead_letter")), 2 * SAMPLED_LINES)

    def test_normal_operation_is_not_sampled(self) -> None:
        for _ in range(2 * SAMPLED_LINES):
            self.log.info("socket_connected")
        self.assertEqual(len(self.written_of("socket_connected")), 2 * SAMPLED_LINES)
