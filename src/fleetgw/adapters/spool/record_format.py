"""Records as bytes, version 1: all that a record needs to be delivered after a restart, under a CRC32C.

All numbers are little-endian. Text is UTF-8, surrogates included. A record is::

    crc32c                uint32, of everything behind this field
    position              int64
    received_at_ms        int64
    cost_bytes            uint64
    signals, elements     uint32 each
    sizes in bytes        uint32 each: vehicle, record type, txid, unknown values, payload, content
    flags                 uint8: 1: the record has a content; 2: that content follows, otherwise it is the payload; 4: it
                          is a dead letter
    vehicle               uint32 each: sizes of client type, device id, vin, connection id, device client version, network
                          interface; then these texts
    record type, txid, unknown values (a JSON array, or nothing), payload, content
    dead_since_ms, reason of a dead letter: int64, text

Several records are stored together, as a block::

    crc32c                uint32, of the first record's position (int64) and the next two fields
    count                 uint32
    sizes                 uint32 each: of the records
    records
"""

import json
from collections.abc import Container, Iterator, Sequence
from struct import Struct, error, pack, unpack_from

from crc32c import crc32c
from google.protobuf.message import DecodeError

from fleetgw.adapters.codec.contents import PARSERS, content_to_bytes
from fleetgw.domain.dead_letter import DeadLetter, dead_letter
from fleetgw.domain.records import PeerIdentity, Record, Vehicle

VERSION = 1

_CRC = Struct("<I")
_POSITION = Struct("<q")
_HEAD = Struct("<qqQIIIIIIIIB")
_VEHICLE = Struct("<IIIIII")
_BLOCK = Struct("<II")
_DEAD_SINCE = Struct("<q")

KNOWN_VEHICLES = 10_000
"""Vehicles whose bytes are kept, as the next record of one of them needs them again."""

_HAS_CONTENT = 1
_CONTENT_FOLLOWS = 2
_IS_DEAD_LETTER = 4


