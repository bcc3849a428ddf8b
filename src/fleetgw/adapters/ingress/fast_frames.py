"""Fast path: parses whole data frames and the usual envelopes in them, and leaves all other bytes to Autobahn."""

from collections.abc import Callable

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # the C one where there is one, else the Python one

from fleetgw.adapters.codec.envelope import read_usual
from fleetgw.adapters.speedups import SPEEDUPS
from fleetgw.domain.records import MAX_ID_BYTES, Envelope

BINARY_FINAL = 0x82
MESSAGES_AT_ONCE = 64
BYTES_AT_ONCE = 16_384
"""Maximum number of messages and bytes handled between two reads of the clock: about a millisecond of typical messages."""


def split_frames(
    data: bytes, position: int, most_bytes: int, max_message_bytes: int, make: type[Envelope]
) -> tuple[list[Envelope | bytes], int]:
    """Parse whole messages that start at ``position`` or up to ``most_bytes`` behind it, at most ``MESSAGES_AT_ONCE``.

    A frame is parsed when it is a complete, final, masked binary frame without reserved bits, whose length is below 64 KiB
    and encoded in its shortest form. Parsing stops at the first other frame.

    :param data: bytes from a client of an open WebSocket; a frame starts at ``position``.
    :param max_message_bytes: maximum size of a message whose envelope is read.
    :param make: the type of envelopes.
    :return: the messages in order, and the position of the first byte not parsed. A message is an envelope if it has one of
        the usual layouts, else its payload.
    :raises ValueError: ``position`` is negative.
    """
    if position < 0:
        raise ValueError("a negative position")
    messages: list[Envelope | bytes] = []
    end = len(data)
    last_start = min(end - 6, position + most_bytes - 1)
    for _ in range(MESSAGES_AT_ONCE):
        if position > last_start or data[position] != BINARY_FINAL:
            break
        length = data[position + 1] - 0x80
        if 0 <= length < 126:
            mask_at = position + 2
        elif length == 126:
            length = data[position + 2] << 8 | data[position + 3]
            if length < 126:
                break
            mask_at = position + 4
        else:
            break
        payload_at = mask_at + 4
        payload_end = payload_at + length
        if payload_end > end:
            break
        payload = apply_mask(data[payload_at:payload_end], data[mask_at:payload_at])
        messages.append((length <= max_message_bytes and read_usual(payload, MAX_ID_BYTES, make)) or payload)
        position = payload_end
    return messages, position


split: Callable[[bytes, int, int, int, type[Envelope]], tuple[list[Envelope | bytes], int]] = (
    SPEEDUPS.split if SPEEDUPS is not None else split_frames
)
"""``split_frames``, in C where there is the extension."""


def frame_size_needed(header: bytes) -> int:
    """Size to which the start of a client's frame header must grow next to be parsed."""
    size = len(header)
    return 6 if size < 6 else 8 if size < 8 else 14


def binary_frame_header(length: int) -> bytes:
    """Header of a server's final binary frame with a payload of ``length`` bytes (RFC 6455, section 5.2)."""
    if length < 126:
        return bytes((BINARY_FINAL, length))
    if length < 65536:
        return bytes((BINARY_FINAL, 126)) + length.to_bytes(2, "big")
    return bytes((BINARY_FINAL, 127)) + length.to_bytes(8, "big")
