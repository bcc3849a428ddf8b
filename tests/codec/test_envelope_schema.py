"""``protos/envelope.fbs`` against the codec, and the codec against the official FlatBuffers library."""

import re
from itertools import product
from pathlib import Path
from unittest import TestCase

import flatbuffers
from flatbuffers.number_types import Uint8Flags, Uint32Flags, UOffsetTFlags
from flatbuffers.table import Table

from fleetgw.adapters.codec import envelope as wire
from fleetgw.domain.records import Envelope, MessageType

SCHEMA = (Path(__file__).parents[2] / "protos" / "envelope.fbs").read_text()


def table_slots(table: str) -> dict[str, tuple[str, int]]:
    """Type and slot of each field of a table in the schema."""
    body = re.search(rf"table {table} {{(.*?)}}", SCHEMA, re.DOTALL)
    if body is None:
        raise AssertionError(f"no table {table} in the schema")
    fields = re.findall(r"(\w+): (\S+) \(id: (\d+)\);", body[1])
    return {name: (kind, int(slot)) for name, kind, slot in fields}


def field(table: Table, slot: int) -> int:
    """Position of a field according to the library; 0 when absent."""
    offset = table.Offset(4 + 2 * slot)
    return offset and table.Pos + offset


def vector(table: Table, slot: int) -> bytes:
    """A byte vector according to the library."""
    offset = table.Offset(4 + 2 * slot)
    if not offset:
        return b""
    start, size = table.Vector(offset), table.VectorLen(offset)
    return bytes(table.Bytes[start : start + size])


def root_table(message: bytes) -> Table:
    buffer = bytearray(message)
    return Table(buffer, flatbuffers.encode.Get(UOffsetTFlags.packer_type, buffer, 0))


def union_table(root: Table) -> Table:
    union = Table(bytearray(), 0)
    root.Union(union, root.Offset(4 + 2 * wire.MESSAGE))
    return union


