"""Byte examples of the wire protocol, taken from the golden vectors and taken apart field by field."""

from __future__ import annotations

import json
from pathlib import Path
from struct import unpack_from
from typing import Any

from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent, VehicleConnectivity

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
BYTES_A_LINE = 16
ENVELOPE = ("txid", "topic", "tag of message", "message", "message_id")
STREAM = ("created_at", "sender_id", "payload", "device_type", "device_id", "delivered_at_epoch_ms")
NUMBER_SIZES = {"tag of message": 1, "created_at": 4, "delivered_at_epoch_ms": 8}
STREAM_TAG = 4

Part = tuple[int, int, str]
"""Begin and end of a part, and its meaning."""


def _u32(message: bytes, at: int) -> int:
    return int.from_bytes(message[at : at + 4], "little")


def _vector(message: bytes, at: int, name: str) -> list[Part]:
    size = _u32(message, at)
    content = message[at + 4 : at + 4 + size]
    text = f'"{content.decode()}"' if content.isascii() and content.decode().isprintable() else "protobuf"
    parts = [(at, at + 4, f"{name}: {size} bytes follow")]
    return [*parts, (at + 4, at + 4 + size, text)] if size else parts


def _table(message: bytes, at: int, name: str, slots: tuple[str, ...]) -> list[Part]:
    """The parts of a table, its vtable and the values it refers to."""
    vtable = at - unpack_from("<i", message, at)[0]
    (vtable_size,) = unpack_from("<H", message, vtable)
    offsets = unpack_from(f"<{(vtable_size - 4) // 2}H", message, vtable + 4)
    fields = {slot: at + offset for slot, offset in zip(slots, offsets, strict=False) if offset}
    parts = [(vtable, vtable + vtable_size, f"vtable of {name}"), (at, at + 4, f"{name}: distance back to its vtable")]
    for slot, field in fields.items():
        size = NUMBER_SIZES.get(slot, 4)
        value = int.from_bytes(message[field : field + size], "little")
        parts.append(
            (field, field + size, f"{slot} = {value}" if slot in NUMBER_SIZES else f"{slot}: at 0x{field + value:02x}")
        )
        if slot == "message":
            tag = message[fields["tag of message"]]
            target = field + value
            if tag == STREAM_TAG:
                parts += _table(message, target, "Stream", STREAM)
            else:
                parts.append((target, target + 4, "StreamAck: empty"))
        elif slot not in NUMBER_SIZES:
            parts += _vector(message, field + value, slot)
    return parts


def annotated(message: bytes) -> str:
    """An envelope as lines of offset, bytes and meaning."""
    parts = [(0, 4, f"root table: at 0x{_u32(message, 0):02x}"), *_table(message, _u32(message, 0), "Envelope", ENVELOPE)]
    lines = []
    position = 0
    for begin, end, meaning in [*sorted(parts), (len(message), len(message), "")]:
        if begin > position:
            lines += _lines(message, position, begin, "padding")
        lines += _lines(message, begin, end, meaning)
        position = max(position, end)
    return "\n".join(lines)


def _lines(message: bytes, begin: int, end: int, meaning: str) -> list[str]:
    starts = range(begin, end, BYTES_A_LINE)
    return [
        f"{at:04x}  {message[at : min(end, at + BYTES_A_LINE)].hex(' '):<49}{meaning if at == begin else ''}".rstrip()
        for at in starts
    ]


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


def _case(file: str, name: str) -> dict[str, Any]:  # as JSON has it
    cases: list[dict[str, Any]] = json.loads((VECTORS / file).read_text())["cases"]
    (case,) = [case for case in cases if case["name"] == name]
    return case


def _steps(name: str, kind: str) -> list[Any]:
    return [step[kind] for step in _case("stream.json", name)["steps"] if kind in step]


def upgrade() -> str:
    """A request for a WebSocket, and the answer."""
    (request,), (answer,) = _steps("upgrade", "send_http"), _steps("upgrade", "recv_http")
    response = [answer["status_line"], *(f"{name}: {value}" for name, value in answer["headers"])]
    return _block("\n".join([*request.split("\r\n")[:-1], *response]).rstrip())


def record() -> str:
    """A record as a vehicle sends it."""
    return _block(annotated(bytes.fromhex(_case("envelopes.json", "usual builder, V")["in"])))


def ack() -> str:
    """The acknowledgement of that record."""
    return _block(annotated(bytes.fromhex(_case("envelopes.json", "usual builder, V")["replies"][0])))


def error_reply() -> str:
    """The answer to a record that cannot be decoded."""
    return _block(annotated(bytes.fromhex(_case("envelopes.json", "V, payload does not parse")["replies"][0])))


def connectivity() -> str:
    """The payload of a connectivity record, as a sink gets it. Every field number and length in it takes one byte."""
    payload = bytes.fromhex(_case("dispatch.json", "kafka: connectivity status 1")["value"])
    decoded = VehicleConnectivity.FromString(payload)
    lines = []
    at = 0
    while at < len(payload):
        field = decoded.DESCRIPTOR.fields_by_number[payload[at] >> 3]
        if field.name == "status":
            lines += _lines(payload, at, at + 2, f"status = {payload[at + 1]} ({ConnectivityEvent.Name(decoded.status)})")
            at += 2
            continue
        begin, end = at + 2, at + 2 + payload[at + 1]
        created_at = f"{decoded.created_at.seconds} seconds, {decoded.created_at.nanos} nanoseconds"
        meaning = created_at if field.name == "created_at" else f'"{payload[begin:end].decode()}"'
        lines += [
            *_lines(payload, at, begin, f"{field.name}: {end - begin} bytes follow"),
            *_lines(payload, begin, end, meaning),
        ]
        at = end
    return _block("\n".join(lines))


def frames() -> str:
    """The first bytes of a frame each way, up to the envelope."""
    sent = bytes.fromhex(_steps("upgrade", "send_frame")[0])
    received = bytes.fromhex(_steps("upgrade", "recv_frames")[0][0]["frame"])
    return _block(
        "\n".join(
            [
                f"{sent[:2].hex(' '):<27}vehicle: final frame, binary, masked, 16-bit length",
                f"{sent[2:4].hex(' '):<27}{int.from_bytes(sent[2:4])} bytes of payload",
                f"{sent[4:8].hex(' '):<27}mask",
                f"{sent[8:16].hex(' ')} ... masked envelope",
                "",
                f"{received[:2].hex(' '):<27}gateway: final frame, binary, not masked, {received[1]} bytes of payload",
                f"{received[2:10].hex(' ')} ... envelope",
            ]
        )
    )
