"""``split``: C, its twin, and the frames and envelopes as the general readers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.codec import envelope as wire
from fleetgw.adapters.ingress.fast_frames import MESSAGES_AT_ONCE, split_frames
from fleetgw.domain.records import MAX_ID_BYTES, Envelope
from tests.fuzz.comparisons import Functions, Input, Mismatch, agreed, in_c
from tests.fuzz.frames import Streams

if TYPE_CHECKING:
    from random import Random

_MAX_MESSAGE_BYTES = 1_000_000


class SplitComparison:
    """``split``: C, twin, and the frames and envelopes as the general readers see them."""

    name = "split"
    functions: Functions = [split_frames, *in_c("split")]

    def __init__(self, seed: int) -> None:
        self._streams = Streams(seed)

    def draw(self, random: Random) -> tuple[str, Input]:
        """See ``Comparison``."""
        kind, data = self._streams.draw(random)
        position = 0
        if random.random() < 0.2:
            position = random.randint(0, 20)
            data = bytes(position) + data
        most_bytes = random.choice((0, 1, 100, 500, 16_384)) if random.random() < 0.2 else 1 << 62
        max_message_bytes = random.choice((0, 1, 150, 200, 300)) if random.random() < 0.1 else _MAX_MESSAGE_BYTES
        return kind, (data, position, most_bytes, max_message_bytes)

    def arguments(self, given: Input) -> tuple[object, ...]:
        """See ``Comparison``."""
        return *given, Envelope

    def check(self, given: Input) -> bool:
        """See ``Comparison``."""
        messages, end = agreed(self.functions, self.arguments(given))
        kinds = [type(message) for message in messages]
        if {*kinds} - {Envelope, bytes}:
            raise Mismatch(f"types {kinds}")
        payloads, general_end = _general_frames(*given[:3])  # type: ignore[arg-type]  # data, position, most_bytes
        if end != general_end or len(messages) != len(payloads):
            raise Mismatch(f"{len(messages)} messages up to {end}; in general {len(payloads)} up to {general_end}")
        for message, payload in zip(messages, payloads, strict=True):
            if type(message) is bytes:
                wanted: Envelope | bytes = payload
            elif len(payload) > given[3]:  # type: ignore[operator]  # max_message_bytes
                raise Mismatch(f"an envelope of {len(payload)} bytes")
            else:
                wanted = wire._read_any(payload, MAX_ID_BYTES)
            if message != wanted:
                raise Mismatch(f"{message!r}\nin general {wanted!r}")
        return Envelope in kinds


def _general_frames(data: bytes, position: int, most_bytes: int) -> tuple[list[bytes], int]:
    """Payloads of whole masked binary frames of shortest length below 64 KiB, as RFC 6455 describes them, step by step."""
    payloads: list[bytes] = []
    limit = position + most_bytes
    while len(payloads) < MESSAGES_AT_ONCE and position < limit:
        head = data[position : position + 2]
        if len(head) < 2 or head[0] != 0b1000_0010 or not head[1] & 0b1000_0000:
            break
        length, at = head[1] & 0b0111_1111, position + 2
        if length == 127:
            break
        if length == 126:
            length, at = int.from_bytes(data[at : at + 2]), at + 2
            if length < 126 or at > len(data):
                break
        mask, masked = data[at : at + 4], data[at + 4 : at + 4 + length]
        if len(mask) < 4 or len(masked) < length:
            break
        key = int.from_bytes(mask * (length // 4 + 1), "little") & ((1 << 8 * length) - 1)
        payloads.append((int.from_bytes(masked, "little") ^ key).to_bytes(length, "little"))
        position = at + 4 + length
    return payloads, position
