"""The lateness of the reactor."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.metrics.reactor_lag import INTERVAL_S, ReactorLag
from fleetgw.testing.sink_doubles import ReadableMetrics


class ReactorLagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.metrics = Clock(), ReadableMetrics()
        self.lag = ReactorLag(self.metrics, self.clock)

    def test_the_lateness_of_each_timer(self) -> None:
        self.successResultOf(self.lag.start())
        self.clock.advance(INTERVAL_S)
        self.clock.advance(INTERVAL_S + 0.7)
        self.clock.advance(INTERVAL_S)
        distribution = self.metrics.distribution("reactor_lag_seconds")
        self.assertEqual((distribution.count, round(distribution.sum, 6)), (3, 0.7))

    def test_nothing_is_left_after_the_stop(self) -> None:
        self.successResultOf(self.lag.stop())
        self.lag.start()
        self.clock.advance(INTERVAL_S)
        self.successResultOf(self.lag.stop())
        self.successResultOf(self.lag.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
