"""The ZMQ sink and a subscriber, over sockets of the real library, with and without CURVE."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import zmq
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.zmq.sink import ZmqSink
from fleetgw.domain.ports import IDispatcher, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received
from tests.support.zmq_subscriber import Subscriber

T = TypeVar("T")

PROBE = b"is anybody there?"


class ZmqHarness(InMemoryHarness):
    confirmed_metric = "zmq_publish_total"

    def __init__(self, *, curve: bool) -> None:
        super().__init__()
        self.curve = curve
        self.sink: ZmqSink | None = None
        self.subscriber: Subscriber | None = None

    async def set_up(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fleetgw-zmq-"))
        self.server_keys, self.client_keys = zmq.curve_keypair(), zmq.curve_keypair()
        public, secret = self.server_keys
        (self.folder / "server.json").write_text(json.dumps({"public": public.decode(), "secret": secret.decode()}))
        (self.folder / "allowed.json").write_text(json.dumps([self.client_keys[0].decode()]))

    async def tear_down(self) -> None:
        if self.subscriber is not None:
            self.subscriber.close()
        shutil.rmtree(self.folder)

    @property
    def addr(self) -> str:
        return f"ipc://{self.folder}/records"

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        keys = {
            "server_key_json_path": str(self.folder / "server.json"),
            "allowed_public_keys_json_path": str(self.folder / "allowed.json"),
        }
        return {"addr": self.addr} | (keys if self.curve else {})

    def make_sink(self, context: SinkContext) -> IDispatcher:
        self.sink = ZmqSink(context)
        return self.sink

    async def until(self, answer: Deferred[T]) -> T:
        result = await super().until(answer)
        if self.sink is not None and self.subscriber is None and self.sink.readiness() == Ready():
            # a subscriber that joins after the record was published misses it
            self.subscriber = Subscriber(self.addr, (*self.client_keys, self.server_keys[0]) if self.curve else None)
            if not self.subscriber.wait_until_joined(self.send_probe, lambda payload: payload == PROBE):
                raise AssertionError("the subscriber was not let in")
        return result

    def send_probe(self) -> None:
        self.reactor.advance(0.1)
        self.sink.dispatch([self.make_record("VIN", record_type="alerts", payload=PROBE)])

    async def received(self, at_least: int) -> Sequence[Received]:
        messages = self.subscriber.receive(at_least)
        return [Received(self.vins[payload], payload) for _, payload in messages]

    def make_record(self, vin: str, txid: str = "tx-1", *, record_type: str = "V", payload: bytes = b"payload") -> Record:
        self.vins[payload] = vin  # no message names its vehicle
        return super().make_record(vin, txid, record_type=record_type, payload=payload)

    @property
    def vins(self) -> dict[bytes, str]:
        return self.__dict__.setdefault("_vins", {})


class ZmqContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> ZmqHarness:
        return ZmqHarness(curve=False)


class ZmqCurveContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> ZmqHarness:
        return ZmqHarness(curve=True)
