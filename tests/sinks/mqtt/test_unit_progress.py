"""A record that is slow, or never confirmed, among others."""

from collections.abc import Sequence

from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleError, VehicleErrors
from fleetgw.adapters.sinks.mqtt import quarantine
from fleetgw.adapters.sinks.mqtt.progress import BYTES_ALONE_S
from fleetgw.adapters.sinks.mqtt.sink import MqttSink
from fleetgw.domain.errors import NotConnected, Rejected
from fleetgw.domain.ports import RECEIPT, NotReady, Outcome, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import make_record
from tests.sinks.mqtt.test_unit_sink import VIN, MqttCase
from tests.support.mqtt.harness import make_mqtt_record
from tests.support.mqtt.memory_broker import BrokerConnection

OTHER = "5YJ3E1EA7KF000002"
BODY_BYTES = 900_000


def large_error(body_bytes: int = BODY_BYTES) -> Record:
    content = VehicleErrors(errors=[VehicleError(name="large", body="x" * body_bytes)])
    return make_record(VIN, record_type="errors", payload=b"x" * body_bytes, content=content)


class Link:
    """A link of a certain speed: the connection takes so many bytes a second, and is full meanwhile."""

    def __init__(self, connection: BrokerConnection, bytes_per_s: float) -> None:
        self._connection = connection
        self._bytes_per_s = bytes_per_s
        connection.full_at_bytes = 1
        self._room = 0.0
        self._arrived_in_part = 0

    def carry(self, seconds: float) -> None:
        """Transfer the bytes of this time; the connection asks for more once it has none left."""
        connection = self._connection
        self._room = min(self._room + seconds * self._bytes_per_s, 2 * 65_536)
        while connection.open and 0 < (new := len(connection.left_over) - self._arrived_in_part) <= self._room:
            self._room -= new
            connection.full_at_bytes = None
            connection._arrive()
            connection.full_at_bytes = 1
            self._arrived_in_part = len(connection.left_over)
            connection.producer.resumeProducing()


class SlowLinkTests(MqttCase):
    def run_for(self, seconds: float, link: Link) -> None:
        for _ in range(round(seconds / 0.05)):
            link.carry(0.05)
            self.reactor.advance(0.05)

    def test_a_large_record_and_its_neighbours_pass(self) -> None:
        """900 kB over 2 Mbit/s take 3.6 s, more than publish_timeout_ms."""
        sink = self.started(publish_timeout_ms=2_500)
        link = Link(self.broker.connections[0], 250_000)
        before = sink.dispatch([make_mqtt_record(OTHER)])
        large = sink.dispatch([large_error()])
        behind = sink.dispatch([make_mqtt_record(OTHER)])
        self.run_for(1, link)
        self.assertEqual(self.successResultOf(before), [RECEIPT])
        self.assertNoResult(large)
        self.run_for(4, link)
        self.assertEqual(self.successResultOf(large), [RECEIPT])
        self.assertEqual(self.successResultOf(behind), [RECEIPT])
        self.assertEqual(len(self.broker.connects), 1)

    def test_bytes_that_leave_are_progress(self) -> None:
        """At a tenth of the speed that the extra time for a record's size assumes, no session is cut."""
        sink = self.started(publish_timeout_ms=2_500)
        link = Link(self.broker.connections[0], 30_000)
        large = sink.dispatch([large_error()])
        self.run_for(31, link)
        self.assertEqual(self.successResultOf(large), [RECEIPT])
        self.assertEqual(len(self.broker.connects), 1)

    def test_bytes_that_leave_are_progress_without_acknowledgements_too(self) -> None:
        sink = self.started(publish_timeout_ms=2_500, qos=0)
        link = Link(self.broker.connections[0], 100_000)
        sink.dispatch([large_error()])
        behind = sink.dispatch([make_mqtt_record(OTHER)])
        self.run_for(15, link)
        self.assertEqual(self.successResultOf(behind), [RECEIPT])
        self.assertEqual(len(self.broker.connects), 1)

    def test_a_link_without_acknowledgements_is_given_up_in_the_end(self) -> None:
        """Bytes alone count as progress for a bounded time."""
        sink = self.started(publish_timeout_ms=2_500)
        link = Link(self.broker.connections[0], 7_000)
        large = sink.dispatch([large_error(2_000_000)])
        self.run_for(BYTES_ALONE_S - 10, link)
        self.assertNoResult(large)
        self.run_for(60, link)
        self.assertIsInstance(self.successResultOf(large)[0], NotConnected)

    def test_a_peer_that_never_reads_is_given_up_in_time(self) -> None:
        sink = self.started(publish_timeout_ms=2_500)
        self.broker.connections[0].full_at_bytes = 1
        answer = sink.dispatch([make_mqtt_record(VIN)])
        self.advance(2.4)
        self.assertNoResult(answer)
        self.advance(0.4)
        self.assertIsInstance(self.successResultOf(answer)[0], NotConnected)


