"""The golden vectors of envelopes through a whole session, replies byte for byte.

The deliberate differences are those of ``vectors/differences.json``, as in the codec's own tests.
"""

import hashlib
import json
from pathlib import Path
from typing import Any
from unittest import TestCase

from fleetgw.adapters.codec.codec import RecordCodec
from fleetgw.adapters.codec.envelope import read_usual
from fleetgw.adapters.ingress.fast_frames import binary_frame_header
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.metrics.null import NullMetrics
from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.app.pipeline.gateway import Gateway, GatewaySettings
from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.app.pipeline.routes import TypeRoutes
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.records import Envelope, PeerIdentity, Vehicle
from fleetgw.domain.routing import build_routes
from fleetgw.testing.sink_doubles import ThreadlessReactor
from tests.support.recording_link import Link

VECTORS = Path(__file__).parents[1] / "vectors"
FILE: dict[str, Any] = json.loads((VECTORS / "envelopes.json").read_text())
ACKED_ONCE = {
    difference["event"]
    for difference in json.loads((VECTORS / "differences.json").read_text())
    if difference["file"] == "envelopes.json" and difference["ours"].get("acked_once")
}


def message_of(case: dict[str, Any]) -> bytes:
    if "in" in case:
        return bytes.fromhex(case["in"])
    return b"".join(bytes.fromhex(part) * repeat for part, repeat in case["in_rle"])


def payload_form(payload: bytes) -> object:
    if len(payload) > 10_000:
        return {"sha256": hashlib.sha256(payload).hexdigest(), "len": len(payload)}
    return payload.hex()


def framed(envelope: bytes) -> bytes:
    return binary_frame_header(len(envelope)) + envelope


def dispatched_of(case: dict[str, Any]) -> list[tuple[str, bytes, object]]:
    return [(each["topic"], raw(each["txid"]), each["payload"] or "") for each in case["dispatched"]]


def raw(text: str | dict[str, str]) -> bytes:
    return text.encode() if isinstance(text, str) else bytes.fromhex(text["hex"])


def replies_of(case: dict[str, Any]) -> bytes:
    once = not ACKED_ONCE.isdisjoint(case["log_events"])
    replies = case["replies"][:1] if once else case["replies"]
    return b"".join(framed(bytes.fromhex(reply)) for reply in replies)


class SessionVectorTests(TestCase):
    def setUp(self) -> None:
        self.reactor = ThreadlessReactor()
        types, metrics, log = tuple(FILE["routed_types"]), NullMetrics(), NullLog()
        self.sink = MemorySink(SinkContext("memory", {}, "vectors", types, self.reactor, metrics, log))
        self.sink.start()
        limits, timing = BacklogLimits(10_000, 1 << 30, 10_000, 10_000), LaneTiming(0.005, 0.5, 30.0, 10.0)
        lane = Lane(self.sink, limits, timing, self.reactor, metrics, log)
        gateway = Gateway(
            settings=GatewaySettings(RecordCodec(transmit_decoded_records=False), max_message_bytes=1_000_000),
            routes=TypeRoutes(build_routes({each: ["memory"] for each in types}, {}), {"memory": lane}, metrics),
            metrics=metrics,
            log=log,
            clock=self.reactor,
            wall_ns=lambda: 1_764_000_000_000_000_000,
        )
        vehicle = Vehicle(PeerIdentity("vehicle_device", FILE["device_id"]), FILE["device_id"], "id")
        self.link = Link()
        self.session = gateway.connected(vehicle, self.link)
        self.reactor.advance(1)
        self.sink.received.clear()  # the record of the connection

    def answers(self, *messages: Envelope | bytes) -> bytes:
        self.session.received(messages)
        replies, self.link.sent = self.link.sent, []
        return b"".join(replies)

    def dispatched(self) -> list[tuple[str, bytes, object]]:
        self.reactor.advance(0.005)
        taken = [(record.record_type, record.txid, payload_form(record.payload)) for record in self.sink.received]
        self.sink.received.clear()
        return taken

    def test_every_case_by_itself(self) -> None:
        for case in FILE["cases"]:
            with self.subTest(case["name"]):
                self.assertEqual(self.answers(message_of(case)).hex(), replies_of(case).hex())
                self.assertEqual(self.dispatched(), dispatched_of(case))

    def test_all_cases_in_one_read(self) -> None:
        cases = FILE["cases"]
        replies = self.answers(*map(message_of, cases))
        self.assertEqual(replies, b"".join(map(replies_of, cases)))
        self.assertEqual(self.dispatched(), [record for case in cases for record in dispatched_of(case)])

    def test_envelopes_that_ingress_has_read(self) -> None:
        """The same as of bytes, in one read with those messages that stay bytes."""
        cases = FILE["cases"]
        messages = [read_usual(message) or message for message in map(message_of, cases)]
        self.assertEqual({type(message) for message in messages}, {Envelope, bytes})
        self.assertEqual(self.answers(*messages), b"".join(map(replies_of, cases)))
        self.assertEqual(self.dispatched(), [record for case in cases for record in dispatched_of(case)])
