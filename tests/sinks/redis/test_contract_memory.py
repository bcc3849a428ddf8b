"""The Redis sink keeps the contract over a server in memory."""

from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.redis.sink import RedisSink
from fleetgw.testing.dispatcher_contract import DispatcherContract
from tests.support.redis.harness import MemoryRedisHarness
from tests.support.redis.wire_contract import RedisWireContract


class OverMemory(MemoryRedisHarness):
    sink_class = RedisSink


class VinTopicsContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> OverMemory:
        return OverMemory(sets=False)


class SetsContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> OverMemory:
        return OverMemory(sets=True)


class ClusterContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> OverMemory:
        return OverMemory(sets=True, cluster=True)


class WireTests(RedisWireContract, TestCase):
    vectors = Path(__file__).parents[2] / "vectors" / "dispatch.json"

    def make_wire_harness(self) -> OverMemory:
        return OverMemory(sets=False)

    def enter_members(self, harness: OverMemory, key: bytes, expires_in_s: Mapping[bytes, float]) -> None:
        now = harness.reactor.seconds()
        harness.server.sets[key] = {member: now + lease_s for member, lease_s in expires_in_s.items()}

    def published(self, harness: OverMemory, at_least: int) -> list[tuple[bytes, bytes]]:
        return harness.server.published

    def members(self, harness: OverMemory, key: bytes) -> set[bytes]:
        return {*harness.server.sets.get(key, {})}
