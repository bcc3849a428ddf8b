"""The histograms of a record's way: receipt to acknowledgement, dispatch to outcome, records of a batch."""

from twisted.python.failure import Failure

from fleetgw.domain.deduplication import DeduplicationWindow
from fleetgw.domain.errors import Retryable
from fleetgw.domain.ports import NotReady
from tests.support.controlled_spool import ControlledSpool
from tests.support.session_case import NOW_NS, SessionCase, message


class AckLatencyTests(SessionCase):
    clock_set_by_s = 0.0

    def wall_ns(self) -> int:
        return NOW_NS + round((self.clock.seconds() + self.clock_set_by_s) * 1e9)

    def latencies(self, record_type: str = "V") -> dict[str, int]:
        """Number of records by the upper bound of their bucket, in seconds."""
        distribution = self.metrics.distribution("ack_latency_seconds", record_type)
        bounds = [*(f"{bound:g}" for bound in distribution.bounds), "+Inf"]
        return {bound: count for bound, count in zip(bounds, distribution.counts, strict=True) if count}

    def test_records_acknowledged_in_the_read_that_brought_them(self) -> None:
        session = self.session()
        session.received([message("V", b"1"), message("V", b"2"), message("alerts", b"3")])
        session.received([message("unrouted", b"4")])
        self.assertEqual([self.latencies(each) for each in ("V", "alerts", "unrouted")], [{"0": 2}, {"0": 1}, {"0": 1}])

    def test_records_that_wait_for_a_sink(self) -> None:
        session = self.session({"V": "kafka"})
        session.received([message("V", b"1"), message("V", b"2")])
        self.clock.advance(0.3)
        session.received([message("V", b"3")])
        self.clock.advance(0.02)
        self.assertEqual(self.latencies(), {})
        self.kafka.answer()
        self.assertEqual(self.latencies(), {"0.5": 2, "0.025": 1})
        self.assertAlmostEqual(self.metrics.distribution("ack_latency_seconds", "V").sum, 0.66)

    def test_one_confirmation_of_several_types(self) -> None:
        session = self.session({"V": "kafka", "alerts": "kafka"})
        session.received([message("V", b"1"), message("alerts", b"2")])
        self.clock.advance(0.2)
        self.kafka.answer()
        self.assertEqual([self.latencies("V"), self.latencies("alerts")], [{"0.25": 1}, {"0.25": 1}])

    def test_records_that_wait_for_several_sinks(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        session = self.session({"V": "kafka and logger"})
        session.received([message("V", b"1")])
        self.clock.advance(0.2)
        self.kafka.answer()
        self.clock.advance(0.7)
        self.logger.answer()
        self.assertEqual(self.latencies(), {"1": 1})

    def test_records_that_wait_for_the_spool(self) -> None:
        for policy, records in (("spooled", self.records), ("kafka or spooled", {"V": ["kafka", "logger"]})):
            with self.subTest(policy=policy):
                self.records, self.spool = records, ControlledSpool()
                session = self.session({"V": policy})
                session.received([message("V", b"1")])
                self.clock.advance(0.2)
                self.assertEqual(self.latencies(), {})
                self.spool.sync()
                self.assertEqual(self.latencies(), {"0.25": 1})

    def test_records_that_the_spool_takes_in_place_of_a_full_queue(self) -> None:
        self.room["kafka"], self.spool, self.spools_all = 1, ControlledSpool(), True
        session = self.session()
        session.received([message("V", b"1")])
        session.received([message("V", b"2")])
        self.assertEqual(self.latencies(), {"0": 1})
        self.clock.advance(0.2)
        for _ in range(2):
            self.spool.sync()
        self.assertEqual(self.latencies(), {"0": 1, "0.25": 1})

    def test_records_that_wait_for_room(self) -> None:
        self.room["kafka"] = 1
        session = self.session()
        session.received([message("V", b"1")])
        session.received([message("V", b"2")])
        self.assertEqual(self.latencies(), {"0": 1})
        self.clock.advance(2)
        self.kafka.answer()
        self.clock.advance(0.1)
        self.assertEqual(self.latencies(), {"0": 1, "2.5": 1})

    def test_a_clock_that_is_set_back(self) -> None:
        session = self.session({"V": "kafka"})
        session.received([message("V", b"1")])
        self.clock_set_by_s = -3600
        self.dispatch()
        self.kafka.answer()
        self.assertEqual(self.latencies(), {"0": 1})

    def test_no_latency_of_what_is_not_acknowledged_or_acknowledged_again(self) -> None:
        session = self.session({"alerts": "kafka"}, deduplication=DeduplicationWindow(60.0, 100))
        for _ in range(2):
            session.received([message("V", b"1")])
        session.received([message("alerts", b"2")])
        self.dispatch()
        session.disconnected()
        self.kafka.answer()
        self.assertEqual([self.latencies(each) for each in ("V", "alerts")], [{"0": 1}, {}])


class LaneGaugeTests(SessionCase):
    def gauges(self) -> list[float]:
        names = ("sink_ready", "lane_capacity_records", "lane_held_records")
        return [self.value(name, "kafka") for name in names]

    def test_gauges_of_a_lane(self) -> None:
        self.session().received([message("V", b"1")])
        self.assertEqual(self.gauges(), [1, 1000, 1])
        self.kafka.readiness = lambda: NotReady("away")
        self.assertEqual(self.gauges(), [0, 1000, 1])
        self.dispatch()
        self.kafka.answer()
        self.lanes["kafka"].close()
        self.lanes["kafka"].abandon()
        self.assertEqual(self.gauges(), [0, 0, 0])


class SinkLatencyTests(SessionCase):
    def test_every_batch_with_its_latency_and_records(self) -> None:
        session = self.session()
        session.received([message("V", b"%d" % number) for number in range(3)])
        self.dispatch()
        self.clock.advance(0.7)
        self.kafka.answer(Retryable("full"))
        self.clock.advance(1)
        self.kafka.answer()
        latency = self.metrics.distribution("sink_latency_seconds", "kafka")
        sizes = self.metrics.distribution("sink_batch_records", "kafka")
        self.assertEqual((latency.count, sizes.count, sizes.sum), (2, 2, 4))  # the first one is retried alone
        self.assertGreaterEqual(latency.sum, 0.7)
        self.assertEqual(self.metrics.distribution("sink_latency_seconds", "logger").count, 0)

    def test_a_dispatch_that_breaks_the_contract_has_no_latency(self) -> None:
        session = self.session()
        session.received([message("V", b"1")])
        self.dispatch()
        _, answer = self.kafka._open.pop()
        answer.errback(Failure(ValueError("broken")))
        self.assertEqual(self.metrics.distribution("sink_latency_seconds", "kafka").count, 0)
