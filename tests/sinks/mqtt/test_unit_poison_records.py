"""Poison records, over which a broker ends the session, are found and rejected alone, and no record because of a restart."""

from collections.abc import Iterable, Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.mqtt.poison_records import ENDS_TO_REJECT, PoisonRecordDetector
from fleetgw.adapters.sinks.mqtt.sink import MqttSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, Outcome, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor
from tests.support.mqtt.harness import make_mqtt_record
from tests.support.mqtt.memory_broker import MemoryBroker

VIN = "5YJ3E1EA7KF000001"
LANE_PAUSE_S = 0.5


def topic(name: str) -> str:
    return f"t/{VIN}/alerts/{name}/history"


class Gateway:
    """A sink over a broker in memory, with the retry of a lane: failed records are dispatched again, oldest first.

    :ivar final: by name, the final outcome of a record: receipt or rejection.
    :ivar retried: every other outcome.
    """

    def __init__(self, batch_records: int = 1_000, **more: object) -> None:
        self.batch_records = batch_records
        self.reactor, self.metrics, self.log = ThreadlessReactor(), ReadableMetrics(), ReadableLog()
        self.broker = MemoryBroker(self.reactor)
        if more.get("protocol_version") == "5":
            self.broker.connack = b"\x20\x03\0\0\0"
        given = {"broker": "b.example:1883", "topic_base": "t", "qos": 1, "connect_retry_interval_ms": 1_000} | more
        context = SinkContext("mqtt", given, "ns", ("alerts",), self.reactor, self.metrics, self.log)
        self.sink = MqttSink(context, self.broker, Random(1))
        self.final: dict[str, Outcome] = {}
        self.retried: list[Outcome] = []
        self._to_offer: list[tuple[int, Record]] = []
        self._count = 0
        self._pausing = False
        self.sink.start()
        self.advance(0.01)

    def offer(self, *names: str) -> None:
        """Dispatch records of one alert each, in one batch."""
        for name in names:
            record = make_mqtt_record(VIN, record_type="alerts", payload=name.encode())
            self._to_offer.append((self._count, record))
            self._count += 1
        self._dispatch()

    def _dispatch(self) -> None:
        self._pausing = False
        offered, self._to_offer = sorted(self._to_offer, key=lambda each: each[0]), []
        for first in range(0, len(offered), self.batch_records):
            batch = offered[first : first + self.batch_records]
            self.sink.dispatch([record for _, record in batch]).addCallback(self._answered, batch)

    def _answered(self, outcomes: Sequence[Outcome], batch: list[tuple[int, Record]]) -> None:
        for (place, record), outcome in zip(batch, outcomes, strict=True):
            if outcome == RECEIPT or isinstance(outcome, Rejected):
                self.final[record.payload.decode()] = outcome
            else:
                self.retried.append(outcome)
                self._to_offer.append((place, record))
        if self._to_offer and not self._pausing:
            self._pausing = True
            self.reactor.callLater(LANE_PAUSE_S, self._dispatch)

    def advance(self, seconds: float) -> None:
        for _ in range(20):
            self.reactor.advance(seconds / 20)

    def restart(self, down_s: float) -> None:
        """Kill the broker, and start it again after a while."""
        self.broker.go_away()
        self.broker.holding = False
        self.advance(down_s)
        self.broker.away = False

    def run(self, names: Iterable[str]) -> None:
        """Dispatch one record a second, one for each name."""
        for name in names:
            self.offer(name)
            self.advance(1)

    def refused(self) -> set[str]:
        return {name for name, outcome in self.final.items() if isinstance(outcome, Rejected)}


