"""Requests and stream names of the golden vectors."""

import base64
import json
import os
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.kinesis.client import BotoClient
from fleetgw.adapters.sinks.kinesis.settings import KinesisSettings, read_settings
from fleetgw.adapters.sinks.kinesis.sink import KinesisSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import RECEIPT
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor
from tests.support.record_vectors import dispatch_cases, record_of
from tests.support.workers import InlineWorker

VECTORS = Path(__file__).parents[2] / "vectors"
DISPATCH = VECTORS / "dispatch.json"
DIFFERENCES = {case["name"]: case for case in json.loads((VECTORS / "kinesis_differences.json").read_text())["cases"]}
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_DEFAULT_REGION": "eu-central-1"}


class Answer:
    """The part of botocore's ``AWSResponse`` that is read."""

    headers: dict[str, str] = {}
    status_code = 200

    def __init__(self, content: bytes) -> None:
        self.content = content


class ListeningClient(BotoClient):
    """boto3's client; its requests end before the network."""

    def __init__(self, settings: KinesisSettings) -> None:
        super().__init__(settings)
        self.bodies: list[dict] = []
        self._client.meta.events.register("before-send.kinesis", self._answer)

    def _answer(self, request, **_: object) -> Answer:
        target = request.headers["X-Amz-Target"].decode()
        body = json.loads(request.body)
        if target == "Kinesis_20131202.DescribeStreamSummary":
            return Answer(b'{"StreamDescriptionSummary":{"StreamStatus":"ACTIVE"}}')
        if target != "Kinesis_20131202.PutRecords":
            raise AssertionError(target)
        self.bodies.append(body)
        records = [{"SequenceNumber": "1", "ShardId": "shardId-000000000000"}] * len(body["Records"])
        return Answer(json.dumps({"FailedRecordCount": 0, "Records": records}).encode())


class VectorTests(SynchronousTestCase):
    def test_requests(self) -> None:
        """Stream, partition key and data of every case; every difference is intended."""
        cases = dispatch_cases(DISPATCH, "kinesis")
        self.assertGreater(len(cases), 10)
        differing = set()
        with patch.dict(os.environ, ENVIRONMENT):
            for case in cases:
                if case["device_id"] == "":
                    continue  # refused by the Go server's library; here every vehicle has a name
                (expected,) = [one["body"] for one in case["requests"] if one["target"].endswith("PutRecord")]
                sent = self._sent(case)
                (ours,) = sent["Records"]
                where = sent["StreamName"], ours["PartitionKey"]
                self.assertEqual(where, (expected["StreamName"], expected["PartitionKey"]), case["name"])
                if self._differs(ours["Data"], expected["Data"]):
                    differing.add(case["name"])
                    self.assertEqual(ours["Data"], DIFFERENCES[case["name"]]["data"])
        self.assertEqual(differing, DIFFERENCES.keys())

    def _differs(self, ours: str, expected: str | dict) -> bool:
        if isinstance(expected, str):
            return ours != expected
        return json.loads(base64.b64decode(ours)) != json.loads(expected["base64_of_json"])

    def _sent(self, case: dict) -> dict:
        clients: list[ListeningClient] = []

        def make_client(settings: KinesisSettings) -> ListeningClient:
            clients.append(ListeningClient(settings))
            return clients[0]

        reactor = ThreadlessReactor()
        context = SinkContext(
            "kinesis",
            {"streams": case["streams"]},
            case["namespace"],
            (case["type"],),
            reactor,
            ReadableMetrics(),
            ReadableLog(),
        )
        sink = KinesisSink(context, make_client, InlineWorker, environ=case["env"])
        sink.start()
        answer = sink.dispatch([record_of(case)])
        reactor.pump([0.01] * 5)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.successResultOf(sink.stop())
        (body,) = clients[0].bodies
        return body

    def test_stream_names(self) -> None:
        """By the environment, the configuration, or the namespace."""
        cases = [case for case in json.loads(DISPATCH.read_text())["cases"] if "resolved" in case]
        self.assertGreater(len(cases), 40)
        for case in cases:
            settings = {"streams": case["streams"]} if case["kinesis_section"] else {}
            context = SinkContext(
                "kinesis",
                settings,
                case["namespace"],
                tuple(case["record_types"]),
                ThreadlessReactor(),
                ReadableMetrics(),
                ReadableLog(),
            )
            self.assertEqual(read_settings(context, case["env"]).streams, case["resolved"], case["name"])
