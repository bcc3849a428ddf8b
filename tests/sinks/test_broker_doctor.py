"""Findings of the doctor about real brokers: without a fault, and with each possible one."""

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from unittest import TestCase
from unittest.mock import Mock, patch

import grpc
from botocore.exceptions import ClientError
from confluent_kafka.admin import AdminClient, NewTopic

from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.sinks.kafka import probe as kafka
from fleetgw.adapters.sinks.kinesis import probe as kinesis
from fleetgw.adapters.sinks.kinesis.client import BotoClient
from fleetgw.adapters.sinks.kinesis.settings import read_settings
from fleetgw.adapters.sinks.mqtt import probe as mqtt
from fleetgw.adapters.sinks.pubsub import probe as pubsub
from fleetgw.adapters.sinks.redis import probe as redis
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import Finding, Verdict
from fleetgw.simulator.certificates import make_authority, make_server
from fleetgw.testing.sink_doubles import ReadableMetrics, ThreadlessReactor
from tests.support.free_ports import free_port
from tests.support.kafka import broker as kafka_broker
from tests.support.kinesis import moto
from tests.support.mqtt import mosquitto
from tests.support.mqtt.mosquitto import Mosquitto
from tests.support.needed import needed
from tests.support.pubsub.stand_in import StandIn
from tests.support.redis import servers
from tests.support.redis.servers import RedisServer, SentinelledServers, ServerCluster

JARS = Path(__file__).resolve().parents[2] / ".brokers" / "kafka"
LOST = "no-such-host.invalid"
SECRET = "correct horse battery staple"

Look = Callable[[SinkContext], Iterator[Finding]]


class ProbeTestCase(TestCase):
    look: Look

    def found(self, settings: Mapping[str, object]) -> list[Finding]:
        context = SinkContext("sink", settings, "fleet", ("V", "alerts"), ThreadlessReactor(), ReadableMetrics(), NullLog())
        found = list(type(self).look(context))
        self.assertNotIn(SECRET, repr(found))
        return found

    def assert_good(self, settings: Mapping[str, object], *said: str) -> None:
        self.assert_says(Verdict.GOOD, settings, *said)

    def assert_problem(self, settings: Mapping[str, object], *said: str) -> None:
        """The most severe finding has the whole text and the remedy."""
        self.assert_says(Verdict.WILL_NOT_WORK, settings, *said)

    def assert_says(self, worst: Verdict, settings: Mapping[str, object], *said: str) -> None:
        found = self.found(settings)
        text = "\n".join(f"{finding.verdict.value}: {finding.what} -> {finding.fix}" for finding in found)
        order = list(Verdict)
        self.assertEqual(max((finding.verdict for finding in found), key=order.index), worst, text)
        relevant = [finding for finding in found if finding.verdict is worst]
        self.assertTrue(worst is Verdict.GOOD or all(finding.fix for finding in relevant), text)
        for each in said:
            self.assertTrue(any(each in f"{finding.what} -> {finding.fix}" for finding in relevant), f"{each!r} in:\n{text}")


