"""Time until a broker that is back is found, and two clients with one identifier."""

from random import Random
from unittest import TestCase, mock

from twisted.internet.interfaces import IReactorPluggableNameResolver
from zope.interface import alsoProvides

from fleetgw.adapters.sinks.mqtt.pauses import ReconnectPauses
from fleetgw.adapters.sinks.mqtt.sink import MqttSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import RECEIPT, Ready
from tests.sinks.mqtt.test_unit_sink import SETTINGS, VIN, MqttCase
from tests.support.mqtt.harness import make_mqtt_record


class RecoveryTests(MqttCase):
    def test_records_are_delivered_each_time_the_broker_is_up(self) -> None:
        """Down 25 s, up 8 s, five times: ready within about a second, with the Go server's interval of 10 s."""
        sink = self.started()
        for _ in range(5):
            self.broker.go_away()
            self.successResultOf(sink.dispatch([make_mqtt_record(VIN)]))
            for _ in range(250):
                self.reactor.advance(0.1)
            self.broker.away = False
            for _ in range(11):
                self.reactor.advance(0.1)
            self.assertEqual(sink.readiness(), Ready())
            self.assertEqual(self.dispatch(sink, make_mqtt_record(VIN)), [RECEIPT])
            self.advance(7)

    def test_a_record_that_comes_during_a_long_pause_shortens_it(self) -> None:
        self.broker.away = True
        sink = self.started(connect_retry_interval_ms=600_000)
        for _ in range(40):
            self.advance(50)
        self.successResultOf(sink.dispatch([make_mqtt_record(VIN)]))
        self.broker.away = False
        self.advance(1.1)
        self.assertEqual(sink.readiness(), Ready())

    def test_records_lost_with_a_session_shorten_the_pause_as_well(self) -> None:
        sink = self.started(connect_retry_interval_ms=600_000)
        self.broker.holding = True
        sink.dispatch([make_mqtt_record(VIN)])
        self.advance(0.01)
        self.broker.go_away()
        for _ in range(20):
            self.advance(5)
        self.broker.away = False
        self.advance(1.1)
        self.assertEqual(sink.readiness(), Ready())

    def test_the_pause_grows_while_the_broker_refuses_sessions(self) -> None:
        self.broker.connack = b"\x20\x02\0\x05"
        sink = self.started()
        for _ in range(60):
            self.successResultOf(sink.dispatch([make_mqtt_record(VIN)]))
            self.advance(1)
        self.assertLess(len(self.broker.connects), 15)

    def test_the_pause_stays_short_while_the_broker_says_it_is_unavailable(self) -> None:
        self.broker.connack = b"\x20\x02\0\x03"
        sink = self.started()
        for _ in range(60):
            self.successResultOf(sink.dispatch([make_mqtt_record(VIN)]))
            self.advance(1)
        self.broker.connack = b"\x20\x02\0\0"
        self.advance(1.1)
        self.assertEqual(sink.readiness(), Ready())

    def test_a_name_server_that_hangs_does_not_delay_stopping(self) -> None:
        """With the endpoint of the settings, which resolves the name."""
        lookups: list[str] = []
        alsoProvides(self.reactor, IReactorPluggableNameResolver)
        self.reactor.nameResolver = mock.Mock()  # type: ignore[attr-defined]  # an endpoint calls it
        self.reactor.nameResolver.resolveHostName.side_effect = lambda _receiver, name, *_a, **_k: lookups.append(name)
        context = SinkContext("mqtt", SETTINGS, "ns", ("V",), self.reactor, self.metrics, self.log)
        sink = MqttSink(context, None, Random(1))
        sink.start()
        answer = sink.dispatch([make_mqtt_record(VIN)])
        self.advance(1)
        self.assertEqual(lookups, ["b.example"])
        stopped = sink.stop()
        self.advance(0.3)
        self.successResultOf(stopped)
        self.successResultOf(answer)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class TakeoverTests(MqttCase):
    def contest(self, seconds: int, **settings: object) -> MqttSink:
        """Another client takes each session over as soon as it is accepted."""
        sink = self.started(**settings)
        for _ in range(seconds * 20):
            self.reactor.advance(0.05)
            for connection in list(self.broker.connections):
                if self.broker.farewell:
                    connection.say(self.broker.farewell)
                connection.close(ConnectionError("taken over"))
        return sink

    def test_readiness_and_log_name_the_takeover(self) -> None:
        for version, farewell in (("3.1.1", b""), ("5", b"\xe0\x02\x8e\0")):
            self.setUp()
            if version == "5":
                self.broker.connack = b"\x20\x03\0\0\0"
            self.broker.farewell = farewell
            sink = self.contest(30, client_id="gateway", protocol_version=version)
            self.assertIn("mqtt.client_id 'gateway'", self.reason(sink))
            self.assertIn("give each gateway a client_id of its own", self.reason(sink))
            event = self.log.fields_of("mqtt_connection_error")[-1]
            self.assertEqual(event["kind"], "client_id_contested")
            self.assertIn("mqtt.client_id", str(event["error"]))
            self.assertLess(len(self.broker.connects), 15)

    def test_mqtt_5_names_it_at_the_first_time(self) -> None:
        self.broker.connack, self.broker.farewell = b"\x20\x03\0\0\0", b"\xe0\x02\x8e\0"
        sink = self.contest(1, client_id="gateway", protocol_version="5")
        self.assertIn("mqtt.client_id 'gateway'", self.reason(sink))

    def test_a_broker_that_goes_away_is_no_takeover(self) -> None:
        sink = self.started(client_id="gateway")
        for _ in range(6):
            self.advance(8)
            self.broker.go_away()
            self.advance(3)
            self.assertNotIn("client_id", self.reason(sink))
            self.broker.away = False
            self.advance(12)

    def test_a_poison_record_is_no_takeover(self) -> None:
        sink = self.started(client_id="gateway", connect_retry_interval_ms=1_000)
        self.broker.ends_over = {f"t/{VIN}/alerts/bad/history"}
        for _ in range(10):
            bad = make_mqtt_record(VIN, record_type="alerts", payload=b"bad")
            sink.dispatch([bad, make_mqtt_record(VIN)])
            self.advance(1)
            sink.dispatch([bad])
            self.advance(1)
            sink.dispatch([make_mqtt_record(VIN)])
            self.advance(1)
        events = self.log.fields_of("mqtt_connection_error")
        self.assertNotIn("client_id_contested", [event["kind"] for event in events])

    def test_two_gateways_with_one_identifier_share_the_broker(self) -> None:
        """Both get sessions, and neither reconnects at full speed."""
        sinks = [self.started(client_id="gateway"), self.started(client_id="gateway")]
        ready_s = [0.0, 0.0]
        clients = len(self.broker.connects)
        for _ in range(20 * 300):
            self.reactor.advance(0.05)
            for older in self.broker.connections[:-1]:
                older.close(ConnectionError("taken over"))
            for number, sink in enumerate(sinks):
                ready_s[number] += 0.05 * (sink.readiness() == Ready())
        self.assertGreater(min(ready_s), 60, ready_s)
        self.assertLess(len(self.broker.connects) - clients, 100)


class PauseTests(TestCase):
    def test_failed_attempts_do_not_lengthen_the_pause_after_a_session(self) -> None:
        pauses = ReconnectPauses(10.0, Random(1))
        longest_s = max(pauses.not_reached(records_wait=True) for _ in range(100))
        self.assertLessEqual(longest_s, 1)
        self.assertLessEqual(pauses.ended(20, by_broker=True, taken_over=False), 0.5)

    def test_a_shorter_interval_is_respected(self) -> None:
        pauses = ReconnectPauses(0.2, Random(1))
        self.assertLessEqual(max(pauses.not_reached(records_wait=True) for _ in range(100)), 0.2)
