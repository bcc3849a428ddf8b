"""The Kinesis sink over a scripted client, on a clock that the test advances."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.kinesis.settings import KinesisSettings
from fleetgw.adapters.sinks.kinesis.sink import KinesisSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.request_errors import Unreachable
from fleetgw.domain.errors import DeliveryError
from fleetgw.domain.ports import RECEIPT, IDispatcher, Outcome
from fleetgw.domain.records import Record
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received
from tests.support.controlled import ControlledHarness, ScriptedDestination


class ScriptedClient:
    """``StreamClient`` over a scripted destination."""

    def __init__(self, streams: ScriptedDestination, settings: KinesisSettings) -> None:
        self.streams = streams

    def put(self, stream: str, records: Sequence[Record]) -> Sequence[Outcome]:
        if self.streams.away:
            return [Unreachable("connection refused")] * len(records)
        self.streams.received += [Received(record.vin, record.payload) for record in records]
        return [RECEIPT] * len(records)

    def fault(self, stream: str) -> DeliveryError | None:
        return Unreachable("connection refused") if self.streams.away else None

    def close(self) -> None:
        pass


class ClockWorker:
    """Runs a job once the clock has advanced and the streams are not held."""

    def __init__(self, streams: ScriptedDestination, clock: Clock, name: str) -> None:
        self.streams = streams
        self.clock = clock

    def do(self, job: Callable[[], None]) -> None:
        self.clock.callLater(0.004, self.go_on, job)

    def go_on(self, job: Callable[[], None]) -> None:
        if self.streams.held:
            self.do(job)
        else:
            job()

    def quit(self) -> None:
        pass


class KinesisScriptedHarness(ControlledHarness, InMemoryHarness):
    confirmed_metric = "kinesis_publish_total"
    refused_metric = "kinesis_err"
    refused_labels = ("V",)
    refused_payload = bytes(1024 * 1024 + 1)

    def __init__(self) -> None:
        super().__init__()
        self.streams = self.controlled = ScriptedDestination()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {"delivery_timeout_s": timeout_s}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        client = partial(ScriptedClient, self.streams)
        return KinesisSink(context, client, partial(ClockWorker, self.streams, self.reactor), environ={})

    async def received(self, at_least: int) -> Sequence[Received]:
        return self.streams.received


class KinesisContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> KinesisScriptedHarness:
        return KinesisScriptedHarness()
