"""The Pub/Sub sink over the stand-in or the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from twisted.internet import threads

from fleetgw.adapters.sinks.pubsub.publisher import GrpcPublisher
from fleetgw.adapters.sinks.pubsub.sink import REQUEST_SIZE_BYTES, PubsubSink
from fleetgw.testing.dispatcher_harness import Received
from fleetgw.testing.real_reactor import RealReactorHarness
from tests.support.controlled import ControlledHarness
from tests.support.pubsub.stand_in import StandIn
from tests.support.pubsub.subscriber import Subscriber

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher
    from tests.support.pubsub.emulator import Emulator


class PubsubHarness(RealReactorHarness):
    """Each test has topics of its own.

    :param ordering: by vehicle.
    """

    confirmed_metric = "pubsub_publish_total"
    refused_metric = "pubsub_err"
    refused_labels = ("V",)
    refused_payload = bytes(REQUEST_SIZE_BYTES)

    def __init__(self, *, ordering: bool) -> None:
        self.namespace = f"contract{uuid4().hex[:8]}"
        self.ordering = ordering
        self.subscriber: Subscriber | None = None

    @property
    def host(self) -> str:
        """``host:port`` of the server."""
        raise NotImplementedError

    async def set_up(self) -> None:
        """Subscribe."""
        topics = [f"projects/contract/topics/{self.namespace}_{record_type}" for record_type in self.record_types]
        self.subscriber = Subscriber(self.host, topics, ordering=self.ordering)

    async def tear_down(self) -> None:
        """Close the subscriber."""
        if self.subscriber is not None:
            self.subscriber.close()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:  # noqa: ARG002 it has no bound
        """The section."""
        return {"gcp_project_id": "contract", "ordering_by_vehicle": self.ordering, "delivery_timeout_s": timeout_s}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        """The real sink, with the server in its environment."""
        return PubsubSink(context, GrpcPublisher, environ={"PUBSUB_EMULATOR_HOST": self.host})

    async def received(self, at_least: int) -> Sequence[Received]:
        """Pull messages."""
        if self.subscriber is None:
            return []
        messages = await threads.deferToThread(self.subscriber.pull, at_least)
        return [Received(message.attributes["vin"], message.data) for _, message in messages]


class StandInHarness(ControlledHarness, PubsubHarness):
    """Over the stand-in."""

    def __init__(self, *, ordering: bool) -> None:
        super().__init__(ordering=ordering)
        self.server = self.controlled = StandIn()

    @property
    def host(self) -> str:
        """See ``PubsubHarness``."""
        return self.server.address

    async def tear_down(self) -> None:
        """Stop the server, too."""
        await super().tear_down()
        self.server.release()
        self.server.go_away()


class EmulatorHarness(PubsubHarness):
    """Over Google's emulator."""

    def __init__(self, emulator: Emulator, *, ordering: bool) -> None:
        super().__init__(ordering=ordering)
        self.emulator = emulator

    @property
    def host(self) -> str:
        """See ``PubsubHarness``."""
        return self.emulator.address

    async def tear_down(self) -> None:
        """Leave a working emulator behind."""
        await super().tear_down()
        self.emulator.start()

    async def hold(self) -> None:
        """Stop the process by SIGSTOP."""
        self.emulator.pause()

    async def release(self) -> None:
        """Continue it by SIGCONT."""
        self.emulator.resume()

    async def go_away(self) -> None:
        """Kill the process by SIGKILL, once the subscriber has all messages."""
        if self.subscriber is not None:
            self.subscriber.pull(0)
        self.emulator.kill()

    async def come_back(self) -> None:
        """Start it, and subscribe again: it keeps nothing."""
        self.emulator.start()
        if self.subscriber is not None:
            self.subscriber.subscribe()
