"""The ``embedded`` sink keeps the contract, with a receiver that a test controls."""

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.embedded.sink import EmbeddedSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import Rejected
from fleetgw.domain.ports import IDispatcher
from fleetgw.domain.records import Record
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received


class EmbeddedSinkHarness(InMemoryHarness):
    confirmed_metric = "embedded_publish_total"
    refused_metric = "embedded_err"
    refused_labels = ("V",)
    refused_payload = b"no good"

    def __init__(self) -> None:
        super().__init__()
        self.sink: EmbeddedSink | None = None
        self.away = False
        self.held: list[tuple[Record, Deferred[None]]] | None = None
        self.got: list[Received] = []

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {"listener_timeout_s": timeout_s, "attempts": 3}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        self.sink = EmbeddedSink(context)
        self.sink.receiver = None if self.away else self.receive
        return self.sink

    def receive(self, record: Record) -> Deferred[None] | None:
        if record.payload == self.refused_payload:
            raise Rejected("no good")
        if self.held is None:
            self.take(record)
            return None
        waiting: Deferred[None] = Deferred()
        waiting.addCallback(lambda _: self.take(record))
        self.held.append((record, waiting))
        return waiting

    def take(self, record: Record) -> None:
        self.got.append(Received(record.vin, record.payload))

    async def received(self, at_least: int) -> Sequence[Received]:
        return self.got

    async def hold(self) -> None:
        self.held = []

    async def release(self) -> None:
        held, self.held = self.held or [], None
        for _, waiting in held:
            if not waiting.called:
                waiting.callback(None)

    async def go_away(self) -> None:
        self.away = True
        if self.sink is not None:
            self.sink.receiver = None

    async def come_back(self) -> None:
        self.away = False
        self.sink.receiver = self.receive


class EmbeddedSinkContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> EmbeddedSinkHarness:
        return EmbeddedSinkHarness()
