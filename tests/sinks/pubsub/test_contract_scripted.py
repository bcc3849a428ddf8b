"""The Pub/Sub sink over a publisher that does what a test says, on a clock that a test advances."""

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


class Topics:
    """What the scripted publisher publishes to."""

    def __init__(self) -> None:
        self.log: list[Received] = []
        self.held = False
        self.down = False


class ScriptedPublisher:
    """``Publisher`` over ``Topics``."""

    def __init__(self, topics: Topics, clock: Clock, settings: PubsubSettings, created: Callable[[str], None]) -> None:
        self.topics = topics
        self.clock = clock

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        self.clock.callLater(0.004, self._publish, records, done)

    def _publish(self, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        if self.topics.held:
            self.publish("", records, done)
        elif self.topics.down:
            done([Unreachable("UNAVAILABLE: connection refused")] * len(records))
        else:
            self.topics.log += [Received(record.vin, record.payload) for record in records]
            done([RECEIPT] * len(records))

    def fault(self, destination: str) -> DeliveryError | None:
        return Unreachable("UNAVAILABLE: connection refused") if self.topics.down else None

    def close(self) -> None:
        pass


class InlineWorker:
    """Does a job when it is given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def do(self, job: Callable[[], None]) -> None:
        job()

    def quit(self) -> None:
        pass


class PubsubScriptedHarness(InMemoryHarness):
    confirmed_metric = "pubsub_publish_total"
    refused_metric = "pubsub_err"
    refused_labels = ("V",)
    refused_payload = bytes(REQUEST_SIZE_BYTES)

    def __init__(self, *, ordering: bool) -> None:
        super().__init__()
        self.topics = Topics()
        self.ordering = ordering

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {"gcp_project_id": "p", "ordering_by_vehicle": self.ordering, "delivery_timeout_s": timeout_s}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        return PubsubSink(context, partial(ScriptedPublisher, self.topics, self.reactor), InlineWorker, environ={})

    async def received(self, at_least: int) -> Sequence[Received]:
        return self.topics.log

    async def hold(self) -> None:
        self.topics.held = True

    async def release(self) -> None:
        self.topics.held = False

    async def go_away(self) -> None:
        self.topics.down = True

    async def come_back(self) -> None:
        self.topics.down = False


class PubsubContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> PubsubScriptedHarness:
        return PubsubScriptedHarness(ordering=False)


class PubsubOrderedContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> PubsubScriptedHarness:
        return PubsubScriptedHarness(ordering=True)
