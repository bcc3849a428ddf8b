"""Both Kafka sinks keep the contract over librdkafka's mock cluster."""

import gc
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import TestCase

from fleetgw.testing.dispatcher_contract import DispatcherContract
from tests.support.kafka.harness import KafkaHarness
from tests.support.kafka.mock_cluster import MockCluster
from tests.support.kafka.wire_contract import KafkaWireContract

VECTORS = Path(__file__).parents[2] / "vectors" / "dispatch.json"


class MockClusterHarness(KafkaHarness):
    @property
    def servers(self) -> str:
        return self.cluster.servers

    async def set_up(self) -> None:
        self.cluster = MockCluster()

    async def tear_down(self) -> None:
        self.cluster.close()
        if self.client == "kafka-python":
            gc.collect()  # here, where its warnings are expected

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        settings = super().settings(timeout_s=timeout_s, bounded=bounded)
        if self.client == "confluent-kafka":
            return settings
        return {
            **settings,
            "api.version.request": False,
            "broker.version.fallback": "2.3",
            "socket.connection.setup.timeout.ms": 1000,
        }

    async def hold(self) -> None:
        self.cluster.set_down()

    async def release(self) -> None:
        self.cluster.set_up()

    async def go_away(self) -> None:
        self.cluster.set_down()

    async def come_back(self) -> None:
        self.cluster.set_up()


class ConfluentKafkaContractTests(DispatcherContract, KafkaWireContract, TestCase):
    vectors = VECTORS

    def make_harness(self) -> MockClusterHarness:
        return MockClusterHarness("confluent-kafka")


class KafkaPythonContractTests(DispatcherContract, KafkaWireContract, TestCase):
    vectors = VECTORS
    # kafka-python leaves the socket of a connection that was refused to the garbage collector
    suppress = (((), {"action": "ignore", "category": ResourceWarning, "message": "unclosed <socket"}),)

    def make_harness(self) -> MockClusterHarness:
        return MockClusterHarness("kafka-python")
