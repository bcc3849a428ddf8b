"""The Pub/Sub sink against Google's emulator, where the machine has it, and against a stand-in with faults."""

import atexit
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from unittest import SkipTest

import grpc
from twisted.internet import threads
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from fleetgw.adapters.sinks.pubsub.publisher import GrpcPublisher
from fleetgw.adapters.sinks.pubsub.sink import PubsubSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import Rejected, Retryable
from fleetgw.domain.ports import IDispatcher, NotReady, Ready, Receipt
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.real_reactor import until
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, make_record
from tests.support.deadline import DEADLINE_S
from tests.support.delivery import deliver_through_outage
from tests.support.pubsub.emulator import Emulator, missing
from tests.support.pubsub.harness import EmulatorHarness, PubsubHarness, StandInHarness
from tests.support.pubsub.subscriber import Subscriber
from tests.support.record_vectors import RECEIVED_AT_MS, dispatch_cases, record_of

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors"
EXAMPLE = ROOT / "examples" / "consumers" / "pubsub_subscriber.py"


@cache
def the_emulator() -> Emulator:
    lack = missing()
    if lack is not None:
        raise SkipTest(f"{lack}; the stand-in is tested all the same")
    emulator = Emulator()
    atexit.register(emulator.stop)
    return emulator


class WireContract:
    """The messages at a subscriber, by the golden vectors."""

    def test_messages_at_a_subscriber(self) -> Deferred[None]:
        """Data and attributes of every Pub/Sub case, but for intended differences and names that no topic can have."""
        return Deferred.fromCoroutine(self._check())

    async def _check(self) -> None:
        harness: PubsubHarness = self.make_harness()
        cases = [case for case in dispatch_cases(VECTORS / "dispatch.json", "pubsub") if case["namespace"][:1].isalpha()]
        types = tuple({case["type"] for case in cases})
        differences = {one["name"]: one for one in json.loads((VECTORS / "pubsub_differences.json").read_text())["cases"]}
        topics = [f"projects/contract/topics/{harness.namespace}_{record_type}" for record_type in types]
        subscriber = Subscriber(harness.host, topics)
        settings = harness.settings(timeout_s=10, bounded=False)
        sink = harness.make_sink(
            SinkContext("pubsub", settings, harness.namespace, types, harness.reactor, ReadableMetrics(), ReadableLog())
        )
        await sink.start()
        try:
            self.assertEqual({type(one) for one in await sink.dispatch([record_of(case) for case in cases])}, {Receipt})
            messages = await threads.deferToThread(subscriber.pull, len(cases))
        finally:
            await sink.stop()
            subscriber.close()
            await harness.tear_down()
        got = [(topic, message.data.hex(), dict(message.attributes), message.ordering_key) for topic, message in messages]
        self.assertEqual(len(got), len(cases))
        for case in cases:
            (expected,) = case["messages"]
            topic = f"projects/contract/topics/{harness.namespace}_{case['type']}"
            attributes = {**expected["attributes"], "receivedat": str(RECEIVED_AT_MS)}
            key = attributes["vin"] if harness.ordering else ""
            found = [data for on, data, has, by in got if (on, has, by) == (topic, attributes, key)]
            data = differences.get(case["name"], expected).get("data")
            if data is None:
                parsed = [json.loads(bytes.fromhex(one)) for one in found if one.startswith("7b")]
                self.assertIn(json.loads(expected["data_json"]), parsed, case["name"])
            else:
                self.assertIn(data, found, case["name"])


class EmulatorContractTests(DispatcherContract, WireContract, TestCase):
    def make_harness(self) -> EmulatorHarness:
        return EmulatorHarness(the_emulator(), ordering=False)


class EmulatorOrderedContractTests(DispatcherContract, WireContract, TestCase):
    def make_harness(self) -> EmulatorHarness:
        return EmulatorHarness(the_emulator(), ordering=True)


class StandInContractTests(DispatcherContract, WireContract, TestCase):
    def make_harness(self) -> StandInHarness:
        return StandInHarness(ordering=False)


class StandInOrderedContractTests(DispatcherContract, WireContract, TestCase):
    def make_harness(self) -> StandInHarness:
        return StandInHarness(ordering=True)


