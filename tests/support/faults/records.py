"""Records whose payload follows from their id, so that a delivered one can be checked by itself."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from fleetgw.adapters.codec import envelope
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Field, Payload, Value

CUSTOM_TYPE = "notes"
"""A record type of the tests' own, whose payloads the gateway passes on as they are."""

_MAX_REPETITIONS = 10


class Delivered(NamedTuple):
    """A record as a consumer of a destination has got it."""

    txid: bytes
    vin: str
    record_type: str
    payload: bytes


def payload_of(txid: bytes, vin: str, record_type: str) -> bytes:
    """The payload of a record: 64 to 640 characters that only this id gives, in ``V`` as a signal."""
    digest = sha256(txid)
    text = digest.hexdigest() * (1 + digest.digest()[0] % _MAX_REPETITIONS)
    if record_type != "V":
        return text.encode()
    return Payload(vin=vin, data=[Datum(key=Field.VehicleName, value=Value(string_value=text))]).SerializeToString()


def message(txid: bytes, vin: str, record_type: str, payload: bytes | None = None) -> bytes:
    """The envelope of a record.

    :param payload: None for the one that follows from the id.
    """
    return envelope.write_stream(
        txid=txid,
        topic=record_type.encode(),
        sender_id=b"vehicle_device." + vin.encode(),
        payload=payload_of(txid, vin, record_type) if payload is None else payload,
        created_at_s=1,
        device_type=b"vehicle_device",
        device_id=vin.encode(),
    )


def is_whole(record: Delivered) -> bool:
    """Whether vehicle and payload are those of the record's id, which begins with the vehicle's VIN."""
    expected = payload_of(record.txid, record.vin, record.record_type)
    if record.txid.partition(b"-")[0] != record.vin.encode():
        return False
    if record.record_type == "V" and record.payload != expected:
        return Payload.FromString(record.payload) == Payload.FromString(expected)
    return record.payload == expected


def frame(content: bytes, first: int = 0x82) -> bytes:
    """A masked frame, with a mask of zero bytes; by default a whole binary message."""
    size = len(content)
    if size < 126:
        return bytes((first, 0x80 | size)) + bytes(4) + content
    if size < 0x10000:
        return bytes((first, 0xFE)) + size.to_bytes(2) + bytes(4) + content
    return bytes((first, 0xFF)) + size.to_bytes(8) + bytes(4) + content
