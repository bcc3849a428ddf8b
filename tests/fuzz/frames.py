"""Random bytes of a vehicle's open WebSocket: frames of every kind, with envelopes of every layout in them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from struct import Struct

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # see ``fast_frames``

from fleetgw.adapters.codec import envelope as wire
from tests.fuzz.mutations import mutate

_VECTORS = Path(__file__).parents[1] / "vectors" / "envelopes.json"
_MESSAGES = 200
_SIZES = (0, 1, 2, 3, 5, 17, 36, 100, 125, 126, 200)
_ID_SIZES = (0, 1, 5, 36, 1023, 1024, 1025, 2000)
_DELIVERED_TABLE = Struct("<20s12x5I")
_HOSTILE_LENGTHS = (
    b"\xfe\xff\xff",
    b"\xff" + b"\xff" * 8,
    b"\xff\x7f" + b"\xff" * 7,
    b"\xfe\x00\x00",
    b"\xff" + bytes(8),
    b"\xfd",
)


def _golden_messages() -> list[bytes]:
    cases = json.loads(_VECTORS.read_text())["cases"]
    return [bytes.fromhex(case["in"]) for case in cases if "in" in case]


class Streams:
    """Bytes of several kinds; the messages in them are drawn once.

    :param seed: of the messages.
    """

    KINDS = ("usual", "any message", "any frame", "mutated")

    def __init__(self, seed: int) -> None:
        random = Random(f"frames {seed}")
        self._usual = [_usual(random) for _ in range(_MESSAGES)]
        self._others = random.sample(_golden_messages(), _MESSAGES) + [_other(random) for _ in range(_MESSAGES // 4)]

    def draw(self, random: Random) -> tuple[str, bytes]:
        """A kind, and bytes that begin with a frame, as far as they are not damaged."""
        count = random.choice((1, 1, 1, 2, 3, 6)) if random.random() < 0.99 else random.choice((63, 64, 65, 130))
        chance = random.random()
        if chance < 0.25:
            return "usual", b"".join(frame(random, random.choice(self._usual)) for _ in range(count))
        if chance < 0.6:
            return "any message", b"".join(frame(random, self._message(random)) for _ in range(count))
        stream = b"".join(self._frame(random) for _ in range(count))
        if chance < 0.8:
            return "any frame", stream[: int(random.random() * len(stream))] if random.random() < 0.5 else stream
        return "mutated", mutate(random, stream, self._frame(random))

    def _message(self, random: Random) -> bytes:
        chance = random.random()
        if chance < 0.6:
            return mutate(random, random.choice(self._usual), random.choice(self._others))
        if chance < 0.8:
            return mutate(random, random.choice(self._others), random.choice(self._usual))
        return random.choice(self._others)

    def _frame(self, random: Random) -> bytes:
        chance = random.random()
        message = random.choice(self._usual)
        if chance < 0.7:
            return frame(random, message)
        if chance < 0.8:
            return frame(random, message[:125], first=random.choice(b"\x81\x88\x89\x8a\x80\x02\x00\xc2\xa2\x92\x83"))
        if chance < 0.9:  # longer length than needed
            short = message[: random.choice((0, 124, 125, 126, 65_535))]
            length = b"\xfe" + len(short).to_bytes(2) if random.random() < 0.5 else b"\xff" + len(short).to_bytes(8)
            return frame(random, short, length=length)
        if chance < 0.95:  # without a mask
            return bytes((0x82, min(125, len(message)))) + message
        return frame(random, message, length=random.choice(_HOSTILE_LENGTHS))


def frame(random: Random, message: bytes, *, first: int = 0x82, length: bytes | None = None) -> bytes:
    """A client's frame.

    :param length: in place of the right one, with the bit that announces the mask.
    """
    if length is None:
        size = len(message)
        length = (
            bytes((0x80 | size,))
            if size < 126
            else b"\xfe" + size.to_bytes(2)
            if size < 65_536
            else b"\xff" + size.to_bytes(8)
        )
    mask = random.randbytes(4)
    return b"".join((bytes((first,)), length, mask, apply_mask(message, mask)))


def _usual(random: Random) -> bytes:
    """A message in one of the two usual layouts."""
    size = random.choice(_SIZES) if random.random() < 0.95 else random.choice((65_000, 65_300, 65_535, 65_536, 100_000))
    txid = bytes(random.choice(_ID_SIZES) if random.random() < 0.2 else 36)
    topic = b"t" * random.choice(_ID_SIZES) if random.random() < 0.1 else b"V"
    sender_id = random.choice((b"", b"vehicle_device.5YJ3E1EA7KF000001"))
    payload, created_at_s = random.randbytes(size), random.getrandbits(32)
    device_type, device_id = b"vehicle_device", b"5YJ3E1EA7KF000001"
    if random.random() < 0.7:
        return wire.write_stream(
            txid=txid,
            topic=topic,
            sender_id=sender_id,
            payload=payload,
            created_at_s=created_at_s,
            device_type=device_type,
            device_id=device_id,
        )
    return wire._write(wire.STREAM, txid, topic, _delivered(created_at_s, device_id, device_type, payload, sender_id), 16)


def _delivered(created_at_s: int, *vectors: bytes) -> bytes:
    """A stream in the layout with ``delivered_at_epoch_ms``; its table is at 16.

    :param vectors: device id, its type, payload, sender id.
    """
    table_size, fields = 36, (16, 20, 24, 32)
    offsets, written = [], b""
    for field, content in zip(fields, vectors, strict=True):
        offsets.append(table_size - field + len(written))
        written += wire._vector(content)
    return _DELIVERED_TABLE.pack(wire._USUAL_STREAM_DELIVERED, *offsets[:3], created_at_s, offsets[3]) + written


def _other(random: Random) -> bytes:
    """An ack, an error reply, or nothing at all."""
    txid = random.randbytes(random.choice(_SIZES))
    return random.choice((wire.ack("V", txid), wire.error_reply(txid), b"", txid))