class Attempt:
    """A sink over the stand-in, for one test; the sink creates the topics."""

    def __init__(self, *, ordering: bool = False, environ: dict[str, str] | None = None, **settings: object) -> None:
        self.harness = StandInHarness(ordering=ordering)
        self.server = self.harness.server
        self.log = ReadableLog()
        self.metrics = ReadableMetrics()
        section = {**self.harness.settings(timeout_s=10, bounded=False), **settings}
        self.context = SinkContext(
            "pubsub", section, self.harness.namespace, ("V", "alerts"), self.harness.reactor, self.metrics, self.log
        )
        environ = {"PUBSUB_EMULATOR_HOST": self.server.address} if environ is None else environ
        self.sink: IDispatcher = PubsubSink(self.context, GrpcPublisher, environ=environ)

    async def __aenter__(self) -> "Attempt":
        await self.sink.start()
        await until(lambda: "has not answered yet" not in str(self.sink.readiness()))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.release()
        await self.sink.stop()
        await self.harness.tear_down()

    def published(self, record_type: str = "V") -> list:
        return self.server.topics[f"projects/contract/topics/{self.context.destination(record_type)}"]


def kinds(outcomes) -> list[type]:
    return [type(outcome) for outcome in outcomes]


class FaultTests(TestCase):
    timeout = DEADLINE_S

    def test_topics_are_created(self) -> Deferred[None]:
        """At the start where they are missing, and again after one was deleted."""
        return Deferred.fromCoroutine(self._topics_are_created())

    async def _topics_are_created(self) -> None:
        async with Attempt() as attempt:
            topics = {f"projects/contract/topics/{attempt.context.destination(kind)}" for kind in ("V", "alerts")}
            self.assertEqual(attempt.server.topics.keys(), topics)
            created = {(entry["topic_name"], entry["txType"]) for entry in attempt.log.fields_of("pubsub_topic_created")}
            self.assertEqual(created, {(attempt.context.destination(kind), kind) for kind in ("V", "alerts")})
            (registered,) = attempt.log.fields_of("pubsub_registered")
            self.assertEqual(registered["namespace"], attempt.context.namespace)
            self.assertEqual(attempt.sink.readiness(), Ready())
            attempt.server.topics.clear()
            self.assertIsInstance((await attempt.sink.dispatch([make_record()]))[0], Retryable)
            self.assertIn("NOT_FOUND", attempt.sink.readiness().reason)
            self.assertEqual(attempt.metrics.value("pubsub_not_connected_total", "V"), 1)
            await until(lambda: attempt.sink.readiness() == Ready())
            self.assertEqual(kinds(await attempt.sink.dispatch([make_record()])), [Receipt])

    def test_busy(self) -> Deferred[None]:
        """A throttled request is sent again, three times; after that its records are ``Retryable``."""
        return Deferred.fromCoroutine(self._busy())

    async def _busy(self) -> None:
        async with Attempt() as attempt:
            attempt.server.refusals = [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED]
            records = [make_record(payload=b"%d" % number) for number in range(10)]
            self.assertEqual(kinds(await attempt.sink.dispatch(records)), [Receipt] * 10)
            self.assertEqual([message.data for message in attempt.published()], [record.payload for record in records])
            attempt.server.refusals = [grpc.StatusCode.INTERNAL] * 4
            self.assertEqual(kinds(await attempt.sink.dispatch(records[:1])), [Retryable])
            self.assertEqual(attempt.server.refusals, [])

    def test_one_bad_record_among_many(self) -> Deferred[None]:
        """A request that is rejected for its content is bisected until the bad record is found."""
        return Deferred.fromCoroutine(self._one_bad_record())

    async def _one_bad_record(self) -> None:
        async with Attempt() as attempt:
            records = [make_record(f"VIN{number % 9}", payload=b"%d" % number) for number in range(100)]
            records[37] = make_record("VIN1", "t" * 2000, payload=b"37")
            outcomes = await attempt.sink.dispatch(records)
            self.assertEqual([place for place, outcome in enumerate(outcomes) if isinstance(outcome, Rejected)], [37])
            self.assertEqual(kinds(outcomes).count(Receipt), 99)
            self.assertEqual(len(attempt.published()), 99)

    def test_permissions(self) -> Deferred[None]:
        """With permission to publish but not to probe the sink is ready; without the former it is not, and says why."""
        return Deferred.fromCoroutine(self._permissions())

    async def _permissions(self) -> None:
        async with Attempt() as attempt:
            attempt.server.refusals = [grpc.StatusCode.PERMISSION_DENIED]
            self.assertIsInstance((await attempt.sink.dispatch([make_record()]))[0], Retryable)
            readiness = attempt.sink.readiness()
            assert isinstance(readiness, NotReady)
            self.assertIn("PERMISSION_DENIED", readiness.reason)
            self.assertEqual(kinds(await attempt.sink.dispatch([make_record()])), [Receipt])
            self.assertEqual(attempt.sink.readiness(), Ready())
        attempt = Attempt()
        attempt.server.look_refusal = grpc.StatusCode.PERMISSION_DENIED
        async with attempt:
            self.assertEqual(attempt.sink.readiness(), Ready())

    def test_pipelined(self) -> Deferred[None]:
        """Pub/Sub 20 ms away: one record after the other would take four seconds."""
        return Deferred.fromCoroutine(self._pipelined())

    async def _pipelined(self) -> None:
        async with Attempt() as attempt:
            attempt.server.delay_s = 0.02
            await gatherResults([attempt.sink.dispatch([make_record(payload=b"%d" % number)]) for number in range(200)])
            self.assertEqual(attempt.server.messages_per_request, [200])

    def test_ordering_keys(self) -> Deferred[None]:
        """With ordering by vehicle each message has its vehicle as key, and a fault of one vehicle blocks no other."""
        return Deferred.fromCoroutine(self._ordering_keys())

    async def _ordering_keys(self) -> None:
        async with Attempt(ordering=True) as attempt:
            attempt.server.refusals = [grpc.StatusCode.RESOURCE_EXHAUSTED]
            records = [make_record(f"VIN{number % 9}", payload=b"%d" % number) for number in range(90)]
            self.assertEqual(kinds(await attempt.sink.dispatch(records)), [Receipt] * 90)
            for message in attempt.published():
                self.assertEqual(message.ordering_key, message.attributes["vin"])
            for vin in {record.vin for record in records}:
                got = [message.data for message in attempt.published() if message.ordering_key == vin]
                self.assertEqual(got, [record.payload for record in records if record.vin == vin])

    def test_unreachable(self) -> Deferred[None]:
        """No server, no such host, no credentials: each is a reason, and records are ``Retryable``."""
        return Deferred.fromCoroutine(self._unreachable())

    async def _unreachable(self) -> None:
        no_file = {"GOOGLE_APPLICATION_CREDENTIALS": "no/such/file.json"}
        self.patch(__import__("os"), "environ", {**__import__("os").environ, **no_file})
        for environ, expected in (
            ({"PUBSUB_EMULATOR_HOST": "127.0.0.1:9"}, "UNAVAILABLE"),
            ({"PUBSUB_EMULATOR_HOST": "nobody.invalid:9"}, "UNAVAILABLE"),
            (no_file, "no Google credentials: File no/such/file.json was not found"),
        ):
            async with Attempt(environ=environ, delivery_timeout_s=5) as attempt:
                readiness = attempt.sink.readiness()
                assert isinstance(readiness, NotReady)
                self.assertIn(expected, readiness.reason)
                self.assertIsInstance((await attempt.sink.dispatch([make_record()]))[0], Retryable)

    def test_dies_mid_stream(self) -> Deferred[None]:
        """A record with a receipt is in the topic, whenever the connection was cut."""
        return Deferred.fromCoroutine(self._dies_mid_stream())

    async def _dies_mid_stream(self) -> None:
        async with Attempt(delivery_timeout_s=2) as attempt:
            payloads = await deliver_through_outage(attempt.sink, attempt.server)
            self.assertEqual(len(payloads), 600)
            self.assertEqual({message.data for message in attempt.published()}, payloads)