class RedisTests(ProbeTestCase):
    look = staticmethod(redis.look)

    @classmethod
    def setUpClass(cls) -> None:
        needed(servers.missing())
        cls.server = RedisServer("--requirepass", SECRET)
        cls.addClassCleanup(cls.server.stop)

    def settings(self, **other: object) -> dict[str, object]:
        return {"addrs": [self.server.address], "password": SECRET, "subscriber_set_prefix": "subs"} | other

    def subscribe(self) -> None:
        with self.server.client(password=SECRET) as client:
            for kind in ("V", "alerts"):
                client.zadd(f"subs_fleet_{kind}_{{5YJ3E1EA7KF000001}}", {"consumer": 1})
        self.addCleanup(self.unsubscribe)

    def unsubscribe(self) -> None:
        with self.server.client(password=SECRET) as client:
            client.flushall()

    def test_as_it_should_be(self) -> None:
        self.subscribe()
        said = ("takes connections", "as the default user, with a password", "Redis ", "V: 1 vehicles have a set")
        self.assert_good(self.settings(), *said)

    def test_no_subscriber(self) -> None:
        self.assert_says(Verdict.WORTH_A_LOOK, self.settings(publish_vin_topics=True), "no vehicles", "start the consumer")

    def test_wrong_credentials(self) -> None:
        self.assert_problem(
            self.settings(password="guess"), "invalid username-password pair", "correct username and password"
        )
        self.assert_problem(self.settings(password=None), "Authentication required", "give the username and password")

    def test_a_password_that_the_server_does_not_ask_for(self) -> None:
        server = RedisServer()
        self.addCleanup(server.stop)
        self.assert_problem(self.settings(addrs=[server.address]), "the server asks for no password")

    def test_user_who_may_publish_only(self) -> None:
        with self.server.client(password=SECRET) as client:
            client.acl_setuser("narrow", enabled=True, passwords=[f"+{SECRET}"], commands=["+publish", "+zrangebyscore"])
        self.assert_says(Verdict.WORTH_A_LOOK, self.settings(username="narrow"), "does not tell")

    def test_down(self) -> None:
        settings = self.settings(addrs=[f"127.0.0.1:{free_port()}"])
        self.assert_problem(settings, "refuses connections", "start the server")

    def test_unknown_name(self) -> None:
        self.assert_problem(self.settings(addrs=[f"{LOST}:6379"]), f"{LOST} cannot be resolved", "DNS")

    def test_one_of_several_is_down(self) -> None:
        self.subscribe()
        settings = self.settings(addrs=[f"127.0.0.1:{free_port()}", self.server.address])
        self.assert_says(Verdict.WORTH_A_LOOK, settings, "refuses connections")

    def test_another_protocol(self) -> None:
        needed(mosquitto.missing())
        broker = Mosquitto()
        self.addCleanup(broker.stop)
        self.assert_problem(self.settings(addrs=[broker.address]), "name the address of a Redis server")

    def test_tls_that_is_not_there(self) -> None:
        self.assert_problem(self.settings(tls={}), "no TLS there", "turn TLS off")

    def test_hung(self) -> None:
        self.server.pause()
        self.addCleanup(self.server.resume)
        self.assert_problem(self.settings(), "name the address of a Redis server")

    def test_cluster(self) -> None:
        cluster = ServerCluster()
        self.addCleanup(cluster.stop)
        addresses = [node.address for node in cluster.nodes]
        found = self.found({"addrs": addresses, "cluster_mode": True, "publish_vin_topics": True})
        self.assertIn("cluster of 3 masters, state ok", [finding.what for finding in found])
        several = {"addrs": addresses, "subscriber_set_prefix": "subs", "db": 0}
        self.assert_says(Verdict.WORTH_A_LOOK, several, "set redis.cluster_mode to true")
        self.assertIn("cluster of 3 masters, state ok", [finding.what for finding in self.found(several)])
        plain = {"addrs": addresses[:1]}
        self.assert_problem({**plain, "subscriber_set_prefix": "subs"}, "are MOVED", "set redis.cluster_mode to true")
        self.assert_says(Verdict.WORTH_A_LOOK, {**plain, "publish_vin_topics": True}, "set redis.cluster_mode to true")

    def test_cluster_that_is_a_single_server(self) -> None:
        self.assert_problem(self.settings(cluster_mode=True), "no cluster", "set redis.cluster_mode to false")

    def test_sentinel(self) -> None:
        sentinelled = SentinelledServers()
        self.addCleanup(sentinelled.stop)
        settings = {"addrs": [sentinelled.sentinel.address], "publish_vin_topics": True}
        found = self.found({**settings, "sentinel": {"master_name": "fleet"}})
        self.assertIn(
            f"the sentinels name {sentinelled.master.address} as master of fleet", [finding.what for finding in found]
        )
        self.assert_problem({**settings, "sentinel": {"master_name": "other"}}, "knows no master other")


