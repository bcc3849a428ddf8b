"""librdkafka's properties as kafka-python's arguments, and its partitioners."""

import tempfile
from pathlib import Path
from unittest import TestCase
from zlib import crc32

from confluent_kafka import Producer

from fleetgw.adapters.sinks.kafka.arguments import ProducerPlan, producer_plan
from fleetgw.adapters.sinks.kafka.partitioners import HASHES, HashPartitioner
from fleetgw.adapters.sinks.kafka.properties import read_properties
from fleetgw.domain.errors import ConfigurationError
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.kafka.consumer import consume
from tests.support.kafka.mock_cluster import MockCluster

PARTITIONS = 7


def plan(log: ReadableLog | None = None, **settings: object) -> ProducerPlan:
    log = log or ReadableLog()
    named = {name.replace("_", "."): value for name, value in settings.items()}
    return producer_plan("kafka", read_properties("kafka", named, log), log)


class ArgumentsTests(TestCase):
    def test_names_and_values_are_translated(self) -> None:
        with tempfile.NamedTemporaryFile() as ca:
            made = plan(
                bootstrap_servers="a:9092, SSL://b:9093",
                client_id="gateway",
                acks="all",
                compression_type="gzip",
                linger_ms="20",
                message_max_bytes=2_000_000,
                message_timeout_ms=40_000,
                request_timeout_ms=10_000,
                security_protocol="sasl_ssl",
                ssl_ca_location=ca.name,
                ssl_endpoint_identification_algorithm="none",
                sasl_mechanisms="scram-sha-256",
                sasl_username="me",
                sasl_password="secret",
                retries=3,
                retry_backoff_ms=250,
                max_in_flight=2,
                queue_buffering_max_messages=500,
                queue_buffering_max_kbytes=64,
            )
            expected = {
                "bootstrap_servers": ["a:9092", "b:9093"],
                "client_id": "gateway",
                "acks": -1,
                "compression_type": "gzip",
                "linger_ms": 20,
                "max_request_size": 2_000_000,
                "delivery_timeout_ms": 40_000,
                "request_timeout_ms": 10_000,
                "security_protocol": "SASL_SSL",
                "ssl_cafile": ca.name,
                "ssl_check_hostname": False,
                "sasl_mechanism": "SCRAM-SHA-256",
                "sasl_plain_username": "me",
                "sasl_plain_password": "secret",
                "retries": 3,
                "retry_backoff_ms": 250,
                "max_in_flight_requests_per_connection": 2,
            }
        self.assertEqual({name: made.arguments[name] for name in expected}, expected)
        self.assertEqual((made.max_records, made.max_bytes), (500, 65_536))

    def test_defaults_are_librdkafkas_and_keep_order(self) -> None:
        arguments = plan(bootstrap_servers="a:1").arguments
        self.assertEqual(arguments["linger_ms"], 1)
        self.assertEqual(arguments["delivery_timeout_ms"], 300_000)
        self.assertEqual(arguments["max_in_flight_requests_per_connection"], 1)
        self.assertIs(arguments["enable_idempotence"], False)
        self.assertIs(arguments["partitioner"].hash_of, HASHES["consistent_random"])

    def test_idempotence_stays_off_with_a_warning(self) -> None:
        log = ReadableLog()
        arguments = plan(log, enable_idempotence=True).arguments
        self.assertIs(arguments["enable_idempotence"], False)
        self.assertEqual(log.fields_of("kafka_property_ignored")[0]["property"], "kafka.enable.idempotence")

    def test_a_property_without_counterpart_is_named_in_a_warning(self) -> None:
        log = ReadableLog()
        plan(log, batch_num_messages=10, statistics_interval_ms=5, debug="all", no_such=1)
        named = [fields["property"] for fields in log.fields_of("kafka_property_ignored")]
        self.assertEqual(named, ["kafka.batch.num.messages", "kafka.statistics.interval.ms", "kafka.debug", "kafka.no.such"])

    def test_values_that_cannot_be_used_are_named_at_once(self) -> None:
        with self.assertRaises(ConfigurationError) as caught:
            plan(
                acks="maybe",
                linger_ms="soon",
                security_protocol="tls",
                compression_type="rar",
                partitioner="astrology",
                ssl_ca_location="/nonexistent/ca.pem",
                enable_idempotence="perhaps",
            )
        paths = {problem.path for problem in caught.exception.problems}
        self.assertEqual(
            paths,
            {
                "kafka.acks",
                "kafka.linger.ms",
                "kafka.security.protocol",
                "kafka.compression.type",
                "kafka.partitioner",
                "kafka.ssl.ca.location",
                "kafka.enable.idempotence",
            },
        )

    def test_the_request_timeout_fits_into_the_delivery_timeout(self) -> None:
        arguments = plan(message_timeout_ms=1000, linger_ms=50).arguments
        self.assertEqual(arguments["request_timeout_ms"], 950)

    def test_a_fallback_version_is_used_only_when_brokers_are_not_asked(self) -> None:
        self.assertNotIn("api_version", plan(broker_version_fallback="0.10.0").arguments)
        asked = plan(broker_version_fallback="2.3", api_version_request=False)
        self.assertEqual(asked.arguments["api_version"], (2, 3))


class Topic:
    """Metadata of a topic, as kafka-python passes it to a partitioner."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(PARTITIONS))


class PartitionerTests(TestCase):
    def test_keys_go_to_the_partitions_that_librdkafka_chooses(self) -> None:
        keys = [b"5YJ3E1EA7KF%06d" % number for number in range(60)]
        cluster = MockCluster()
        self.addCleanup(cluster.close)
        for name in HASHES.keys() - {"random"}:
            topic = f"by_{name}"
            cluster.create_topic(topic, PARTITIONS)
            producer = Producer({"bootstrap.servers": cluster.servers, "partitioner": name})
            for key in keys:
                producer.produce(topic, b"", key)
            producer.flush(10)
            theirs = {record.key: record.partition for record in consume(cluster.servers, [topic], len(keys))}
            partitioner = HashPartitioner(HASHES[name])
            ours = {key: partitioner.partition(topic, key, key, b"", b"", Topic()) for key in keys}
            with self.subTest(partitioner=name):
                self.assertEqual(ours, theirs)

    def test_an_empty_key_goes_anywhere_by_default(self) -> None:
        chosen = {HASHES["consistent_random"](b"") % PARTITIONS for _ in range(500)}
        self.assertEqual(chosen, set(range(PARTITIONS)))
        self.assertEqual(HASHES["consistent"](b""), crc32(b""))


class ReadablePathTests(TestCase):
    def test_the_error_names_the_reason_why_a_file_cannot_be_read(self) -> None:
        with self.assertRaisesRegex(ConfigurationError, "cannot read .*: Is a directory"):
            plan(ssl_ca_location=str(Path(__file__).parent))
