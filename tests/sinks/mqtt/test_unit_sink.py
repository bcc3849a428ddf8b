"""The MQTT sink on a test's clock over a broker in memory: publishing, refusals, failures, stopping."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Payload, Value
from fleetgw.adapters.sinks.mqtt.messages import Message, MessageWriter
from fleetgw.adapters.sinks.mqtt.packets import publish_writer
from fleetgw.adapters.sinks.mqtt.settings import read_settings
from fleetgw.adapters.sinks.mqtt.sink import MqttSink
from fleetgw.adapters.sinks.mqtt.type import MQTT
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import ConfigurationError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, NotReady, Outcome, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.support.mqtt.harness import make_mqtt_record
from tests.support.mqtt.memory_broker import MemoryBroker

VIN = "5YJ3E1EA7KF000001"
SETTINGS = {"broker": "b.example:1883", "topic_base": "t", "qos": 1}


def record_of_signals(*keys: int) -> Record:
    return make_record(VIN, content=Payload(data=[Datum(key=key, value=Value(int_value=key)) for key in keys]))


class MqttCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor, self.metrics, self.log = ThreadlessReactor(), ReadableMetrics(), ReadableLog()
        self.broker = MemoryBroker(self.reactor)

    def make(self, **settings: object) -> MqttSink:
        context = SinkContext(
            "mqtt", SETTINGS | settings, "ns", ("V", "alerts", "errors"), self.reactor, self.metrics, self.log
        )
        return MqttSink(context, self.broker, Random(1))

    def started(self, **settings: object) -> MqttSink:
        sink = self.make(**settings)
        self.successResultOf(sink.start())
        self.advance(0.01)
        return sink

    def advance(self, seconds: float) -> None:
        """Advance in steps, so that calls scheduled meanwhile run in time."""
        for _ in range(20):
            self.reactor.advance(seconds / 20)

    def dispatch(self, sink: MqttSink, *records: Record) -> Sequence[Outcome]:
        answer = sink.dispatch(records)
        self.advance(0.01)
        return self.successResultOf(answer)

    def reason(self, sink: MqttSink) -> str:
        readiness = sink.readiness()
        self.assertIsInstance(readiness, NotReady)
        return readiness.reason if isinstance(readiness, NotReady) else ""


class PublishTests(MqttCase):
    def test_qos_and_retained_are_those_of_the_settings(self) -> None:
        for qos in (0, 1, 2):
            for retained in (False, True):
                sink = self.started(qos=qos, retained=retained)
                self.assertEqual(self.dispatch(sink, record_of_signals(8, 9)), [RECEIPT])
                first, second = self.broker.published[-2:]
                self.assertEqual((first.qos, first.retained, second.qos, second.retained), (qos, retained) * 2)
                self.assertEqual([first.body, second.body], [b"8", b"9"])

    def test_record_is_confirmed_with_the_last_of_its_publishes(self) -> None:
        sink = self.started()
        self.broker.holding = True
        answer = sink.dispatch([record_of_signals(8, 9, 10)])
        self.advance(0.01)
        (connection,) = self.broker.connections
        for identifier in (1, 2):
            connection.say(b"\x40\x02\0" + bytes([identifier]))
            self.assertNoResult(answer)
        connection.say(b"\x40\x02\0\x03")
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.assertEqual(self.metrics.value("mqtt_publish_total", "V"), 3)
        self.assertEqual(self.metrics.value("mqtt_publish_total_bytes", "V"), len("8" + "9" + "10"))

    def test_record_without_signals_is_delivered_at_once(self) -> None:
        sink = self.started()
        self.assertEqual(self.dispatch(sink, record_of_signals()), [RECEIPT])
        self.assertEqual(self.broker.published, [])

    def test_unexpected_acknowledgements_are_ignored(self) -> None:
        sink = self.started()
        self.broker.connections[0].say(b"\x40\x02\x12\x34")
        self.assertEqual(self.dispatch(sink, record_of_signals(8)), [RECEIPT])

    def test_more_publishes_than_identifiers(self) -> None:
        sink = self.started(publish_timeout_ms=60_000)
        records = [record_of_signals(*range(1_000, 4_000)) for _ in range(23)]
        answer = sink.dispatch(records)
        self.advance(5)
        self.assertEqual(self.successResultOf(answer), [RECEIPT] * 23)
        self.assertEqual(len(self.broker.published), 69_000)

    def test_identifier_is_not_used_again_before_its_acknowledgement(self) -> None:
        sink = self.started(publish_timeout_ms=60_000)
        self.broker.holding = True
        first = sink.dispatch([record_of_signals(8)])
        self.advance(0.01)
        self.broker.holding = False  # the first stays unacknowledged, all others are acknowledged
        answer = sink.dispatch([record_of_signals(*range(1_000, 10_000)) for _ in range(8)])
        self.advance(5)
        self.assertEqual(self.successResultOf(answer), [RECEIPT] * 8)
        self.assertNoResult(first)
        self.broker.release()
        self.assertEqual(self.successResultOf(first), [RECEIPT])

    def test_all_messages_are_sent_with_qos_0(self) -> None:
        sink = self.started(qos=0)
        answer = sink.dispatch([record_of_signals(*range(1_000, 1_900)) for _ in range(7)])
        self.assertNoResult(answer)
        self.advance(1)
        self.assertEqual(self.successResultOf(answer), [RECEIPT] * 7)
        self.assertEqual(len(self.broker.published), 6_300)

    def test_the_receive_maximum_limits_the_publishes_in_flight(self) -> None:
        """MQTT 5, 3.2.2.3.3."""
        self.broker.connack = b"\x20\x06\0\0\x03\x21\0\x03"
        sink = self.started(protocol_version="5")
        self.broker.holding = True
        answer = sink.dispatch([record_of_signals(*range(1_000, 1_010))])
        self.advance(0.1)
        self.assertEqual(self.broker.highest_in_flight, 3)
        self.assertNoResult(answer)
        self.broker.release()
        self.advance(0.1)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.assertEqual([message.body for message in self.broker.published], [b"%d" % key for key in range(1_000, 1_010)])

    def test_nothing_is_written_to_a_full_connection(self) -> None:
        for qos in (0, 1):
            sink = self.started(qos=qos)
            connection = self.broker.connections[-1]
            connection.full_at_bytes = 50
            answers = [sink.dispatch([record_of_signals(8)]) for _ in range(10)]
            self.advance(0.1)
            self.assertLess(len(connection.left_over), 100)
            connection.full_at_bytes = None
            connection.producer.resumeProducing()
            self.advance(0.1)
            self.assertEqual([self.successResultOf(answer) for answer in answers], [[RECEIPT]] * 10)


class RefusalTests(MqttCase):
    def test_reasons_of_mqtt_5(self) -> None:
        """Reasons that an operator can correct are retryable, others are not; neighbours pass."""
        self.broker.connack = b"\x20\x03\0\0\0"
        for qos in (1, 2):
            sink = self.started(protocol_version="5", qos=qos)
            for code, kind, words in (
                (0x87, Retryable, "not authorized"),
                (0x97, Retryable, "quota exceeded"),
                (0xA0, Retryable, "0xa0"),
                (0x90, Rejected, "topic name invalid"),
                (0x99, Rejected, "payload format invalid"),
            ):
                self.broker.refusals = {f"t/{VIN}/v/BatteryLevel": code}
                outcomes = self.dispatch(
                    sink, record_of_signals(4), record_of_signals(4, 42), record_of_signals(42, 5), record_of_signals(5)
                )
                self.assertEqual([type(outcome) for outcome in outcomes], [type(RECEIPT), kind, kind, type(RECEIPT)])
                self.assertIn(words, str(outcomes[1]))

    def test_a_refusal_before_the_end_of_the_session_counts(self) -> None:
        """mosquitto 2.0.11 refuses the first of a record's publishes and ends the session before it reads the next."""
        self.broker.connack = b"\x20\x03\0\0\0"
        sink = self.started(protocol_version="5")
        self.broker.refusals = {f"t/{VIN}/v/BatteryLevel": 0x87}
        self.broker.ends_over = set(self.broker.refusals)
        refused, other = self.dispatch(sink, record_of_signals(42, 4), record_of_signals(5))
        self.assertEqual(type(refused), Retryable)
        self.assertIn("not authorized", str(refused))
        self.assertIsInstance(other, NotConnected)

    def test_no_matching_subscribers_is_no_refusal(self) -> None:
        self.broker.connack = b"\x20\x03\0\0\0"
        sink = self.started(protocol_version="5")
        self.broker.refusals = {f"t/{VIN}/v/BatteryLevel": 0x10}
        self.assertEqual(self.dispatch(sink, record_of_signals(42)), [RECEIPT])

    def test_too_large_for_the_broker_is_refused_alone_and_never_sent(self) -> None:
        fits, large = (make_mqtt_record(VIN, payload=b"x" * size) for size in (100, 101))
        (message,) = MessageWriter("t").messages(fits)
        for settings, connack in (
            ({"max_packet_bytes": packet_size(message, is_mqtt5=False)}, self.broker.connack),
            ({"protocol_version": "5"}, b"\x20\x08\0\0\x05\x27\0\0\0" + bytes([packet_size(message, is_mqtt5=True)])),
        ):
            self.broker.connack = connack
            sink = self.started(**settings)
            before, refused, after = self.dispatch(sink, fits, large, fits)
            self.assertEqual((before, after), (RECEIPT, RECEIPT))
            self.assertIsInstance(refused, Rejected)
            self.assertIn("the broker takes", str(refused))
        self.assertEqual(len(self.broker.published), 4)

    def test_a_record_that_cannot_be_encoded_is_rejected(self) -> None:
        sink = self.started()
        with mock.patch("fleetgw.adapters.sinks.mqtt.messages._alerts", side_effect=ZeroDivisionError):  # a defect
            refused, passed = self.dispatch(sink, make_mqtt_record(VIN, record_type="alerts"), record_of_signals(8))
        self.assertIsInstance(refused, Rejected)
        self.assertEqual(passed, RECEIPT)

    def test_failures_are_counted_by_type_and_logged_at_a_bounded_rate(self) -> None:
        sink = self.started()
        self.dispatch(sink, *[make_record(VIN, record_type="alerts")] * 5)
        self.assertEqual(self.metrics.value("mqtt_err", "alerts"), 5)
        (event,) = self.log.fields_of("mqtt_publish_error")
        self.assertEqual((event["kind"], event["vin"]), ("Rejected", VIN))
        self.assertIn("custom record type", event["error"])


