"""The parts that both Kafka sinks share: the choice of a client, the error tree, the cluster's state, the log of errors."""

import sys
from unittest import TestCase
from unittest.mock import patch

from fleetgw.adapters.sinks.kafka.cluster import Cluster
from fleetgw.adapters.sinks.kafka.confluent import ConfluentKafkaSink
from fleetgw.adapters.sinks.kafka.error_codes import delivery_error
from fleetgw.adapters.sinks.kafka.failures import KafkaFailures
from fleetgw.adapters.sinks.kafka.kafka_python import KafkaPythonSink
from fleetgw.adapters.sinks.kafka.metrics import KafkaMetrics, totals
from fleetgw.adapters.sinks.kafka.properties import read_properties
from fleetgw.adapters.sinks.kafka.type import kafka_sink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.destination import Destination
from fleetgw.domain.errors import ConfigurationError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, NotReady, Ready
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record

CONFLUENT = {"fleetgw.adapters.sinks.kafka.confluent": None}
KAFKA_PYTHON = {"fleetgw.adapters.sinks.kafka.kafka_python": None}


def context() -> SinkContext:
    settings = {"bootstrap.servers": "127.0.0.1:1"}
    return SinkContext("kafka", settings, "ns", ("V",), ThreadlessReactor(), ReadableMetrics(), ReadableLog())


class ChoiceTests(TestCase):
    def test_librdkafka_is_used_where_it_is_installed(self) -> None:
        self.assertIsInstance(kafka_sink(context()), ConfluentKafkaSink)
        with patch.dict(sys.modules, CONFLUENT):
            self.assertIsInstance(kafka_sink(context()), KafkaPythonSink)

    def test_the_configured_client_is_used(self) -> None:
        self.assertIsInstance(kafka_sink(context(), "confluent-kafka"), ConfluentKafkaSink)
        self.assertIsInstance(kafka_sink(context(), "kafka-python"), KafkaPythonSink)

    def test_a_missing_library_is_named_with_the_command_that_installs_it(self) -> None:
        cases = [
            (CONFLUENT | KAFKA_PYTHON, None, "confluent-kafka is not installed; pip install 'fleetgw\\[kafka\\]'"),
            (CONFLUENT, "confluent-kafka", "confluent-kafka is not installed; pip install 'fleetgw\\[kafka\\]'"),
            (KAFKA_PYTHON, "kafka-python", "kafka-python is not installed; pip install 'fleetgw\\[kafka-python\\]'"),
        ]
        for absent, client, text in cases:
            refused = self.assertRaisesRegex(ConfigurationError, text)
            with self.subTest(client=client), patch.dict(sys.modules, absent), refused:
                kafka_sink(context(), client)


class PropertiesTests(TestCase):
    def test_a_warning_says_that_acks_0_confirms_nothing(self) -> None:
        for settings in ({"acks": 0}, {"request.required.acks": "0"}):
            log = ReadableLog()
            read_properties("kafka", settings, log)
            self.assertEqual(len(log.fields_of("kafka_unconfirmed")), 1)
        log = ReadableLog()
        read_properties("kafka", {"acks": 1}, log)
        self.assertEqual(log.entries, [])

    def test_values_are_converted_to_librdkafkas_form(self) -> None:
        settings = {"a": True, "b": False, "c": 1.9, "d": 7, "e": "text"}
        expected = {"a": "true", "b": "false", "c": "1", "d": "7", "e": "text"}
        self.assertEqual(read_properties("kafka", settings, ReadableLog()), expected)


class ErrorTreeTests(TestCase):
    def test_codes_of_the_protocol(self) -> None:
        """Errors that an operator can correct are retryable; errors of the record itself are not."""
        cases = {
            3: Retryable,  # UNKNOWN_TOPIC_OR_PARTITION
            6: Retryable,  # NOT_LEADER_OR_FOLLOWER
            7: NotConnected,  # REQUEST_TIMED_OUT
            8: NotConnected,  # BROKER_NOT_AVAILABLE
            10: Rejected,  # MESSAGE_TOO_LARGE
            17: Rejected,  # INVALID_TOPIC_EXCEPTION
            18: Rejected,  # RECORD_LIST_TOO_LARGE
            19: Retryable,  # NOT_ENOUGH_REPLICAS
            29: Retryable,  # TOPIC_AUTHORIZATION_FAILED
            32: Rejected,  # INVALID_TIMESTAMP
            87: Rejected,  # INVALID_RECORD
        }
        self.assertEqual({code: type(delivery_error(code, "why")) for code in cases}, cases)


class TotalsTests(TestCase):
    def test_records_are_added_up_by_type(self) -> None:
        batch = [make_record(record_type=kind, payload=bytes(size)) for kind, size in (("V", 1), ("alerts", 20), ("V", 300))]
        self.assertEqual(totals(batch), (("V", 2, 301), ("alerts", 1, 20)))
        self.assertEqual(totals([]), ())


class ClusterTests(TestCase):
    def setUp(self) -> None:
        self.destination = Destination(context())
        self.cluster = Cluster(self.destination, "broker:1", {"V": "ns_V", "alerts": "ns_alerts"})
        self.alert, self.other = make_record(record_type="alerts"), make_record()
        self.cluster.connected()

    def test_a_missing_topic_is_named_until_a_record_is_confirmed_in_it(self) -> None:
        self.cluster.topic_missing("alerts", "unknown topic")
        expected = NotReady("topic ns_alerts: unknown topic")
        self.assertEqual(self.destination.readiness, expected)
        self.cluster.settled([self.other, self.alert], [RECEIPT, Retryable("unknown topic")])
        self.assertEqual(self.destination.readiness, expected)
        self.cluster.settled([self.alert], [RECEIPT])
        self.assertEqual(self.destination.readiness, Ready())

    def test_unreachable_brokers_come_before_a_missing_topic(self) -> None:
        self.cluster.topic_missing("alerts", "unknown topic")
        self.cluster.unreachable("all brokers are down")
        self.assertEqual(self.destination.readiness, NotReady("broker:1: all brokers are down"))

    def test_brokers_that_do_not_confirm_are_ready_after_a_receipt_or_a_new_connection(self) -> None:
        for end in (self.cluster.confirmed, self.cluster.disconnected, self.cluster.client_changed):
            self.cluster.unusable("timed out")
            self.cluster.connected()
            self.assertEqual(self.destination.readiness, NotReady("broker:1: timed out"))
            end()
            self.cluster.connected()
            self.assertEqual(self.destination.readiness, Ready())


class FailuresTests(TestCase):
    def test_a_kind_is_logged_once_in_ten_seconds_and_always_counted(self) -> None:
        clock, log, metrics = ThreadlessReactor(), ReadableLog(), ReadableMetrics()
        sink_context = SinkContext("kafka", {}, "ns", ("V",), clock, metrics, log)
        failures = KafkaFailures(sink_context, KafkaMetrics(metrics, ("V",)))
        for _ in range(5):
            failures.add("_TRANSPORT", "connection refused")
        failures.add("_MSG_TIMED_OUT", "timed out")
        self.assertEqual(
            [(fields["kind"], fields["more_unwritten"]) for fields in log.fields_of("kafka_err")],
            [("_TRANSPORT", 0), ("_MSG_TIMED_OUT", 0)],
        )
        clock.advance(10)
        failures.add("_TRANSPORT", "connection refused")
        last = log.fields_of("kafka_err")[-1]
        self.assertEqual((last["kind"], last["more_unwritten"]), ("_TRANSPORT", 4))
        self.assertEqual(metrics.value("kafka_err"), 7)
