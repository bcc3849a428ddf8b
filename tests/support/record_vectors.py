"""Cases of the golden vectors as records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any  # Any: JSON

from fleetgw.adapters.codec import RecordCodec
from fleetgw.domain.records import Envelope, MessageType, PeerIdentity, Record, Vehicle

if TYPE_CHECKING:
    from pathlib import Path

RECEIVED_AT_MS = 1_764_000_000_123


def dispatch_cases(vectors: Path, sink: str) -> list[dict[str, Any]]:
    """The cases of one sink in ``dispatch.json`` that hold a record."""
    return [case for case in json.loads(vectors.read_text())["cases"] if case["sink"] == sink and "payload" in case]


def record_of(case: dict[str, Any]) -> Record:
    """A case's record, as a sink gets it, received at ``RECEIVED_AT_MS``; not every file has txids and versions."""
    vin = case["device_id"]
    vehicle = Vehicle(PeerIdentity("vehicle_device", vin), vin, "connection", case.get("version", "1.2.3"))
    envelope = Envelope(
        message_type=MessageType.STREAM.value,
        has_message=True,
        txid=case.get("txid", "tx-1").encode(),
        topic=case["type"].encode(),
        sender_id=b"",
        payload=bytes.fromhex(case["payload"]),
    )
    codec = RecordCodec(transmit_decoded_records=case.get("transmit_decoded_records", False))
    return codec.read_record(case["type"], envelope, vehicle, RECEIVED_AT_MS)
