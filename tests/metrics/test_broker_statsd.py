"""The StatsD exporter against a real server."""

from collections.abc import Callable, Mapping
from time import monotonic

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.metrics.statsd import StatsdExporter, StatsdSettings
from fleetgw.adapters.metrics.statsd_lines import StatsdLines
from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.domain.metrics import NUM_CONNECTIONS, RECORD_TOTAL, UNEXPECTED_RECORD_ERR_TOTAL, VIN_SIGNAL_COUNT
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor
from tests.support.deadline import DEADLINE_S
from tests.support.metrics_contract import SPREAD
from tests.support.needed import needed
from tests.support.statsd.server import StatsdServer, missing


class RealServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        needed(missing())
        self.server = StatsdServer()
        self.addCleanup(self.server.stop)
        self.reactor = ThreadlessReactor()
        self.log = ReadableLog()
        self.store = MetricStore()

    def start(self) -> StatsdExporter:
        settings = StatsdSettings("127.0.0.1", self.server.port, "fleet.")
        exporter = StatsdExporter(self.store, settings, self.reactor, self.log)
        exporter.start()
        self.addCleanup(exporter.stop)
        self.reactor.advance(0)
        return exporter

    def flush(self) -> None:
        self.reactor.advance(0.1)

    def eventually(self, read: Callable[[], Mapping[str, float]], expected: Mapping[str, float]) -> None:
        """Ask the server until the numbers have arrived."""
        deadline_s = monotonic() + DEADLINE_S
        while True:
            numbers = {name: number for name, number in read().items() if name.startswith("fleet.")}
            if numbers == expected or monotonic() > deadline_s:
                break
        self.assertEqual(numbers, expected)
        self.assertEqual(self.server.counters().get("statsd.bad_lines_seen", 0), 0)

    def test_counters_add_up(self) -> None:
        self.start()
        counter = self.store.counter(RECORD_TOTAL, record_type="V")
        for amount in (1, 20, 300):
            counter.add(amount)
            self.flush()
        self.store.counter(UNEXPECTED_RECORD_ERR_TOTAL).add(4)
        self.flush()
        expected = {"fleet.record_total,record_type=V": 321, "fleet.unexpected_record_err_total": 4}
        self.eventually(self.server.counters, expected)

    def test_gauges_have_their_last_value(self) -> None:
        self.start()
        connections = self.store.gauge(NUM_CONNECTIONS)
        signals = self.store.gauge(VIN_SIGNAL_COUNT, record_type="V", vin="5YJ3E1EA7KF000001")
        for number in (7, -2, 1.5, -3.25):
            connections.set_to(number)
            signals.set_to(10 + number)
            self.flush()
        expected = {"fleet.num_connections": -3.25, "fleet.vin_signal_count,record_type=V,vin=5YJ3E1EA7KF000001": 6.75}
        self.eventually(self.server.gauges, expected)

    def test_histograms_arrive_as_counters(self) -> None:
        self.start()
        histogram = self.store.histogram(SPREAD, dispatcher="kafka")
        for value in (0.75, 1.75):
            histogram.observe(value, 3)
            self.flush()
        buckets = {"1": 3, "2.5": 6, "+Inf": 6}
        expected = {f"fleet.spread_bucket,dispatcher=kafka,le={bound}": count for bound, count in buckets.items()}
        expected |= {"fleet.spread_count,dispatcher=kafka": 6, "fleet.spread_sum,dispatcher=kafka": 7}
        self.eventually(self.server.counters, expected)

    def test_the_server_scales_sampled_counters(self) -> None:
        self.patch(self.start(), "_lines", StatsdLines("fleet.", 0.25, lambda: 0.0))
        self.store.counter(RECORD_TOTAL, record_type="V").add(10)
        self.flush()
        self.eventually(self.server.counters, {"fleet.record_total,record_type=V": 40})

    def test_many_series_arrive_whole(self) -> None:
        self.start()
        types = [f"custom_type_{number}" for number in range(500)]
        for number, record_type in enumerate(types, 1):
            self.store.counter(RECORD_TOTAL, record_type=record_type).add(number)
        self.flush()
        expected = {f"fleet.record_total,record_type={name}": number for number, name in enumerate(types, 1)}
        self.eventually(self.server.counters, expected)

    def test_a_server_that_comes_back_has_the_numbers_from_then_on(self) -> None:
        self.start()
        counter = self.store.counter(RECORD_TOTAL, record_type="V")
        self.server.kill()
        for _ in range(20):
            counter.add(1)
            self.flush()
        events = [event for _, event, _ in self.log.entries]
        self.assertEqual(events, ["new_statsd_client", "statsd_not_reached"])
        self.server.start()
        self.flush()
        counter.add(5)
        self.flush()
        self.eventually(self.server.counters, {"fleet.record_total,record_type=V": 5})
