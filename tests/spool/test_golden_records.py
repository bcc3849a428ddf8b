"""The records of the golden vectors, written and read again: sinks make the same of them as of those that vehicles send."""

import json
from pathlib import Path
from typing import Any
from unittest import TestCase

from google.protobuf.message import Message

from fleetgw.adapters.codec import RecordCodec
from fleetgw.adapters.sinks.logger.data import RecordData
from fleetgw.adapters.sinks.mqtt.messages import MessageWriter
from fleetgw.adapters.spool.record_format import RecordDecoder, RecordEncoder
from fleetgw.domain.errors import PeerError, Rejected
from fleetgw.domain.ports import ConnectivityStatus
from fleetgw.domain.records import Envelope, PeerIdentity, Record, Vehicle, ordering_key
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.spool_case import all_of

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "records.json").read_text())["cases"]
RECEIVED_AT_MS = 1_764_000_000_123


def record_of(codec: RecordCodec, case: dict[str, Any]) -> Record | None:
    """None for a payload that makes no record."""
    vehicle = Vehicle(PeerIdentity("vehicle_device", case["device_id"]), case["device_id"], "id", "1.2.3", "wifi")
    txid = case["txid"].encode() if isinstance(case["txid"], str) else bytes.fromhex(case["txid"]["hex"])
    envelope = Envelope(4, True, txid, case["type"].encode(), b"", bytes.fromhex(case["payload"]))
    try:
        return codec.read_record(case["type"], envelope, vehicle, RECEIVED_AT_MS)
    except PeerError:
        return None


def used(record: Record) -> dict[str, object]:
    """All of a record that sinks use, and what two sinks make of its content."""
    content = record.content
    return {
        "fields": [each for each in all_of(record) if each is not content],
        "content": type(content),  # its bytes, as no NaN equals another one
        "content bytes": content.SerializeToString(deterministic=True) if isinstance(content, Message) else content,
        "metadata": record.metadata(),
        "key": ordering_key(record),
        "mqtt": published(record),
        "logger": json.dumps(RecordData(ReadableLog(), verbose=True).of(record), sort_keys=True, default=repr),
    }


def published(record: Record) -> object:
    try:
        return MessageWriter("telemetry").messages(record)
    except Rejected as error:
        return str(error)


class GoldenRecordTests(TestCase):
    def test_read_back_is_as_received(self) -> None:
        for as_json in (False, True):
            codec = RecordCodec(transmit_decoded_records=as_json)
            records = [record for case in CASES if (record := record_of(codec, case)) is not None]
            vehicle = records[0].vehicle
            records += [codec.connectivity(vehicle, status, RECEIVED_AT_MS * 1_000_000) for status in ConnectivityStatus]
            self.assertGreater(len(records), 600)
            for record in records:
                with self.subTest(record.txid, as_json=as_json):
                    stored = RecordEncoder(json_payloads=as_json).encode(7, record)
                    read = RecordDecoder().decode(7, stored, (record.record_type,))
                    assert read is not None
                    self.assertEqual(used(read), used(record))