class MqttTests(ProbeTestCase):
    look = staticmethod(mqtt.look)

    @classmethod
    def setUpClass(cls) -> None:
        needed(mosquitto.missing())
        cls.broker = Mosquitto()
        cls.addClassCleanup(cls.broker.stop)

    def settings(self, **other: object) -> dict[str, object]:
        return {"broker": self.broker.address, "topic_base": "telemetry", "qos": 1} | other

    def test_as_it_should_be(self) -> None:
        for version, name in (("3.1.1", "MQTT 3.1.1"), ("5", "MQTT 5")):
            with self.subTest(version):
                said = ("without a user name", f"{name}, broker: mosquitto version", "publishes to telemetry/... with QoS 1")
                self.assert_good(self.settings(protocol_version=version), *said)

    def test_wrong_credentials(self) -> None:
        strict = Mosquitto("allow_anonymous false")
        self.addCleanup(strict.stop)
        settings = self.settings(broker=strict.address, username="fleet", password=SECRET)
        for version in ("3.1.1", "5"):
            with self.subTest(version):
                said = ("as fleet, with a password", "correct username and password")
                self.assert_problem({**settings, "protocol_version": version}, *said)

    def test_features_that_the_broker_does_not_offer(self) -> None:
        poor = Mosquitto("allow_anonymous true\nretain_available false\nmax_qos 1")
        self.addCleanup(poor.stop)
        settings = self.settings(broker=poor.address, protocol_version="5", qos=2, retained=True)
        self.assert_problem(settings, "set qos to 1", "set retained to false")

    def test_down(self) -> None:
        self.assert_problem(self.settings(broker=f"127.0.0.1:{free_port()}"), "refuses connections", "start the server")

    def test_unknown_name(self) -> None:
        self.assert_problem(self.settings(broker=f"{LOST}:1883"), f"{LOST} cannot be resolved", "DNS")

    def test_another_protocol(self) -> None:
        needed(servers.missing())
        server = RedisServer()
        self.addCleanup(server.stop)
        self.assert_problem(self.settings(broker=server.address), "looks like Redis", "name the address of an MQTT broker")

    def test_hung(self) -> None:
        self.broker.pause()
        self.addCleanup(self.broker.resume)
        self.assert_problem(self.settings(), "no answer in MQTT: nothing within")

    def test_tls(self) -> None:
        now = datetime.now(UTC)
        authority = make_authority(now, 40, "Fleet CA")
        server = make_server(authority, ["127.0.0.1"], now, 20)
        files = {
            "server.crt": server.certificate_pem(),
            "server.key": server.key_pem(),
            "ca.crt": authority.certificate_pem(),
        }
        more = "allow_anonymous true\ncertfile {folder}/server.crt\nkeyfile {folder}/server.key"
        broker = Mosquitto(more, files)
        self.addCleanup(broker.stop)
        secure = self.settings(broker=f"mqtts://{broker.address}")
        ours = {**secure, "tls": {"ca_file": str(broker.folder / "ca.crt")}}
        self.assert_says(Verdict.WORTH_A_LOOK, ours, "certificate: for 127.0.0.1, issued by Fleet CA", "renew it soon")
        self.assert_problem(secure, "its certificate is not accepted", "from Fleet CA", "name the authority")
        self.assert_problem(self.settings(broker=broker.address), "mqtts://host:port")
        plain = self.settings(broker=f"mqtts://{self.broker.address}")
        self.assert_problem(plain, "no TLS there")


