"""The Kinesis sink against moto, behind a stub that throttles, takes requests in part, hangs and dies."""

import atexit
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from unittest.mock import patch

from twisted.internet import threads
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value
from fleetgw.adapters.sinks.kinesis.sink import KinesisSink
from fleetgw.adapters.sinks.kinesis.type import KINESIS
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import Retryable
from fleetgw.domain.ports import NotReady, Ready, Receipt
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.real_reactor import until
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, make_record
from tests.support.deadline import DEADLINE_S
from tests.support.delivery import deliver_through_outage
from tests.support.kinesis.harness import KinesisHarness, the_moto
from tests.support.kinesis.moto import CREDENTIALS, REGION, consume, missing
from tests.support.needed import needed
from tests.support.record_vectors import dispatch_cases, record_of

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors" / "dispatch.json"
EXAMPLE = ROOT / "examples" / "consumers" / "kinesis_reader.py"

NO_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}


@cache
def need_moto() -> None:
    needed(missing())
    atexit.register(the_moto().stop)


class MotoTestCase(TestCase):
    timeout = DEADLINE_S

    def setUp(self) -> None:
        need_moto()
        self.set_environment({**NO_FILES, **CREDENTIALS})

    def set_environment(self, environ: dict[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        patched = patch.dict(os.environ, {**kept, **environ}, clear=True)
        patched.start()
        self.addCleanup(patched.stop)


class MotoContractTests(DispatcherContract, MotoTestCase):
    def make_harness(self) -> KinesisHarness:
        return KinesisHarness()


class Attempt:
    """A sink over the stub, for one test.

    :param environ: the environment variables that the sink itself reads.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, **settings: object) -> None:
        self.harness = KinesisHarness()
        self.log = ReadableLog()
        self.metrics = ReadableMetrics()
        self.settings = {**self.harness.settings(timeout_s=10, bounded=False), **settings}
        context = SinkContext(
            "kinesis", self.settings, self.harness.namespace, ("V", "alerts"), self.harness.reactor, self.metrics, self.log
        )
        self.sink = KinesisSink(context, environ=environ or {})

    async def __aenter__(self) -> "Attempt":
        await self.harness.set_up()
        await self.sink.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.harness.stub.release()
        await self.sink.stop()
        await self.harness.tear_down()

    async def readiness_settles(self) -> None:
        await until(lambda: "has not answered yet" not in str(self.sink.readiness()), 15)


class FaultTests(MotoTestCase):
    def test_refused_in_part(self) -> Deferred[None]:
        """Records that were not taken are sent again; each record arrives once, and has a receipt."""
        return Deferred.fromCoroutine(self._refused_in_part())

    async def _refused_in_part(self) -> None:
        async with Attempt() as attempt:
            attempt.harness.stub.partial_requests = 2
            records = [make_record(f"VIN{number % 40}", payload=b"%d" % number) for number in range(200)]
            outcomes = await attempt.sink.dispatch(records)
            self.assertEqual({type(outcome) for outcome in outcomes}, {Receipt})
            received = await attempt.harness.received(200)
            self.assertEqual(sorted(received), sorted((record.vin, record.payload) for record in records))
            self.assertEqual(attempt.harness.stub.records_per_request, [200, 67, 22])
            self.assertEqual(attempt.metrics.value("kinesis_publish_total", "V"), 200)
            self.assertEqual(attempt.metrics.value("kinesis_err", "V"), 0)

    def test_throttled(self) -> Deferred[None]:
        """A throttled request is sent again, in order; beyond ``max_retries`` its records are ``Retryable``."""
        return Deferred.fromCoroutine(self._throttled())

    async def _throttled(self) -> None:
        async with Attempt(max_retries=2) as attempt:
            attempt.harness.stub.throttled_requests = 2
            records = [make_record("VIN1", payload=b"%d" % number) for number in range(10)]
            outcomes = await attempt.sink.dispatch(records)
            self.assertEqual({type(outcome) for outcome in outcomes}, {Receipt})
            self.assertEqual([one.payload for one in await attempt.harness.received(10)], [one.payload for one in records])
            attempt.harness.stub.throttled_requests = 3
            outcomes = await attempt.sink.dispatch(records[:1])
            self.assertEqual([type(outcome) for outcome in outcomes], [Retryable])
            self.assertEqual(attempt.sink.readiness(), Ready())

    def test_pipelined(self) -> Deferred[None]:
        """Kinesis 20 ms away: one record after the other would take four seconds."""
        return Deferred.fromCoroutine(self._pipelined())

    async def _pipelined(self) -> None:
        async with Attempt() as attempt:
            await attempt.readiness_settles()
            attempt.harness.stub.delay_s = 0.02
            answers = [attempt.sink.dispatch([make_record(payload=b"%d" % number)]) for number in range(200)]
            await gatherResults(answers)
            self.assertEqual(attempt.harness.stub.records_per_request, [200])

    def test_missing_stream(self) -> Deferred[None]:
        """Not ready, with the name of the stream; the other stream works; ready once it is created."""
        return Deferred.fromCoroutine(self._missing_stream())

    async def _missing_stream(self) -> None:
        async with Attempt(streams={"alerts": f"late{time.time_ns()}"}) as attempt:
            late = attempt.settings["streams"]["alerts"]
            await attempt.readiness_settles()
            readiness = attempt.sink.readiness()
            assert isinstance(readiness, NotReady)
            self.assertIn(late, readiness.reason)
            self.assertIn("does not exist in eu-central-1", readiness.reason)
            outcomes = await attempt.sink.dispatch([make_record(), make_record(record_type="alerts")])
            self.assertIsInstance(outcomes[0], Receipt)
            self.assertIsInstance(outcomes[1], Retryable)
            attempt.harness.create(late)
            await until(lambda: attempt.sink.readiness() == Ready())
            self.assertEqual(attempt.sink.readiness(), Ready())

    def test_unusable_environment(self) -> Deferred[None]:
        """No region, no credentials, no server, an invalid endpoint: each is a reason with the remedy."""
        return Deferred.fromCoroutine(self._unusable_environment())

    async def _unusable_environment(self) -> None:
        region = {"AWS_DEFAULT_REGION": "eu-central-1"}
        moto_is_not = "http://127.0.0.1:9"
        for environ, settings, expected in (
            ({}, {}, "no AWS region: set AWS_REGION"),
            (region, {}, "no AWS credentials: set AWS_ACCESS_KEY_ID"),
            (CREDENTIALS, {"override_host": moto_is_not}, "Could not connect"),
            (CREDENTIALS, {"override_host": "kinesis example"}, "Invalid endpoint"),
        ):
            self.set_environment({**NO_FILES, **environ})
            async with Attempt(**settings) as attempt:
                await attempt.readiness_settles()
                readiness = attempt.sink.readiness()
                assert isinstance(readiness, NotReady)
                self.assertIn(expected, readiness.reason)
                (outcome,) = await attempt.sink.dispatch([make_record()])
                self.assertIsInstance(outcome, Retryable)
                self.assertIn(expected, str(outcome))

    def test_dies_mid_stream(self) -> Deferred[None]:
        """A record with a receipt is in the stream, whenever the connection was cut."""
        return Deferred.fromCoroutine(self._dies_mid_stream())

    async def _dies_mid_stream(self) -> None:
        async with Attempt(delivery_timeout_s=2) as attempt:
            payloads = await deliver_through_outage(attempt.sink, attempt.harness.stub)
            self.assertEqual(len(payloads), 600)
            self.assertEqual({one.payload for one in await attempt.harness.received(600)}, payloads)


class ReplacedCredentialsTests(MotoTestCase):
    def test_connections_of_a_replaced_client_are_closed(self) -> Deferred[None]:
        """Without the garbage collector: at once where no request is in flight; those of the new client by ``stop``."""
        gc.disable()
        self.addCleanup(gc.enable)
        return Deferred.fromCoroutine(self._connections_of_a_replaced_client())

    async def _connections_of_a_replaced_client(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "credentials")
            file.write_text("[default]\naws_access_key_id = first\naws_secret_access_key = secret\n")
            environ = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_DEFAULT_REGION": REGION}
            self.set_environment({**NO_FILES, **environ})
            async with Attempt(environ) as attempt:
                self.assertEqual([type(one) for one in await attempt.sink.dispatch([make_record()])], [Receipt])
                first = {*attempt.harness.stub.connections}
                self.assertNotEqual(first, set())
                file.write_text("[default]\naws_access_key_id = another\naws_secret_access_key = secret\n")
                self.assertEqual(attempt.sink.reload(), [str(file)])
                self.assertTrue(await until(lambda: first.isdisjoint(attempt.harness.stub.connections)))
                self.assertEqual([type(one) for one in await attempt.sink.dispatch([make_record()])], [Receipt])
                await attempt.sink.stop()
                self.assertTrue(await until(lambda: not attempt.harness.stub.connections))


class ConsumerTests(MotoTestCase):
    def test_golden_vectors(self) -> Deferred[None]:
        """The records in the streams, for every case."""
        return Deferred.fromCoroutine(self._golden_vectors())

    async def _golden_vectors(self) -> None:
        harness = KinesisHarness()
        cases = [case for case in dispatch_cases(VECTORS, "kinesis") if case["device_id"]]
        expected = []
        by_where: dict = {}
        for case in cases:
            where = case["namespace"], json.dumps(case["streams"]), json.dumps(case["env"])
            by_where.setdefault(where, []).append(case)
            (put,) = [one["body"] for one in case["requests"] if one["target"].endswith("PutRecord")]
            expected.append((put["StreamName"], put["PartitionKey"], record_of(case).payload))
        streams = {stream for stream, _, _ in expected}
        for stream in streams:
            harness.create(stream)
        try:
            for (namespace, _, _), group in by_where.items():
                settings = {**harness.settings(timeout_s=10, bounded=False), "streams": group[0]["streams"]}
                types = tuple({case["type"] for case in group})
                with patch.dict(os.environ, group[0]["env"]):
                    sink = KINESIS.make(
                        SinkContext("kinesis", settings, namespace, types, harness.reactor, ReadableMetrics(), ReadableLog())
                    )
                await sink.start()
                outcomes = await sink.dispatch([record_of(case) for case in group])
                self.assertEqual({type(outcome) for outcome in outcomes}, {Receipt})
                await sink.stop()
            got = [tuple(record) for stream in streams for record in consume(harness.reader, stream)]
        finally:
            await harness.tear_down()
        self.assertEqual(sorted(got), sorted(expected))

    def test_example(self) -> Deferred[None]:
        """The example of the documentation shows the signals of vehicles."""
        return Deferred.fromCoroutine(self._example())

    async def _example(self) -> None:
        async with Attempt() as attempt:
            datum = Datum(key=Field.VehicleSpeed, value=Value(string_value="62.5"))
            records = [make_record(f"VIN{number}", payload=Payload(data=[datum]).SerializeToString()) for number in range(3)]
            await attempt.sink.dispatch(records)
            process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        str(EXAMPLE),
                        f"{attempt.harness.namespace}_V",
                        "--from-the-beginning",
                        "--count",
                        "3",
                    ),
                    *("--endpoint-url", f"http://{attempt.harness.moto.address}"),
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                output, _ = await threads.deferToThread(process.communicate, None, 20)
            finally:
                process.kill()
                process.wait()
            lines = [f'VIN{number} VehicleSpeed string_value: "62.5"' for number in range(3)]
            self.assertEqual(sorted(output.splitlines()), lines)
            self.assertEqual(process.returncode, 0)