class Lane:
    """Retries records as a lane does: a retryable record blocks later ones with its ordering key."""

    def __init__(self, sink: MqttSink, case: MqttCase) -> None:
        self._sink = sink
        self._case = case
        self._later: list[Record] = []
        self._places: dict[Record, int] = {}
        self.fates: dict[Record, Outcome] = {}
        self.set_aside: set[Record] = set()

    def offer(self, *records: Record) -> None:
        for record in records:
            self._places.setdefault(record, len(self._places))
        self._sink.dispatch(records).addCallback(self._answered, records)

    def _answered(self, outcomes: Sequence[Outcome], records: Sequence[Record]) -> None:
        for record, outcome in zip(records, outcomes, strict=True):
            if outcome == RECEIPT or isinstance(outcome, Rejected):
                self.fates[record] = outcome
                continue
            if not isinstance(outcome, NotConnected):
                self.set_aside.add(record)
            self._later.append(record)

    def again(self) -> None:
        later, self._later = sorted(self._later, key=self._places.__getitem__), []
        if later:
            self.offer(*later)


class StallTests(MqttCase):
    """A broker that acknowledges nothing after it has received a certain record."""

    def setUp(self) -> None:
        super().setUp()
        take = self.broker._publish
        self.stalled_sessions: list[BrokerConnection] = []

        def publish(connection: BrokerConnection, first: int, body: bytes) -> bytes:
            if b"/errors/" in body[:100]:
                self.stalled_sessions.append(connection)
            return b"" if connection in self.stalled_sessions else take(connection, first, body)

        self.broker._publish = publish  # type: ignore[method-assign]  # the double's, as a broker with this fault has it

    def test_its_ordering_key_is_quarantined_and_others_pass(self) -> None:
        sink = self.started(publish_timeout_ms=1_000)
        lane = Lane(sink, self)
        bad = large_error(100)
        lane.offer(bad)
        others = []
        for _ in range(240):
            others.append(make_mqtt_record(OTHER))
            lane.again()
            lane.offer(others[-1])
            self.advance(0.5)
        self.assertIn(bad, lane.set_aside)
        self.assertNotIn(bad, lane.fates)
        lane.again()
        self.advance(5)
        lost = [record for record in others if lane.fates.get(record) != RECEIPT]
        self.assertLessEqual(len(lost), 4)
        self.assertLessEqual(len(self.stalled_sessions), 7, "it is tried again ever more seldom")
        later = large_error(100)
        lane.offer(later)
        self.advance(0.1)
        self.assertIn(later, lane.set_aside, "its vehicle's next record of that type waits as well")

    def test_one_stalled_session_does_not_quarantine(self) -> None:
        sink = self.started(publish_timeout_ms=1_000)
        answer = sink.dispatch([large_error(100)])
        self.advance(2)
        self.assertIsInstance(self.successResultOf(answer)[0], NotConnected)

    def test_a_broker_that_hangs_quarantines_nothing(self) -> None:
        """Where no other record passes in between, none is blamed."""
        sink = self.started(publish_timeout_ms=1_000)
        lane = Lane(sink, self)
        self.broker.holding = True
        record = make_mqtt_record(VIN)
        lane.offer(record)
        for _ in range(60):
            lane.again()
            self.advance(0.5)
        self.assertEqual(lane.set_aside, set())
        self.broker.release()
        for _ in range(10):
            lane.again()
            self.advance(0.5)
        self.assertEqual(lane.fates, {record: RECEIPT})


class PoisonTests(MqttCase):
    def test_a_vehicle_that_sends_many_poison_records(self) -> None:
        """Each ends sessions; the quarantine of its ordering key grows, so that others keep their sessions longer."""
        sink = self.started()
        lane = Lane(sink, self)
        self.broker.ends_over = {f"t/{VIN}/alerts/bad/history"}
        others, ends = [], []
        bad = None
        for _ in range(600):
            if bad is None or bad in lane.fates:
                bad = make_mqtt_record(VIN, record_type="alerts", payload=b"bad")
                lane.offer(bad)
            others.append(make_mqtt_record(OTHER))
            lane.again()
            lane.offer(others[-1])
            self.advance(0.5)
            ends.append(len(self.broker.connects))
        self.assertLess(ends[-1] - ends[300], 8, "sessions ended in the last 150 s")
        lane.again()
        self.advance(1)
        self.assertEqual([record for record in others if lane.fates.get(record) != RECEIPT], [])

    def test_quarantine_ends_and_is_forgotten(self) -> None:
        now_s = [0.0]
        held = quarantine.Quarantine(lambda: now_s[0])
        record, other = make_mqtt_record(VIN), make_mqtt_record(OTHER)
        self.assertFalse(held)
        for pause_s in (5, 10, 20, 40, 80, 160, 320, 600, 600):
            held.stalled(record)
            self.assertEqual((held.left_s(record), held.left_s(other)), (pause_s, 0))
            now_s[0] += pause_s
            self.assertEqual(held.left_s(record), 0)
        held.passed(record)
        self.assertFalse(held)
        held.stalled(record)
        now_s[0] += quarantine.FORGET_AFTER_S + 1
        held.stalled(record)
        self.assertEqual(held.left_s(record), 5)

    def test_quarantine_is_bounded(self) -> None:
        held = quarantine.Quarantine(lambda: 0.0)
        for number in range(quarantine.KEYS_LIMIT + 100):
            held.stalled(make_mqtt_record(f"VIN{number}"))
        self.assertEqual(len(held._keys), quarantine.KEYS_LIMIT)


class ReadinessTests(MqttCase):
    def test_readiness_while_a_stall_goes_on(self) -> None:
        sink = self.started(publish_timeout_ms=1_000)
        self.broker.holding = True
        sink.dispatch([make_mqtt_record(VIN)])
        self.advance(1.1)
        self.assertIsInstance(sink.readiness(), NotReady)
        self.advance(1)
        self.assertEqual(sink.readiness(), Ready())
