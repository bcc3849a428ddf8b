"""The Pub/Sub sink over a scripted publisher, on a clock that the test advances."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.pubsub.settings import PubsubSettings
from fleetgw.adapters.sinks.pubsub.sink import REQUEST_SIZE_BYTES, PubsubSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.request_errors import Unreachable
from fleetgw.domain.errors import DeliveryError
from fleetgw.domain.ports import RECEIPT, IDispatcher, Outcome
from fleetgw.domain.records import Record
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received
from tests.support.controlled import ControlledHarness, ScriptedDestination
from tests.support.workers import InlineWorker


class ScriptedPublisher:
    """``Publisher`` over a scripted destination."""

    def __init__(
        self, topics: ScriptedDestination, clock: Clock, settings: PubsubSettings, created: Callable[[str], None]
    ) -> None:
        self.topics = topics
        self.clock = clock

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        self.clock.callLater(0.004, self._publish, records, done)

    def _publish(self, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        if self.topics.held:
            self.publish("", records, done)
        elif self.topics.away:
            done([Unreachable("UNAVAILABLE: connection refused")] * len(records))
        else:
            self.topics.received += [Received(record.vin, record.payload) for record in records]
            done([RECEIPT] * len(records))

    def fault(self, destination: str) -> DeliveryError | None:
        return Unreachable("UNAVAILABLE: connection refused") if self.topics.away else None

    def close(self) -> None:
        pass


class PubsubScriptedHarness(ControlledHarness, InMemoryHarness):
    confirmed_metric = "pubsub_publish_total"
    refused_metric = "pubsub_err"
    refused_labels = ("V",)
    refused_payload = bytes(REQUEST_SIZE_BYTES)

    def __init__(self, *, ordering: bool) -> None:
        super().__init__()
        self.topics = self.controlled = ScriptedDestination()
        self.ordering = ordering

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {"gcp_project_id": "p", "ordering_by_vehicle": self.ordering, "delivery_timeout_s": timeout_s}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        return PubsubSink(context, partial(ScriptedPublisher, self.topics, self.reactor), InlineWorker, environ={})

    async def received(self, at_least: int) -> Sequence[Received]:
        return self.topics.received


class PubsubContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> PubsubScriptedHarness:
        return PubsubScriptedHarness(ordering=False)


class PubsubOrderedContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> PubsubScriptedHarness:
        return PubsubScriptedHarness(ordering=True)
