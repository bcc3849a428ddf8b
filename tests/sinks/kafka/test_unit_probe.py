"""The doctor's findings on Kafka's topics."""

import socket
from types import SimpleNamespace
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.support.doctor_case import BAD, GOOD, LOOK, verdicts


class KafkaTopicsTests(SynchronousTestCase):
    def test_without_confluent_kafka(self) -> None:
        """With kafka-python, the probe names the checks that it leaves out."""
        from fleetgw.adapters.sinks.kafka import probe

        with (
            socket.create_server(("127.0.0.1", 0)) as broker,
            patch.dict("sys.modules", {"confluent_kafka": None, "confluent_kafka.admin": None}),
        ):
            settings = {"bootstrap.servers": f"127.0.0.1:{broker.getsockname()[1]}"}
            findings = list(probe.look(SimpleNamespace(name="kafka", settings=settings, log=None)))
        self.assertEqual(verdicts(findings), [GOOD, LOOK])
        self.assertIn("pip install 'fleetgw[kafka]'", findings[1].fix)

    def test_missing_topic(self) -> None:
        """Whether it is a problem depends on whether the broker makes topics."""
        from fleetgw.adapters.sinks.kafka import probe

        partitions = {0: SimpleNamespace(leader=1), 1: SimpleNamespace(leader=-1)}
        topics = {
            "fleet_V": SimpleNamespace(error=None, partitions=partitions),
            "fleet_errors": SimpleNamespace(error="Topic authorization failed", partitions={}),
        }
        metadata = SimpleNamespace(topics=topics, brokers={1: SimpleNamespace(host="kafka", port=9092)})
        context = SimpleNamespace(record_types=("V", "alerts", "errors"), destination=lambda kind: f"fleet_{kind}")
        for creates, verdict in ((True, LOOK), (False, BAD), (None, BAD)):
            leaderless, missing, refused = probe._topics(context, metadata, creates=creates)
            self.assertEqual((leaderless.verdict, missing.verdict, refused.verdict), (BAD, verdict, BAD))
            self.assertIn("1 of them without a leader", leaderless.what)
            self.assertIn("--bootstrap-server kafka:9092 --create --topic fleet_alerts", missing.fix)
            self.assertIn("Topic authorization failed", refused.what)