class PoisonRecordTests(SynchronousTestCase):
    @settings(max_examples=60)
    @given(
        st.integers(1, 40),
        st.sets(st.integers(0, 39), min_size=1, max_size=3),
        st.booleans(),
        st.sampled_from((1, 7, 1_000)),
        st.sampled_from(((1, "3.1.1", None), (2, "3.1.1", None), (1, "5", None), (1, "5", 0x87), (2, "5", 0x87))),
    )
    def test_poison_records_are_rejected_and_all_others_pass(
        self, count: int, places: set[int], resets: bool, batch_records: int, kind: tuple[int, str, int | None]
    ) -> None:
        qos, version, code = kind
        gateway = Gateway(batch_records, qos=qos, protocol_version=version)
        broker = gateway.broker
        poisons = {str(place) for place in places if place < count}
        broker.ends_over = {topic(name) for name in poisons}
        broker.resets = resets
        if code is not None:
            broker.refusals = dict.fromkeys(broker.ends_over, code)
        gateway.offer(*map(str, range(count)))
        others = [f"later {number}" for number in range(60)]
        gateway.run(others)
        self.assertEqual(gateway.refused(), poisons)
        self.assertEqual(set(gateway.final), {*map(str, range(count)), *others})
        self.assertEqual(gateway.sink.readiness(), Ready())

    def test_the_log_names_the_record_and_the_reason(self) -> None:
        gateway = Gateway()
        gateway.broker.ends_over = {topic("bad")}
        gateway.offer("good", "bad", "other")
        gateway.run("abcdefgh")
        self.assertIn("the broker ends the session over it", str(gateway.final["bad"]))
        rejected = [event for event in gateway.log.fields_of("mqtt_publish_error") if event["kind"] == "Rejected"]
        self.assertEqual([(event["vin"], event["record_type"]) for event in rejected], [(VIN, "alerts")])
        self.assertEqual(gateway.refused(), {"bad"})
        self.assertLessEqual(len(gateway.broker.connects), ENDS_TO_REJECT + 3)

    def test_other_records_may_come_in_other_batches(self) -> None:
        """They are sent, and answered, before the suspect, even when a lane dispatches the suspect first."""
        gateway = Gateway(1)
        gateway.broker.ends_over = {topic("bad")}
        gateway.offer("bad")
        gateway.advance(0.1)
        gateway.offer("other")
        gateway.advance(1)
        self.assertEqual(gateway.final, {"other": RECEIPT})

    def test_full_speed_returns(self) -> None:
        gateway = Gateway()
        gateway.broker.ends_over = {topic("bad")}
        gateway.offer("bad")
        gateway.run("abcdefgh")
        self.assertEqual(gateway.refused(), {"bad"})
        gateway.run(map(str, range(10)))
        gateway.broker.holding = True
        gateway.offer(*[f"many {number}" for number in range(1_000)])
        gateway.advance(0.1)
        self.assertEqual(gateway.broker.highest_in_flight, 1_000)

    def test_a_suspect_that_ends_its_session_is_retryable_alone(self) -> None:
        """Others need not wait for the next connection when a suspect has ended the session."""
        gateway = Gateway()
        gateway.broker.ends_over = {topic("bad")}
        gateway.offer("bad")
        gateway.advance(2.1)
        first, second = gateway.retried
        self.assertIsInstance(first, NotConnected)
        self.assertEqual(type(second), Retryable)
        self.assertIn("it seems over this record", str(second))
        self.assertEqual(gateway.sink.readiness(), Ready())

    def test_a_broker_that_ends_every_session_rejects_nothing(self) -> None:
        """As where the gateway's user may not publish at all: where no record passes, none is blamed."""
        gateway = Gateway()
        names = [str(number) for number in range(40)]
        gateway.broker.ends_over = {topic(name) for name in names}
        gateway.run(names)
        self.assertEqual(gateway.final, {})
        gateway.broker.ends_over = set()
        gateway.advance(20)
        self.assertEqual({*gateway.final.values()}, {RECEIPT})
        self.assertEqual(set(gateway.final), set(names))

    def test_a_refusal_that_ends_no_session_counts_against_no_record(self) -> None:
        gateway = Gateway(protocol_version="5")
        gateway.broker.refusals = {topic("denied"): 0x87}
        gateway.offer("denied")
        for number in range(3 * ENDS_TO_REJECT):
            refusals = len(gateway.retried)
            gateway.offer(str(number))
            while len(gateway.retried) < refusals + 2:  # the second time without another beside it
                gateway.reactor.advance(0.01)
            gateway.advance(0.8 * LANE_PAUSE_S)
            gateway.broker.connections[0].close(ConnectionError("moved to another node"))
            gateway.advance(1)
        self.assertEqual(gateway.refused(), set())

    def test_disconnects_of_mqtt_5_count_only_for_reasons_of_a_packet(self) -> None:
        """Shutting down and session taken over do not count; packet too large does."""
        for code, refused in ((0x8B, set[str]()), (0x8E, set[str]()), (0x95, {"bad"})):
            gateway = Gateway(protocol_version="5")
            gateway.broker.ends_over = {topic("bad")}
            gateway.broker.farewell = b"\xe0\x02" + bytes([code]) + b"\0"
            gateway.offer("bad")
            gateway.run(map(str, range(20)))
            self.assertEqual(gateway.refused(), refused, hex(code))


