"""Messages of the golden vectors, and the environment."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.pubsub.publisher import publish_request
from fleetgw.adapters.sinks.pubsub.settings import PubsubSettings
from fleetgw.adapters.sinks.pubsub.sink import PubsubSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import ConfigurationError
from fleetgw.domain.ports import RECEIPT, Outcome
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.support.record_vectors import RECEIVED_AT_MS, dispatch_cases, record_of
from tests.support.workers import InlineWorker

VECTORS = Path(__file__).parents[2] / "vectors"
DIFFERENCES = {case["name"]: case for case in json.loads((VECTORS / "pubsub_differences.json").read_text())["cases"]}


class ListeningPublisher:
    """Makes requests and sends none."""

    def __init__(self, settings: PubsubSettings) -> None:
        self.ordering = settings.ordering
        self.requests: list = []

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        self.requests.append(publish_request(destination, records, ordering=self.ordering))
        done([RECEIPT] * len(records))

    def fault(self, destination: str) -> None:
        return None

    def close(self) -> None:
        pass


def context_of(namespace: str, record_type: str, **settings: object) -> SinkContext:
    return SinkContext("pubsub", settings, namespace, (record_type,), ThreadlessReactor(), ReadableMetrics(), ReadableLog())


class VectorTests(SynchronousTestCase):
    def test_messages(self) -> None:
        """Topic, data, attributes and ordering key of every case; every difference is intended."""
        cases = dispatch_cases(VECTORS / "dispatch.json", "pubsub")
        self.assertGreater(len(cases), 10)
        differing = set()
        for case in cases:
            context = context_of(case["namespace"], case["type"], gcp_project_id=case["gcp_project_id"])
            (expected,) = case["messages"]
            request = self._request(context, record_of(case))
            (message,) = request.messages
            self.assertEqual(request.topic, case["topic"], case["name"])
            attributes = {**expected["attributes"], "receivedat": str(RECEIVED_AT_MS)}
            self.assertEqual(dict(message.attributes), attributes, case["name"])
            self.assertEqual(message.ordering_key, expected["ordering_key"])
            same = (
                message.data.hex() == expected["data"]
                if "data" in expected
                else json.loads(message.data) == json.loads(expected["data_json"])
            )
            if not same:
                differing.add(case["name"])
                self.assertEqual(message.data.hex(), DIFFERENCES[case["name"]]["data"])
        self.assertEqual(differing, DIFFERENCES.keys())

    def _request(self, context: SinkContext, record: Record):
        publishers = []

        def make_publisher(settings: PubsubSettings, created: Callable[[str], None]) -> ListeningPublisher:
            publishers.append(ListeningPublisher(settings))
            return publishers[0]

        sink = PubsubSink(context, make_publisher, InlineWorker, environ={})
        sink.start()
        answer = sink.dispatch([record])
        context.reactor.pump([0.01] * 5)
        self.assertEqual(self.successResultOf(answer), [RECEIPT])
        self.successResultOf(sink.stop())
        (request,) = publishers[0].requests
        return request

    def test_text_that_is_no_utf8(self) -> None:
        """Attributes are text: bytes that are no UTF-8 are replaced."""
        record = make_record(txid="tx\udcff", device_client_version="1\udc80")
        request = self._request(context_of("ns", "V", gcp_project_id="p"), record)
        (message,) = request.messages
        self.assertEqual(message.attributes["txid"], "tx\N{REPLACEMENT CHARACTER}")
        self.assertEqual(message.attributes["device_client_version"], "1?")

    def test_environment(self) -> None:
        """An emulator and credentials are a contradiction; each problem names the setting."""
        both = {"PUBSUB_EMULATOR_HOST": "127.0.0.1:1", "GOOGLE_APPLICATION_CREDENTIALS": "key.json"}
        with self.assertRaises(ConfigurationError) as caught:
            PubsubSink(context_of("ns", "V", gcp_project_id="p"), environ=both)
        self.assertIn("both PUBSUB_EMULATOR_HOST and GOOGLE_APPLICATION_CREDENTIALS", str(caught.exception))
        with self.assertRaises(ConfigurationError) as caught:
            PubsubSink(context_of("ns", "V"), environ={})
        self.assertIn("pubsub.gcp_project_id", str(caught.exception))