class ConsumerTests(TestCase):
    timeout = DEADLINE_S

    def test_example(self) -> Deferred[None]:
        """The example of the documentation shows the signals of vehicles."""
        return Deferred.fromCoroutine(self._example())

    async def _example(self) -> None:
        async with Attempt() as attempt:
            topic = attempt.context.destination("V")
            environ = {name: text for name, text in os.environ.items() if name != "GOOGLE_APPLICATION_CREDENTIALS"}
            process = subprocess.Popen(
                [sys.executable, str(EXAMPLE), "contract", topic, "example", "--count", "2"],
                env={**environ, "PUBSUB_EMULATOR_HOST": attempt.server.address},
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                self.assertEqual(await threads.deferToThread(process.stdout.readline), "subscribed\n")
                for text in ("62.5", "63.5"):
                    datum = Datum(key=Field.VehicleSpeed, value=Value(string_value=text))
                    payload = Payload(data=[datum]).SerializeToString()
                    self.assertEqual(kinds(await attempt.sink.dispatch([make_record("VIN1", payload=payload)])), [Receipt])
                output, _ = await threads.deferToThread(process.communicate, None, 20)
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
            lines = [f'VIN1 VehicleSpeed string_value: "{text}"' for text in ("62.5", "63.5")]
            self.assertEqual(output.splitlines(), lines)
            self.assertEqual(process.returncode, 0)