class RestartTests(SynchronousTestCase):
    @settings(max_examples=150)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("offer"), st.integers(1, 5)),
                st.tuples(st.just("advance"), st.sampled_from((0.0, 0.01, 0.3, 0.5, 1.0))),
                st.tuples(st.just("hold"), st.just(0)),
                st.tuples(st.just("release"), st.just(0)),
                st.tuples(st.just("restart"), st.sampled_from((0.001, 0.3, 2.0))),
            ),
            max_size=60,
        ),
        st.sampled_from(("3.1.1", "5")),
    )
    def test_restarts_of_the_broker_reject_and_lose_nothing(self, script: list[tuple[str, float]], version: str) -> None:
        gateway = Gateway(protocol_version=version)
        count = 0
        for step, amount in script:
            match step:
                case "offer":
                    gateway.offer(*[str(count + number) for number in range(int(amount))])
                    count += int(amount)
                case "advance":
                    gateway.advance(amount)
                case "hold":
                    gateway.broker.holding = True
                case "release":
                    gateway.broker.release()
                case _:
                    gateway.restart(amount)
        gateway.broker.release()
        gateway.advance(30)
        self.assertEqual(
            {name for name, outcome in gateway.final.items() if outcome == RECEIPT}, set(map(str, range(count)))
        )

    def test_restarts_that_meet_one_record_every_time(self) -> None:
        """The worst case: each time only this record is in flight, others pass in between, and the broker is back soon."""
        gateway = Gateway()
        gateway.broker.ends_over = {topic("unlucky")}
        gateway.broker.dies = True
        gateway.offer("unlucky")
        for number in range(5 * ENDS_TO_REJECT):
            gateway.advance(5)
            self.assertTrue(gateway.broker.away, number)
            gateway.broker.away = False
            gateway.offer(f"lucky {number}")
        gateway.broker.ends_over = set()
        gateway.advance(30)
        self.assertEqual(gateway.refused(), set())
        self.assertEqual(len(gateway.final), 1 + 5 * ENDS_TO_REJECT)

    def test_two_failovers_that_meet_one_record(self) -> None:
        """Another node of the broker answers at once, fewer times than a rejection needs."""
        gateway = Gateway()
        gateway.broker.ends_over = {topic("unlucky")}
        gateway.offer("unlucky")
        gateway.advance(0.1)
        number = 0
        while len(gateway.broker.connects) < 3:
            gateway.run([f"lucky {number}"])
            number += 1
        gateway.broker.ends_over = set()
        gateway.advance(5)
        self.assertEqual(gateway.final["unlucky"], RECEIPT)


class PoisonRecordDetectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.detector = PoisonRecordDetector(4)
        self.one, self.other = make_mqtt_record(VIN), make_mqtt_record(VIN)

    def test_the_detector_is_inactive_once_records_go_at_full_speed_again(self) -> None:
        self.assertFalse(self.detector.session_ended([self.one, self.other]))
        self.detector.session_opened()
        self.assertEqual((self.detector.active, self.detector.group_records), (True, 1))
        for group_records, active in ((2, True), (4, False)):
            self.detector.group_answered()
            self.assertEqual((self.detector.active, self.detector.group_records), (active, group_records))

    def test_records_in_flight_together_are_not_suspected(self) -> None:
        for _ in range(ENDS_TO_REJECT):
            self.detector.session_ended([self.one, self.other])
            self.detector.session_opened()
            self.detector.confirmed(make_mqtt_record(VIN))
        self.assertFalse(self.detector.suspects(self.one) or self.detector.suspects(self.other))

    def test_the_detector_stays_active_while_a_record_is_suspected(self) -> None:
        self.assertTrue(self.detector.session_ended([self.one]))
        self.detector.session_opened()
        for _ in range(4):
            self.detector.group_answered()
        self.assertTrue(self.detector.active)
        self.detector.confirmed(self.one)
        self.detector.group_answered()
        self.assertFalse(self.detector.active)

    def test_the_detector_keeps_no_record_in_memory(self) -> None:
        self.detector.session_ended([self.one])
        self.detector.session_opened()
        del self.one
        self.detector.group_records = 4
        self.detector.group_answered()
        self.assertFalse(self.detector.active)
