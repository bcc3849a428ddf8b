"""The Kinesis sink over moto, behind a stub that injects faults."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING
from uuid import uuid4

from twisted.internet import threads

from fleetgw.adapters.sinks.kinesis.client import BotoClient
from fleetgw.adapters.sinks.kinesis.sink import KinesisSink
from fleetgw.testing.dispatcher_harness import Received
from fleetgw.testing.real_reactor import RealReactorHarness
from tests.support.controlled import ControlledHarness
from tests.support.deadline import DEADLINE_S
from tests.support.kinesis.fault_stub import FaultStub
from tests.support.kinesis.moto import Moto, consume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher


@cache
def the_moto() -> Moto:
    """One for all tests, as starting takes a second. The caller stops it."""
    return Moto()


class KinesisHarness(ControlledHarness, RealReactorHarness):
    """Each test has streams of its own. The environment must contain ``moto.CREDENTIALS``."""

    confirmed_metric = "kinesis_publish_total"
    refused_metric = "kinesis_err"
    refused_labels = ("V",)
    refused_payload = bytes(1024 * 1024 + 1)

    def __init__(self) -> None:
        self.namespace = f"contract{uuid4().hex[:8]}"
        self.moto = the_moto()
        self.stub = self.controlled = FaultStub(self.moto.port)
        self.reader = self.moto.client()

    async def set_up(self) -> None:
        """Create the streams."""
        for record_type in self.record_types:
            self.create(f"{self.namespace}_{record_type}")

    def create(self, stream: str) -> None:
        """Create a stream of two shards."""
        self.reader.create_stream(StreamName=stream, ShardCount=2)
        self.reader.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})

    async def tear_down(self) -> None:
        """Stop the stub."""
        self.stub.release()
        self.stub.go_away()
        self.reader.close()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:  # noqa: ARG002 it has no bound
        """The section, with the stub as endpoint."""
        return {"override_host": f"http://{self.stub.address}", "delivery_timeout_s": timeout_s}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        """The real sink, without stream names of the environment."""
        return KinesisSink(context, BotoClient, environ={})

    async def received(self, at_least: int) -> Sequence[Received]:
        """Read the streams from the beginning."""
        return await threads.deferToThread(self._received, at_least)

    def _received(self, at_least: int) -> list[Received]:
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            found = [
                Received(record.partition_key, record.data)
                for record_type in self.record_types
                for record in consume(self.reader, f"{self.namespace}_{record_type}")
            ]
            if len(found) >= at_least or time.monotonic() > deadline_s:
                return found
            time.sleep(0.1)
