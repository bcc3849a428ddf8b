"""Credentials of a file that is replaced while the gateway runs: boto3 reads it once for each client."""

import json
import os
import tempfile
from pathlib import Path
from unittest import mock

from botocore.awsrequest import AWSRequest, AWSResponse
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.kinesis.client import BotoClient
from fleetgw.adapters.sinks.kinesis.settings import KinesisSettings, credential_files
from fleetgw.adapters.sinks.kinesis.sink import KinesisSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.request_errors import Unauthenticated
from fleetgw.domain.ports import RECEIPT, IReloadable, NotReady, Ready
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.support.workers import InlineWorker


class _Body:
    def __init__(self, body: bytes) -> None:
        self.body = body

    def stream(self, *_: object, **__: object):
        yield self.body


class CredentialTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name, "credentials")
        self.environ = {
            "AWS_SHARED_CREDENTIALS_FILE": str(self.file),
            "AWS_CONFIG_FILE": str(Path(folder.name, "config")),
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        patch = mock.patch.dict(os.environ, self.environ, clear=True)
        patch.start()
        self.addCleanup(patch.stop)
        self.valid = "FIRST"
        self.code = "ExpiredTokenException"
        self.asked: list[str] = []
        self.give("FIRST")

    def give(self, key: str) -> None:
        self.file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret-of-{key}\n")

    def make_client(self, settings: KinesisSettings) -> BotoClient:
        client = BotoClient(settings)
        client._client.meta.events.register("before-send.kinesis", self.service)
        return client

    def service(self, request: AWSRequest, **_: object) -> AWSResponse:
        authorization = request.headers["Authorization"]
        key = (
            (authorization if isinstance(authorization, str) else authorization.decode())
            .split("Credential=")[1]
            .split("/")[0]
        )
        self.asked.append(key)
        if key != self.valid:
            body = {"__type": self.code, "message": "no"}
            return AWSResponse(request.url, 400, {}, _Body(json.dumps(body).encode()))
        count = len(json.loads(request.body).get("Records", ()))
        answer = {
            "Records": [{"ShardId": "s", "SequenceNumber": "1"}] * count,
            "StreamDescriptionSummary": {"StreamStatus": "ACTIVE"},
        }
        return AWSResponse(request.url, 200, {}, _Body(json.dumps(answer).encode()))

    def start(self) -> None:
        self.clock = ThreadlessReactor()
        self.log = ReadableLog()
        context = SinkContext("kinesis", {}, "fleet", ("V",), self.clock, ReadableMetrics(), self.log)
        self.sink = KinesisSink(context, self.make_client, InlineWorker, self.environ)
        self.sink.start()
        self.clock.advance(0)

    def outcome(self):
        answer = self.sink.dispatch([make_record()])
        self.clock.pump([0.01] * 3)
        (outcome,) = self.successResultOf(answer)
        return outcome

    def test_an_expired_key_is_read_again(self) -> None:
        self.start()
        self.assertTrue(IReloadable.providedBy(self.sink))
        self.assertEqual(self.outcome(), RECEIPT)
        for code in ("ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"):
            with self.subTest(code):
                self.code = code
                self.valid = f"AFTER{code.upper()}"
                self.assertIsInstance(self.outcome(), Unauthenticated)
                self.assertIsInstance(self.sink.readiness(), NotReady)
                self.give(self.valid)
                self.asked.clear()
                self.clock.pump([0.1] * 10)
                self.assertEqual(self.sink.readiness(), Ready())
                self.assertEqual(set(self.asked), {self.valid})
                self.assertEqual(self.outcome(), RECEIPT)
        self.assertEqual(self.log.fields_of("credentials_reloaded")[0]["files"], [str(self.file)])

    def test_a_changed_file_is_read_before_the_old_key_expires(self) -> None:
        self.start()
        self.assertEqual(self.sink.reload(), [])
        self.give("SECOND")
        self.valid = "SECOND"
        self.assertEqual(self.sink.reload(), [str(self.file)])
        self.clock.advance(0)
        self.assertEqual(self.outcome(), RECEIPT)

    def test_a_file_that_appears_later(self) -> None:
        self.file.unlink()
        self.start()
        self.assertIsInstance(self.outcome(), Unauthenticated)
        self.give("FIRST")
        self.clock.pump([0.1] * 12)
        self.assertEqual(self.outcome(), RECEIPT)

    def test_files(self) -> None:
        home = Path("~").expanduser()
        self.assertEqual(credential_files({}), [home / ".aws/config", home / ".aws/credentials"])
        self.assertIn(Path("/t"), credential_files({"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}))