class Damaged(Exception):
    """The bytes are not what was written."""


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _to_text(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")


class RecordEncoder:
    """Turns records into bytes.

    :param json_payloads: the payloads of the known types are JSON, so that the content is stored beside them.
    """

    def __init__(self, *, json_payloads: bool) -> None:
        self._json_payloads = json_payloads
        self._vehicles: dict[Vehicle, bytes] = {}

    def encode(self, position: int, record: Record) -> bytes:
        """The bytes of one record."""
        vehicle = self._vehicles.get(record.vehicle) or self._encode_vehicle(record.vehicle)
        record_type = record.record_type.encode("utf-8", "surrogatepass")
        unknown_values = json.dumps(record.unknown_values).encode() if record.unknown_values else b""
        content, flags = b"", 0
        if record.decode is not None or record.content is not None:
            flags = _HAS_CONTENT
            if self._json_payloads:
                flags |= _CONTENT_FOLLOWS
                content = content_to_bytes(record.content)
        death = b""
        if isinstance(record, DeadLetter):
            flags |= _IS_DEAD_LETTER
            death = _DEAD_SINCE.pack(record.dead_since_ms) + _to_bytes(record.reason)
        txid, payload = record.txid, record.payload
        head = _HEAD.pack(
            position,
            record.received_at_ms,
            record.cost_bytes,
            record.signals,
            record.elements,
            len(vehicle),
            len(record_type),
            len(txid),
            len(unknown_values),
            len(payload),
            len(content),
            flags,
        )
        body = b"".join((head, vehicle, record_type, txid, unknown_values, payload, content, death))
        return _CRC.pack(crc32c(body)) + body

    def _encode_vehicle(self, vehicle: Vehicle) -> bytes:
        identity = vehicle.identity
        texts = [
            _to_bytes(text)
            for text in (
                identity.client_type,
                identity.device_id,
                vehicle.vin,
                vehicle.connection_id,
                vehicle.device_client_version,
                vehicle.network_interface,
            )
        ]
        if len(self._vehicles) >= KNOWN_VEHICLES:
            self._vehicles.clear()
        encoded = self._vehicles[vehicle] = _VEHICLE.pack(*map(len, texts)) + b"".join(texts)
        return encoded


class RecordDecoder:
    """Turns bytes into records. Records of one connection that are read by one decoder share their ``Vehicle``."""

    def __init__(self) -> None:
        self._vehicles: dict[bytes, Vehicle] = {}

    def decode(self, position: int, stored: bytes, record_types: Container[str]) -> Record | None:
        """The record, or None when it is of another type.

        :raises Damaged: the bytes are not those that were written at this position.
        """
        body = memoryview(stored)[_CRC.size :]
        try:
            if _CRC.unpack_from(stored)[0] != crc32c(body):
                raise Damaged(f"record {position} does not match its checksum")
            stored_position, received_at_ms, cost_bytes, signals, elements, *sizes, flags = _HEAD.unpack_from(body)
            end = _HEAD.size + sum(sizes) if flags & _IS_DEAD_LETTER else len(body)
            parts = [bytes(part) for part in _split(body[:end], _HEAD.size, sizes)]
            if stored_position != position:
                raise Damaged(f"record {stored_position} is in the place of {position}")
            vehicle_bytes, type_bytes, txid, unknown_values, payload, content_bytes = parts
            record_type = _to_text(type_bytes)
            if record_type not in record_types:
                return None
            vehicle = self._vehicles.get(vehicle_bytes) or self._decode_vehicle(vehicle_bytes)
            decode = PARSERS[record_type] if flags & _HAS_CONTENT else None
            content = None
            if decode is not None and flags & _CONTENT_FOLLOWS:
                content, decode = decode(content_bytes), None
            unknown = tuple(json.loads(unknown_values)) if unknown_values else ()
            record = Record(
                record_type,
                txid,
                vehicle,
                payload,
                received_at_ms,
                content,
                signals,
                unknown,
                elements,
                cost_bytes,
                decode,
            )
            if flags & _IS_DEAD_LETTER:
                (dead_since_ms,) = _DEAD_SINCE.unpack_from(body, end)
                return dead_letter(record, _to_text(bytes(body[end + _DEAD_SINCE.size :])), dead_since_ms)
        except (error, ValueError, LookupError, DecodeError) as problem:
            raise Damaged(f"record {position} cannot be read: {problem}") from problem
        return record

    def _decode_vehicle(self, encoded: bytes) -> Vehicle:
        sizes = _VEHICLE.unpack_from(encoded)
        client_type, device_id, vin, connection_id, version, interface = (
            _to_text(bytes(text)) for text in _split(memoryview(encoded), _VEHICLE.size, sizes)
        )
        vehicle = Vehicle(PeerIdentity(client_type, device_id), vin, connection_id, version, interface)
        self._vehicles[encoded] = vehicle
        return vehicle


def _split(stored: memoryview, start: int, sizes: Sequence[int]) -> Iterator[memoryview]:
    """Parts that follow each other.

    :raises Damaged: they do not end where the bytes end.
    """
    if start + sum(sizes) != len(stored):
        raise Damaged("sizes do not add up")
    for size in sizes:
        yield stored[start : start + size]
        start += size


def _block_crc(first_position: int, index: bytes) -> int:
    return crc32c(index, crc32c(_POSITION.pack(first_position)))


def join_block(first_position: int, records: Sequence[bytes]) -> bytes:
    """One block of encoded records with successive positions."""
    index = pack(f"<{len(records) + 1}I", len(records), *map(len, records))
    return b"".join((_CRC.pack(_block_crc(first_position, index)), index, *records))


def split_block(first_position: int, block: object) -> list[bytes]:
    """The encoded records of a block.

    :param block: as SQLite gives it: bytes, or any other value of a damaged row.
    :raises Damaged: the sizes of its records are not what was written, so that none can be found.
    """
    if not isinstance(block, bytes):
        raise Damaged(f"block {first_position} is no bytes")
    try:
        crc, count = _BLOCK.unpack_from(block)
        start = _BLOCK.size + 4 * count
        if start > len(block) or crc != _block_crc(first_position, block[_CRC.size : start]):
            raise Damaged(f"block {first_position} does not match its checksum")
        sizes = unpack_from(f"<{count}I", block, _BLOCK.size)
    except error as problem:
        raise Damaged(f"block {first_position} cannot be read: {problem}") from problem
    records = []
    for size in sizes:
        records.append(block[start : start + size])
        start += size
    return records
