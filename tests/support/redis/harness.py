"""The Redis sink and a server, for the contract's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.redis.sink import RedisSink
from fleetgw.adapters.sinks.redis.type import REDIS
from fleetgw.testing.contract_case import VINS
from fleetgw.testing.dispatcher_harness import DispatcherHarness, InMemoryHarness, Received
from fleetgw.testing.real_reactor import RealReactorHarness
from tests.support.controlled import ControlledHarness
from tests.support.redis.memory import MEMORY_ADDRESS, MemoryClusterView, MemoryRedis, ReactorClocks
from tests.support.workers import InlineWorker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher
    from tests.support.redis.servers import RedisServer
    from tests.support.redis.subscriber import Subscriber

PREFIX = "subscribers"
LEASE_S = 10**9


class RedisHarness(DispatcherHarness):
    """The part of a harness that is the same for every server.

    :ivar sets: whether vehicles have sets of subscribers, each with the vehicle's channel as its only member; else records
        are published to that channel directly.
    """

    confirmed_metric = "redis_publish_total"
    refused_metric = "redis_err"
    refused_labels = ("V",)
    refused_payload = bytes(1_048_577)

    def __init__(self, *, sets: bool) -> None:
        super().__init__()
        self.sets = sets

    def publishing(self) -> dict[str, object]:
        """The settings of destinations."""
        return {"subscriber_set_prefix": PREFIX} if self.sets else {"publish_vin_topics": True}

    def channels(self) -> list[str]:
        """The channels of all vehicles and record types of the contract."""
        return [f"{self.namespace}_{kind}_{{{vin}}}" for kind in self.record_types for vin in VINS]


class MemoryRedisHarness(ControlledHarness, RedisHarness, InMemoryHarness):
    """In memory.

    :ivar cluster: whether the server acts as a cluster.
    """

    def __init__(self, *, sets: bool, cluster: bool = False) -> None:
        super().__init__(sets=sets)
        self.cluster = cluster
        self.server = self.controlled = MemoryRedis()
        if sets:
            for channel in self.channels():
                self.server.sets[f"{PREFIX}_{channel}".encode()] = {channel.encode(): LEASE_S}

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:  # noqa: ARG002  it has no bound
        """The section of the configuration."""
        return {
            "addrs": [str(MEMORY_ADDRESS)],
            "publish_timeout": round(timeout_s * 1e9),
            "cluster_mode": self.cluster,
            **self.publishing(),
        }

    def make_sink(self, context: SinkContext) -> IDispatcher:
        """Make the sink with connections in memory."""
        server = self.server
        clocks = ReactorClocks(context.reactor)
        return RedisSink(context, server.make_pipe, lambda _settings: MemoryClusterView(server), InlineWorker, clocks)

    async def received(self, at_least: int) -> Sequence[Received]:  # noqa: ARG002  all of it is there
        """The published records."""
        return [vehicle_of(channel, payload) for channel, payload in self.server.published]


class ServerHarness(RedisHarness, RealReactorHarness):
    """Over servers that are processes."""

    server: RedisServer
    subscriber: Subscriber

    def make_sink(self, context: SinkContext) -> IDispatcher:
        """Make the sink as the gateway does."""
        return REDIS.make(context)

    def client(self) -> Redis:
        """redis-py's client, for commands of a subscriber."""
        return self.server.client()

    def subscribe(self) -> None:
        """Add the vehicles' channels to their sets, where there are sets."""
        if self.sets:
            with self.client() as client:
                for channel in self.channels():
                    client.zadd(f"{PREFIX}_{channel}", {channel: LEASE_S * 100})

    async def received(self, at_least: int) -> Sequence[Received]:
        """The records that the subscriber received."""
        return [vehicle_of(channel, payload) for channel, payload in self.subscriber.wait_for(at_least)]


def vehicle_of(channel: bytes, payload: bytes) -> Received:
    """A received record; the VIN is the part of the channel's name in braces."""
    return Received(channel.decode().partition("{")[2].removesuffix("}"), payload)
