"""The MQTT sink over a broker in memory."""

from collections.abc import Mapping, Sequence
from random import Random

from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.mqtt.sink import MqttSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import IDispatcher
from fleetgw.domain.records import Record
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received
from tests.support.mqtt.harness import REFUSED_PAYLOAD, make_mqtt_record, received_records
from tests.support.mqtt.memory_broker import MemoryBroker


class MqttMemoryHarness(InMemoryHarness):
    confirmed_metric = "mqtt_publish_total"
    refused_metric = "mqtt_err"
    refused_labels = ("V",)
    refused_payload = REFUSED_PAYLOAD

    def __init__(self, qos: int, version: str) -> None:
        super().__init__()
        self.qos = qos
        self.version = version
        self.broker = MemoryBroker(self.reactor)
        if version == "5":
            self.broker.connack = b"\x20\x03\x00\x00\x00"

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {
            "broker": "broker.example:1883",
            "topic_base": "telemetry",
            "qos": self.qos,
            "protocol_version": self.version,
            "publish_timeout_ms": round(timeout_s * 1000),
            "disconnect_timeout_ms": round(timeout_s * 1000),
            "connect_retry_interval_ms": 200,
        }

    def make_record(self, vin: str, txid: str = "tx-1", *, record_type: str = "V", payload: bytes = b"payload") -> Record:
        return make_mqtt_record(vin, txid, record_type=record_type, payload=payload)

    def make_sink(self, context: SinkContext) -> IDispatcher:
        return MqttSink(context, self.broker, Random(0))

    async def received(self, at_least: int) -> Sequence[Received]:
        return received_records(self.broker.published)

    async def hold(self) -> None:
        self.broker.holding = True

    async def release(self) -> None:
        self.broker.release()

    async def go_away(self) -> None:
        self.broker.go_away()

    async def come_back(self) -> None:
        self.broker.away = False


class MqttQos1ContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> MqttMemoryHarness:
        return MqttMemoryHarness(1, "3.1.1")


class MqttQos2ContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> MqttMemoryHarness:
        return MqttMemoryHarness(2, "3.1.1")


class Mqtt5Qos1ContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> MqttMemoryHarness:
        return MqttMemoryHarness(1, "5")


class Mqtt5Qos2ContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> MqttMemoryHarness:
        return MqttMemoryHarness(2, "5")