class ConnectionTests(MqttCase):
    def test_connect_carries_the_settings(self) -> None:
        self.started(client_id="gw-1", username="u", password="p", keep_alive_seconds=7)
        self.assertEqual(self.broker.connects, [b"\0\4MQTT\4\xc2\0\x07\0\4gw-1\0\1u\0\1p"])

    def test_readiness_and_outcomes_name_the_reason_of_a_refused_session(self) -> None:
        for connack, version, words in (
            (b"\x20\x02\0\x05", "3.1.1", "Not authorized"),
            (b"\x20\x02\0\x04", "3.1.1", "Bad user name or password"),
            (b"\x20\x03\0\x86\0", "5", "Bad user name or password"),
            (b"\x20\x02\0\x01", "5", "Unsupported protocol version"),
        ):
            self.broker.connack = connack
            sink = self.started(protocol_version=version)
            self.assertIn(words, self.reason(sink))
            (outcome,) = self.dispatch(sink, record_of_signals(8))
            self.assertIsInstance(outcome, NotConnected)
            self.assertIn("b.example:1883", str(outcome))
            self.assertIn(words, str(outcome))

    def test_other_protocols_on_the_port(self) -> None:
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n", b"\x15\x03\x01\0\x02"):
            self.broker.connack = answer
            sink = self.started()
            self.assertIn("it answers, but not in MQTT", self.reason(sink))

    def test_answer_that_is_cut_short(self) -> None:
        self.broker.connack = b"\x20\x00"
        self.assertIn("Protocol error", self.reason(self.started()))

    def test_readiness_names_the_reason_of_a_disconnect_in_mqtt_5(self) -> None:
        self.broker.connack = b"\x20\x03\0\0\0"
        sink = self.started(protocol_version="5")
        self.broker.connections[0].say(b"\xe0\x02\x8b\0")
        self.advance(0.01)
        self.assertIn("the broker ended the session: Server shutting down", self.reason(sink))

    def test_pauses_between_attempts_grow_up_to_the_interval(self) -> None:
        self.broker.away = True
        sink = self.started(connect_retry_interval_ms=4_000)
        attempts = []
        connect = self.broker.connect
        with mock.patch.object(
            self.broker, "connect", side_effect=lambda factory: attempts.append(self.reactor.seconds()) or connect(factory)
        ):
            for _ in range(600):
                self.advance(0.05)
        pauses = [later - earlier for earlier, later in pairwise(attempts)]
        self.assertLessEqual(max(pauses), 4.1)
        self.assertGreaterEqual(min(pauses[3:]), 1.9)
        longest = [round(pause, 1) for pause in pauses[4:]]
        self.assertGreater(len(set(longest)), 2, "no jitter")
        self.broker.away = False
        self.advance(5)
        self.assertEqual(sink.readiness(), Ready())
        self.advance(5)
        self.broker.go_away()
        self.broker.away = False
        self.advance(0.6)
        self.assertEqual(sink.readiness(), Ready(), "after a session that lasted, pauses begin anew")

    def test_sessions_that_end_at_once_cause_no_reconnect_storm(self) -> None:
        """The sink backs off from a broker that accepts each session and ends it at once."""
        self.started()
        for _ in range(1_000):
            self.advance(0.02)
            for connection in list(self.broker.connections):
                connection.close(ConnectionError("taken over"))
        self.assertLess(len(self.broker.connects), 15)

    def test_a_silent_server_is_given_up_after_the_connect_timeout(self) -> None:
        self.broker.silent = True
        sink = self.started(connect_timeout_ms=3_000, publish_timeout_ms=1_000)
        answer = sink.dispatch([record_of_signals(8)])
        self.advance(0.9)
        self.assertNoResult(answer)
        self.advance(0.2)
        (outcome,) = self.successResultOf(answer)
        self.assertIsInstance(outcome, NotConnected)
        self.advance(2)
        self.assertIn("no answer within 3 s", self.reason(sink))
        self.assertEqual(self.broker.connections, [])

    def test_name_that_cannot_be_resolved_or_connected(self) -> None:
        """With the endpoint of the settings: nothing listens there."""
        pending: Deferred[object] = Deferred()
        sink = self.make(connect_timeout_ms=2_000)
        with mock.patch.object(self.broker, "connect", return_value=pending):
            sink.start()
            self.advance(2.1)
        self.assertIn("no connection", self.reason(sink))

    def test_the_session_of_a_hung_broker_is_cut_and_records_are_retryable(self) -> None:
        sink = self.started(publish_timeout_ms=2_000)
        self.broker.holding = True
        early = sink.dispatch([record_of_signals(8)])
        self.advance(1)
        late = sink.dispatch([record_of_signals(9)])
        self.advance(0.9)
        self.assertNoResult(early)
        self.advance(0.3)
        for answer in (early, late):
            (outcome,) = self.successResultOf(answer)
            self.assertIsInstance(outcome, NotConnected)
            self.assertIn("no acknowledgement within 2 s", str(outcome))
        self.broker.release()
        self.advance(1)
        self.assertEqual(sink.readiness(), Ready())
        self.assertEqual(self.dispatch(sink, record_of_signals(8)), [RECEIPT])

    def test_a_session_that_the_sink_cuts_counts_against_no_record(self) -> None:
        """There is no immediate reconnect, unlike after an end that the broker may have caused over one record in flight."""
        sink = self.started(publish_timeout_ms=2_000)
        self.broker.holding = True
        answer = sink.dispatch([record_of_signals(8)])
        self.advance(2.1)
        self.assertIsInstance(self.successResultOf(answer)[0], NotConnected)
        self.assertEqual(len(self.broker.connects), 1)
        self.assertIn("no acknowledgement", self.reason(sink))

    def test_the_timeout_starts_at_the_dispatch_when_nothing_was_in_flight(self) -> None:
        sink = self.started(publish_timeout_ms=2_000)
        self.assertEqual(self.dispatch(sink, record_of_signals(8)), [RECEIPT])
        self.advance(1.8)
        self.broker.holding = True
        answer = sink.dispatch([record_of_signals(8)])
        self.advance(1.8)
        self.assertNoResult(answer)
        self.broker.release()
        self.assertEqual(self.successResultOf(answer), [RECEIPT])

    def test_a_slow_broker_that_makes_progress_keeps_its_session(self) -> None:
        sink = self.started(publish_timeout_ms=2_000)
        self.broker.holding = True
        answer = sink.dispatch([record_of_signals(*range(1_000, 1_008))])
        for identifier in range(1, 9):
            self.advance(1.5)
            self.broker.connections[0].say(b"\x40\x02\0" + bytes([identifier]))
        self.assertEqual(self.successResultOf(answer), [RECEIPT])

    def test_a_slow_broker_that_confirms_one_record_after_the_other_keeps_its_session(self) -> None:
        """Regardless of how long the last record waits, for its acknowledgement or for room."""
        for connack, version in ((self.broker.connack, "3.1.1"), (b"\x20\x06\0\0\x03\x21\0\x03", "5")):
            self.broker.connack = connack
            sink = self.started(protocol_version=version, publish_timeout_ms=2_000)
            connection = self.broker.connections[-1]
            self.broker.holding = True
            answers = [sink.dispatch([record_of_signals(8)]) for _ in range(9)]
            for number, answer in enumerate(answers, 1):
                self.advance(1.5)
                self.assertNoResult(answer)
                connection.say(b"\x40\x02\0" + bytes([number]))
                self.assertEqual(self.successResultOf(answer), [RECEIPT])

    def test_a_record_whose_acknowledgement_is_lost_is_retryable_alone(self) -> None:
        sink = self.started(publish_timeout_ms=2_000)
        (connection,) = self.broker.connections
        self.broker.holding = True
        lost = sink.dispatch([record_of_signals(8, 9)])
        for identifier in range(3, 9):
            answer = sink.dispatch([record_of_signals(8)])
            self.advance(0.3)
            self.assertNoResult(lost)
            connection.say(b"\x40\x02\0" + bytes([identifier]))
            self.assertEqual(self.successResultOf(answer), [RECEIPT])
        unanswered = sink.dispatch([record_of_signals(8)])
        self.advance(0.3)
        (outcome,) = self.successResultOf(lost)
        self.assertEqual(type(outcome), Retryable)
        self.assertIn("no acknowledgement within 2 s, though for later records", str(outcome))
        self.assertEqual(self.metrics.value("mqtt_err", "V"), 1)
        self.assertEqual(sink.readiness(), Ready())
        self.advance(1.7)
        self.assertNoResult(unanswered)
        self.advance(0.5)
        self.assertIn("no acknowledgement within 2 s", str(self.successResultOf(unanswered)))
        self.assertEqual(self.broker.connections, [], "nothing is acknowledged any more: the session is cut")

    def test_a_late_acknowledgement_confirms_nothing(self) -> None:
        sink = self.started(publish_timeout_ms=2_000)
        (connection,) = self.broker.connections
        self.broker.holding = True
        sink.dispatch([record_of_signals(8)])
        sink.dispatch([record_of_signals(8)])
        self.advance(1)
        connection.say(b"\x40\x02\0\x02")
        self.advance(1.5)
        answer = sink.dispatch([record_of_signals(8)])
        connection.say(b"\x40\x02\0\x01")
        self.assertNoResult(answer)
        connection.say(b"\x40\x02\0\x03")
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.assertEqual(self.metrics.value("mqtt_publish_total", "V"), 2)

    def test_a_broker_with_more_lost_acknowledgements_than_its_receive_maximum_is_reconnected(self) -> None:
        self.broker.connack = b"\x20\x06\0\0\x03\x21\0\x03"
        sink = self.started(protocol_version="5", publish_timeout_ms=2_000)
        (connection,) = self.broker.connections
        self.broker.holding = True
        answers = [sink.dispatch([record_of_signals(8)]) for _ in range(6)]
        self.advance(0.1)
        for identifier in (3, 4, 5):
            connection.say(b"\x40\x02\0" + bytes([identifier]))
            self.advance(0.1)
        self.advance(5)
        self.assertEqual(
            [type(self.successResultOf(answer)[0]) for answer in answers],
            [Retryable, Retryable, type(RECEIPT), type(RECEIPT), type(RECEIPT), NotConnected],
        )
        self.assertEqual(len(self.broker.connects), 2)

    def test_a_connection_that_resumes_at_times_does_not_extend_the_timeout(self) -> None:
        sink = self.started(publish_timeout_ms=2_000)
        (connection,) = self.broker.connections
        self.broker.holding = True
        answer = sink.dispatch([record_of_signals(8)])
        for _ in range(3):
            connection.producer.pauseProducing()
            self.advance(0.8)
            connection.producer.resumeProducing()
        self.assertIsInstance(self.successResultOf(answer)[0], NotConnected)

    def test_an_idle_broker_must_answer_keep_alives(self) -> None:
        """paho's keep-alive, by paho's clock."""
        with mock.patch("paho.mqtt.client.time_func", self.reactor.seconds):
            sink = self.started(keep_alive_seconds=10)
            self.advance(60)
            self.assertEqual(sink.readiness(), Ready())
            self.broker.silent = True
            self.advance(10)
            self.assertEqual(sink.readiness(), Ready())
            self.advance(25)
            self.assertIsInstance(sink.readiness(), NotReady)

    def test_a_half_sent_record_ends_with_its_session(self) -> None:
        """The next session does not send the rest of a record."""
        self.broker.connack = b"\x20\x06\0\0\x03\x21\0\x03"
        sink = self.started(protocol_version="5")
        self.broker.holding = True
        answers = [sink.dispatch([record_of_signals(*range(1_000, 1_010))]), sink.dispatch([record_of_signals(8)])]
        self.advance(0.1)
        self.broker.go_away()
        self.broker.away = self.broker.holding = False
        for answer in answers:
            self.assertIsInstance(self.successResultOf(answer)[0], NotConnected)
        self.advance(5)
        self.assertEqual(sink.readiness(), Ready())
        self.assertEqual(len(self.broker.published), 3)
        self.assertEqual(self.dispatch(sink, *[record_of_signals(8, 9, 10)] * 3), [RECEIPT] * 3)

    def test_lost_records_are_not_sent_again_by_the_sink(self) -> None:
        """The retry is the lane's: the sink buffers no record beyond its outcome."""
        sink = self.started()
        self.broker.holding = True
        answer = sink.dispatch([record_of_signals(8)])
        self.advance(0.01)
        self.broker.go_away()
        self.assertIsInstance(self.successResultOf(answer)[0], NotConnected)
        self.broker.away = self.broker.holding = False
        self.advance(5)
        self.assertEqual(sink.readiness(), Ready())
        self.assertEqual(len(self.broker.published), 1)