class KafkaTests(ProbeTestCase):
    look = staticmethod(kafka.look)

    @classmethod
    def setUpClass(cls) -> None:
        needed(kafka_broker.missing(JARS))
        cls.broker = kafka_broker.KafkaBroker(JARS, 1_000_000)
        cls.addClassCleanup(cls.broker.stop)
        admin = AdminClient({"bootstrap.servers": cls.broker.servers, "log_level": 0})
        for made in admin.create_topics([NewTopic("fleet_V", 4, 1)]).values():
            made.result(20)

    def test_topics(self) -> None:
        """One is there, one is not, and the broker would make it."""
        said = ("topic fleet_alerts is not there yet", "kafka-topics.sh --bootstrap-server 127.0.0.1:")
        self.assert_says(Verdict.WORTH_A_LOOK, {"bootstrap.servers": self.broker.servers}, *said)
        found = [finding.what for finding in self.found({"bootstrap.servers": self.broker.servers})]
        self.assertIn("topic fleet_V: 4 partitions", found)
        self.assertIn("plaintext, without SASL credentials", found)
        self.assertTrue(any(what.startswith("cluster fleetgw-tests-") for what in found), found)
        self.assertFalse(any("fleet_alerts: " in what for what in found), "it was made by looking for it")

    def test_down(self) -> None:
        settings = {"bootstrap.servers": f"127.0.0.1:{free_port()}"}
        self.assert_problem(settings, "refuses connections", "start the server")

    def test_unknown_name(self) -> None:
        self.assert_problem({"bootstrap.servers": f"{LOST}:9092"}, f"{LOST} cannot be resolved", "DNS")

    def sasl(self, servers: str, password: str) -> dict[str, object]:
        login = {"sasl.mechanism": "PLAIN", "sasl.username": kafka_broker.SASL_USER, "sasl.password": password}
        return {"bootstrap.servers": servers, "security.protocol": "sasl_plaintext", **login}

    def test_credentials(self) -> None:
        found = self.found(self.sasl(self.broker.sasl_servers, kafka_broker.SASL_PASSWORD))
        self.assertIn("sasl_plaintext, PLAIN as fleet", [finding.what for finding in found])
        self.assertNotIn(Verdict.WILL_NOT_WORK, [finding.verdict for finding in found])

    def test_wrong_credentials(self) -> None:
        wrong = self.sasl(self.broker.sasl_servers, SECRET)
        self.assert_problem(wrong, "refused:", "(sasl_plaintext, PLAIN as fleet)", "correct sasl.username and sasl.password")

    def test_credentials_that_the_server_does_not_ask_for(self) -> None:
        self.assert_problem(self.sasl(self.broker.servers, SECRET), "(sasl_plaintext, PLAIN as fleet)")

    def test_credentials_that_are_not_given(self) -> None:
        self.assert_problem({"bootstrap.servers": self.broker.sasl_servers}, "and its security.protocol")

    def test_another_protocol(self) -> None:
        needed(servers.missing())
        server = RedisServer()
        self.addCleanup(server.stop)
        said = ("does not answer as Kafka", "looks like Redis", "name the port of a Kafka broker")
        self.assert_problem({"bootstrap.servers": server.address}, *said)

    def test_tls_that_is_not_there(self) -> None:
        settings = {"bootstrap.servers": self.broker.servers, "security.protocol": "ssl"}
        self.assert_problem(settings, "no TLS there", "turn TLS off")

    def test_property_that_does_not_exist(self) -> None:
        settings = {"bootstrap.servers": self.broker.servers, "no.such.property": "1"}
        self.assert_problem(settings, 'No such configuration property: "no.such.property"', "CONFIGURATION.md")


