"""``gateway_status`` records: their payload in both forms, and the way back from the spool."""

from __future__ import annotations

from unittest import TestCase

from google.protobuf.json_format import Parse

from fleetgw.adapters.codec.codec import RecordCodec
from fleetgw.adapters.codec.contents import PARSERS, content_to_bytes
from fleetgw.adapters.codec.generated.gateway_status_pb2 import GatewayStatus as StatusMessage
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.sinks.logger.data import RecordData
from fleetgw.adapters.sinks.mqtt.messages import MessageWriter
from fleetgw.adapters.spool.record_format import RecordDecoder, RecordEncoder
from fleetgw.domain.gateway_status import GATEWAY_STATUS, GatewayStatus, RecordTypeStatus, SinkStatus, SpoolStatus
from fleetgw.domain.records import PeerIdentity, Record, Vehicle

GATEWAY = Vehicle(PeerIdentity("gateway", "gw-1-example-com"), "gw-1-example-com", "11111111-2222-3333-4444-555555555555")
STATUS = GatewayStatus(
    host="gw-1.example.com",
    version="1.2.3",
    uptime_s=3600,
    health="degraded",
    reasons=["kafka is not ready"],
    vehicles=2,
    connections=3,
    paused=1,
    records=[RecordTypeStatus("V", 100, 90, 2.5, 2.0, 400)],
    sinks=[SinkStatus("kafka", "not_ready", "no broker", 10, 1000, 80, 0.0, 5, 1)],
    is_balanced=True,
    lost=0,
    spool=SpoolStatus(4096, 1_000_000, 7),
)
NOW_NS = 1_764_000_000_123_000_000

GOLDEN_JSON = (
    '{"host":"gw-1.example.com","instanceId":"11111111-2222-3333-4444-555555555555","version":"1.2.3",'
    '"createdAt":"2025-11-24T16:00:00.123Z","uptimeS":"3600",'
    '"health":{"state":"degraded","reasons":["kafka is not ready"]},'
    '"vehicles":{"connected":"2","connections":"3","paused":"1"},'
    '"records":[{"recordType":"V","receivedTotal":"100","ackedTotal":"90","receivedPerS":2.5,"ackedPerS":2,'
    '"signalsTotal":"400"}],'
    '"sinks":[{"name":"kafka","state":"not_ready","reason":"no broker","held":"10","capacity":"1000",'
    '"deliveredTotal":"80","deliveredPerS":0,"retriedTotal":"5","deadLettersTotal":"1"}],'
    '"ledger":{"balanced":true,"lost":"0"},"spool":{"sizeBytes":"4096","maxBytes":"1000000","unread":"7"}}'
)
GOLDEN_PROTOBUF = (
    "0a1067772d312e6578616d706c652e636f6d122431313131313131312d323232322d333333332d343434342d353535353535353535353535"
)
"""The first two fields; consumers rely on the field numbers."""


def record(*, as_json: bool = False) -> Record:
    return RecordCodec(transmit_decoded_records=as_json).gateway_status(GATEWAY, STATUS, "tx-1", NOW_NS)


class GatewayStatusTests(TestCase):
    def test_the_payload_as_protobuf(self) -> None:
        made = record()
        self.assertEqual(made.record_type, GATEWAY_STATUS)
        self.assertEqual((made.txid, made.vehicle, made.received_at_ms), (b"tx-1", GATEWAY, NOW_NS // 1_000_000))
        self.assertTrue(made.payload.hex().startswith(GOLDEN_PROTOBUF))
        self.assertEqual(StatusMessage.FromString(made.payload), made.content)

    def test_the_payload_as_json(self) -> None:
        made = record(as_json=True)
        self.assertEqual(made.payload.decode(), GOLDEN_JSON)
        self.assertEqual(Parse(made.payload, StatusMessage()), made.content)

    def test_the_spool_gives_it_back(self) -> None:
        self.assertIn(GATEWAY_STATUS, PARSERS)
        for as_json in (False, True):
            made = record(as_json=as_json)
            read = RecordDecoder().decode(7, RecordEncoder(json_payloads=as_json).encode(7, made), (GATEWAY_STATUS,))
            assert read is not None
            self.assertEqual((read.payload, read.content, read.vin), (made.payload, made.content, made.vin))
            self.assertEqual(content_to_bytes(read.content), content_to_bytes(made.content))

    def test_the_logger_writes_its_json_form(self) -> None:
        data = RecordData(NullLog(), verbose=True).of(record())
        assert isinstance(data, dict)
        self.assertEqual((data["host"], data["health"]["state"]), ("gw-1.example.com", "degraded"))

    def test_mqtt_publishes_it_as_one_message(self) -> None:
        (message,) = MessageWriter("fleet").messages(record())
        self.assertEqual((message.topic, message.body.decode()), (b"fleet/gw-1-example-com/gateway_status", GOLDEN_JSON))