class StopTests(MqttCase):
    def test_stopping_sends_disconnect(self) -> None:
        sink = self.started()
        said: list[int] = []
        answer = self.broker._answer
        with mock.patch.object(self.broker, "_answer", side_effect=lambda *given: said.append(given[1]) or answer(*given)):
            stopped = sink.stop()
            self.advance(0.1)
        self.successResultOf(stopped)
        self.assertEqual(said, [0xE0])
        self.assertEqual(self.broker.connections, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopping_waits_for_the_disconnect_timeout_at_most(self) -> None:
        sink = self.started(disconnect_timeout_ms=250)
        self.broker.holding = True
        answer = sink.dispatch([record_of_signals(8)])
        stopped = sink.stop()
        self.advance(0.2)
        self.assertNoResult(stopped)
        self.advance(0.2)
        self.assertIsInstance(self.successResultOf(answer)[0], Retryable)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopping_while_connecting_and_while_pausing(self) -> None:
        for away, silent in ((True, False), (False, True)):
            self.broker.away, self.broker.silent = away, silent
            sink = self.started()
            stopped = sink.stop()
            self.advance(0.5)
            self.successResultOf(stopped)
            self.assertEqual(self.reactor.getDelayedCalls(), [])


class SettingsTests(MqttCase):
    def test_times_of_zero_are_the_go_servers_defaults(self) -> None:
        times = ("connect_timeout_ms", "publish_timeout_ms", "disconnect_timeout_ms", "connect_retry_interval_ms")
        zeros = dict.fromkeys((*times, "keep_alive_seconds"), 0)
        for given in (zeros, {}):
            settings = read_settings("mqtt", SETTINGS | given)
            self.assertEqual((settings.connect_timeout_s, settings.publish_timeout_s), (30, 2.5))
            self.assertEqual((settings.disconnect_timeout_s, settings.connect_retry_interval_s), (0.25, 10))
            self.assertEqual(settings.keep_alive_s, 30)

    def test_schemes(self) -> None:
        plaintext = ("", "tcp://", "mqtt://")
        for scheme in (*plaintext, "ssl://", "tls://", "mqtts://"):
            settings = read_settings("mqtt", SETTINGS | {"broker": f"{scheme}h:1"})
            self.assertEqual((settings.host, settings.port, settings.tls is not None), ("h", 1, scheme not in plaintext))

    def test_a_broker_that_is_no_address_is_refused(self) -> None:
        for broker in (
            "",
            "host",
            "host:",
            ":",
            "host:port",
            "http://host:80",
            "://h:1",
            "h:0",
            "h:65536",
            "::1:1883",
            "[]:1",
        ):
            with self.subTest(broker=broker), self.assertRaisesRegex(ConfigurationError, "mqtt.broker"):
                self.make(broker=broker)

    def test_the_error_of_a_missing_library_names_the_extra_to_install(self) -> None:
        hidden = {name: None for name in sys.modules if name.split(".")[0] == "paho"}
        kept = {name for name in sys.modules if name.startswith("fleetgw.adapters.sinks.mqtt.")}
        with (
            mock.patch.dict(sys.modules, hidden),
            self.assertRaisesRegex(ConfigurationError, r"pip install 'fleetgw\[mqtt\]'"),
        ):
            for name in kept:
                del sys.modules[name]
            MQTT.make(SinkContext("mqtt", SETTINGS, "ns", ("V",), self.reactor, self.metrics, self.log))


def packet_size(message: Message, *, is_mqtt5: bool) -> int:
    return len(publish_writer(1, retained=False, properties=is_mqtt5)(message, 1))
