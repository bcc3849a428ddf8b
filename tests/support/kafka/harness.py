"""Shared base of the harnesses of both Kafka sinks, over a broker that speaks the protocol."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import uuid4

from fleetgw.adapters.sinks.kafka.type import kafka_sink
from fleetgw.testing.dispatcher_harness import Received
from fleetgw.testing.real_reactor import RealReactorHarness
from tests.support.kafka.consumer import consume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetgw.adapters.sinks.kafka.settings import Client
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher


class KafkaHarness(RealReactorHarness):
    """A Kafka sink on the real reactor. Its topics are its own, so that tests may share a broker.

    :ivar client: the client library.
    """

    confirmed_metric = "kafka_produce_ack_total"
    refused_metric = "kafka_err"
    refused_payload = bytes(2_000_000)
    bound = 8

    def __init__(self, client: Client) -> None:
        self.client = client
        self.namespace = f"contract_{uuid4().hex[:12]}"
        logging.getLogger("kafka").propagate = False  # kafka-python speaks of every broken connection

    @property
    def servers(self) -> str:
        """For ``bootstrap.servers``."""
        raise NotImplementedError

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        """Properties of librdkafka; those that make a test quick are not under test."""
        quick = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200}
        if self.client == "confluent-kafka":
            quick["statistics.interval.ms"] = 100
        return {
            "bootstrap.servers": self.servers,
            "message.timeout.ms": round(timeout_s * 1000),
            **quick,
            **({"queue.buffering.max.messages": self.bound} if bounded else {}),
        }

    def make_sink(self, context: SinkContext) -> IDispatcher:
        """Make the sink as the gateway does."""
        return kafka_sink(context, self.client)

    async def received(self, at_least: int) -> Sequence[Received]:
        """Records that a consumer receives."""
        topics = [f"{self.namespace}_{record_type}" for record_type in self.record_types]
        return [Received(record.key.decode(), record.value) for record in consume(self.servers, topics, at_least)]