class CloudTestCase(ProbeTestCase):
    """Nothing of this machine's own credentials plays a part."""

    def environment(self, **own: str) -> None:
        theirs = ("AWS_", "GOOGLE_", "PUBSUB_", "KINESIS_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
        self.enterContext(patch.dict(os.environ, {**kept, **own}, clear=True))


class KinesisTests(CloudTestCase):
    look = staticmethod(kinesis.look)

    @classmethod
    def setUpClass(cls) -> None:
        needed(moto.missing())
        cls.moto = moto.Moto()
        cls.addClassCleanup(cls.moto.stop)
        cls.moto.client().create_stream(StreamName="fleet_V", ShardCount=2)

    def setUp(self) -> None:
        self.files = {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        keys = {"AWS_ACCESS_KEY_ID": "AKIAFLEET1234", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": moto.REGION}
        self.environment(**self.files, **keys)

    def settings(self, **other: object) -> dict[str, object]:
        return {"override_host": f"http://{self.moto.address}"} | other

    def test_as_it_should_be(self) -> None:
        streams = {"V": "fleet_V", "alerts": "fleet_V"}
        said = (f"region {moto.REGION}, access key ...1234 (from env)", "stream fleet_V: ACTIVE, 2 shards")
        self.assert_good(self.settings(streams=streams), *said)

    def test_the_sink_uses_the_given_region(self) -> None:
        context = SinkContext("kinesis", {}, "fleet", ("V",), ThreadlessReactor(), ReadableMetrics(), NullLog())
        client = BotoClient(read_settings(context, {"AWS_REGION": "ap-south-1"}))
        self.addCleanup(client.close)
        self.assertIn("ap-south-1", client._where)

    def test_missing_stream(self) -> None:
        self.assert_problem(self.settings(), "stream fleet_alerts does not exist", "aws kinesis create-stream")

    def test_no_credentials_and_no_region(self) -> None:
        self.environment(**self.files, AWS_DEFAULT_REGION="eu-west-1")
        self.assert_problem(self.settings(), "no AWS credentials", "AWS_ACCESS_KEY_ID")
        self.environment(**self.files)
        self.assert_problem(self.settings(), "no AWS region", "AWS_REGION")

    def test_down(self) -> None:
        settings = self.settings(override_host=f"http://127.0.0.1:{free_port()}")
        self.assert_problem(settings, "refuses connections", "start the server")

    def test_unknown_name(self) -> None:
        self.assert_problem(self.settings(override_host=f"http://{LOST}:4566"), f"{LOST} cannot be resolved", "DNS")

    def test_another_protocol(self) -> None:
        needed(servers.missing())
        server = RedisServer()
        self.addCleanup(server.stop)
        said = ("does not answer as Kinesis", "looks like Redis", "override_host")
        self.assert_problem(self.settings(override_host=f"http://{server.address}"), *said)

    def test_refusals_of_amazon(self) -> None:
        """Refusals that moto does not make."""
        for code, verdict, said in (
            ("AccessDeniedException", Verdict.WORTH_A_LOOK, "grant kinesis:DescribeStreamSummary"),
            ("UnrecognizedClientException", Verdict.WILL_NOT_WORK, "correct the credentials"),
            ("InvalidSignatureException", Verdict.WILL_NOT_WORK, "the clock"),
            ("LimitExceededException", Verdict.WILL_NOT_WORK, "stream fleet_V: An error occurred"),
        ):
            client = Mock()
            client.describe_stream_summary.side_effect = ClientError({"Error": {"Code": code}}, "DescribeStreamSummary")
            finding = kinesis.stream_finding(client, "fleet_V")
            with self.subTest(code):
                self.assertEqual(finding.verdict, verdict)
                self.assertIn(said, f"{finding.what} {finding.fix}")


class PubsubTests(CloudTestCase):
    look = staticmethod(pubsub.look)
    settings: Mapping[str, object] = {"gcp_project_id": "a-project"}

    def setUp(self) -> None:
        self.server = StandIn()
        self.addCleanup(self.server.go_away)
        self.environment(PUBSUB_EMULATOR_HOST=self.server.address)

    def test_as_it_should_be(self) -> None:
        for kind in ("V", "alerts"):
            self.server.topics[f"projects/a-project/topics/fleet_{kind}"] = []
        said = ("the emulator of PUBSUB_EMULATOR_HOST", "topic projects/a-project/topics/fleet_V")
        self.assert_good(self.settings, *said)

    def test_missing_topics_are_left_to_the_sink(self) -> None:
        self.assert_says(
            Verdict.WORTH_A_LOOK, self.settings, "fleet_V is not there yet", "gcloud pubsub topics create fleet_alerts"
        )
        self.assertEqual(self.server.topics, {})

    def test_refusals(self) -> None:
        self.server.look_refusal = grpc.StatusCode.PERMISSION_DENIED
        self.assert_says(Verdict.WORTH_A_LOOK, self.settings, "we may not look at it", "roles/pubsub.publisher")
        self.server.look_refusal = grpc.StatusCode.UNAUTHENTICATED
        self.assert_problem(self.settings, "credentials refused", "correct the credentials")

    def test_no_credentials(self) -> None:
        self.environment(GOOGLE_APPLICATION_CREDENTIALS="/no/such/file.json")
        said = ("no Google credentials", "GOOGLE_APPLICATION_CREDENTIALS")
        self.assert_problem({**self.settings, "endpoint": self.server.address}, *said)

    def test_down(self) -> None:
        self.environment(PUBSUB_EMULATOR_HOST=f"127.0.0.1:{free_port()}")
        self.assert_problem(self.settings, "refuses connections", "start the server")

    def test_another_protocol(self) -> None:
        needed(servers.missing())
        server = RedisServer()
        self.addCleanup(server.stop)
        self.environment(PUBSUB_EMULATOR_HOST=server.address)
        self.assert_problem(self.settings, "no answer of Pub/Sub", "looks like Redis", "PUBSUB_EMULATOR_HOST")