def build(*, delivered_at: int = 0, message_id: bytes | None = b"", created_first: bool = False) -> bytes:
    """A vehicle's message made by the library.

    Builders lay a table out in the order in which its fields are set: vehicles set ``sender_id`` before ``created_at``.
    """
    builder = flatbuffers.Builder(0)
    sender_id = builder.CreateByteVector(b"vehicle_device.VIN")
    payload_at = builder.CreateByteVector(b"payload")
    device_type = builder.CreateByteVector(b"vehicle_device")
    device_id = builder.CreateByteVector(b"VIN")
    builder.StartObject(6)
    if created_first:
        builder.PrependUint32Slot(wire.CREATED_AT, 1_764_000_000, 0)
    builder.PrependUOffsetTRelativeSlot(wire.SENDER_ID, sender_id, 0)
    if not created_first:
        builder.PrependUint32Slot(wire.CREATED_AT, 1_764_000_000, 0)
    builder.PrependUOffsetTRelativeSlot(wire.PAYLOAD, payload_at, 0)
    builder.PrependUOffsetTRelativeSlot(wire.DEVICE_TYPE, device_type, 0)
    builder.PrependUOffsetTRelativeSlot(wire.DEVICE_ID, device_id, 0)
    builder.PrependUint64Slot(wire.DELIVERED_AT_EPOCH_MS, delivered_at, 0)
    stream = builder.EndObject()
    txid_at = builder.CreateByteVector(b"tx")
    topic_at = builder.CreateByteVector(b"V")
    message_id_at = 0 if message_id is None else builder.CreateByteVector(message_id)
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(wire.TXID, txid_at, 0)
    builder.PrependUOffsetTRelativeSlot(wire.TOPIC, topic_at, 0)
    builder.PrependUint8Slot(wire.MESSAGE_TYPE, 4, 0)
    builder.PrependUOffsetTRelativeSlot(wire.MESSAGE, stream, 0)
    builder.PrependUOffsetTRelativeSlot(wire.MESSAGE_ID, message_id_at, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


class SchemaTests(TestCase):
    """The schema's slots, types and tags are the ones that the codec uses."""

    def test_envelope_slots(self) -> None:
        self.assertEqual(
            table_slots("Envelope"),
            {
                "txid": ("[ubyte]", wire.TXID),
                "topic": ("[ubyte]", wire.TOPIC),
                "message": ("Message", wire.MESSAGE),
                "message_id": ("[ubyte]", wire.MESSAGE_ID),
            },
        )
        # A union's tag has the slot before it.
        self.assertEqual(wire.MESSAGE_TYPE, wire.MESSAGE - 1)

    def test_stream_slots(self) -> None:
        self.assertEqual(
            table_slots("Stream"),
            {
                "created_at": ("uint", wire.CREATED_AT),
                "sender_id": ("[ubyte]", wire.SENDER_ID),
                "payload": ("[ubyte]", wire.PAYLOAD),
                "device_type": ("[ubyte]", wire.DEVICE_TYPE),
                "device_id": ("[ubyte]", wire.DEVICE_ID),
                "delivered_at_epoch_ms": ("ulong", wire.DELIVERED_AT_EPOCH_MS),
            },
        )
        self.assertEqual(table_slots("StreamAck"), {})

    def test_union_tags(self) -> None:
        union = re.search(r"union Message {(.*?)}", SCHEMA, re.DOTALL)
        tags = dict(re.findall(r"(\w+) = (\d+)", union[1] if union else ""))
        self.assertEqual(tags, {"Stream": str(MessageType.STREAM.value), "StreamAck": str(MessageType.STREAM_ACK.value)})


class OfficialLibraryTests(TestCase):
    """Each reads the messages of the other."""

    def test_reads_messages_of_the_library(self) -> None:
        wanted = Envelope(4, True, b"tx", b"V", b"vehicle_device.VIN", b"payload")
        for delivered_at, message_id, created_first in product((0, 1_764_000_000_123), (None, b"", b"mid"), (False, True)):
            with self.subTest(delivered_at=delivered_at, message_id=message_id, created_first=created_first):
                message = build(delivered_at=delivered_at, message_id=message_id, created_first=created_first)
                self.assertEqual(wire.read(message), wanted)

    def test_the_fast_reader_knows_the_layouts_of_vehicles(self) -> None:
        # Else it could fall into disuse unseen.
        for delivered_at in (0, 1):
            with self.subTest(delivered_at=delivered_at):
                message = build(delivered_at=delivered_at)
                root = int.from_bytes(message[:4], "little")
                self.assertEqual(message[root - 14 : root + 4], wire._USUAL_ENVELOPE)
                stream = union_table(root_table(message)).Pos
                usual = wire._USUAL_STREAM_DELIVERED if delivered_at else wire._USUAL_STREAM
                self.assertEqual(message[stream - len(usual) + 4 : stream + 4], usual)

    def test_library_reads_our_stream(self) -> None:
        for size in range(9):
            with self.subTest(size):
                text = b"x" * size
                message = wire.write_stream(
                    txid=text,
                    topic=b"V" + text,
                    sender_id=text + b"s",
                    payload=text * 3,
                    created_at_s=1_764_000_000,
                    device_type=text + b"t",
                    device_id=b"i" + text,
                )
                root = root_table(message)
                self.assertEqual(root.Get(Uint8Flags, field(root, wire.MESSAGE_TYPE)), 4)
                self.assertEqual((vector(root, wire.TXID), vector(root, wire.TOPIC)), (text, b"V" + text))
                self.assertEqual(vector(root, wire.MESSAGE_ID), b"")
                stream = union_table(root)
                self.assertEqual(stream.Get(Uint32Flags, field(stream, wire.CREATED_AT)), 1_764_000_000)
                self.assertEqual(
                    [vector(stream, slot) for slot in (wire.SENDER_ID, wire.PAYLOAD, wire.DEVICE_TYPE, wire.DEVICE_ID)],
                    [text + b"s", text * 3, text + b"t", b"i" + text],
                )
                self.assertEqual(field(stream, wire.DELIVERED_AT_EPOCH_MS), 0)
                # Aligned as the format asks, which lenient readers do not see.
                self.assertEqual((root.Pos % 4, stream.Pos % 4), (0, 0))

    def test_library_reads_our_replies(self) -> None:
        for txid in (b"", b"1", b"22", b"333", b"4444"):
            with self.subTest(txid):
                head, tail = wire.ack_parts(b"V", len(txid))
                ack = root_table(head + txid + tail)
                self.assertEqual(ack.Get(Uint8Flags, field(ack, wire.MESSAGE_TYPE)), 5)
                self.assertEqual((vector(ack, wire.TXID), vector(ack, wire.TOPIC)), (txid, b"V"))
                reply = root_table(wire.error_reply(txid))
                self.assertEqual(reply.Get(Uint8Flags, field(reply, wire.MESSAGE_TYPE)), 4)
                self.assertEqual((vector(reply, wire.TXID), vector(reply, wire.TOPIC)), (txid, b""))
                self.assertEqual(vector(union_table(reply), wire.PAYLOAD), b"incorrect message format")
