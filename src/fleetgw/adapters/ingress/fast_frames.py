"""Fast path: parses whole data frames, and leaves all other bytes to Autobahn."""

import sys

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # the C one where there is one, else the Python one

BINARY_FINAL = 0x82
MESSAGES_AT_ONCE = 64
BYTES_AT_ONCE = 16_384
"""Maximum number of messages and bytes handled between two reads of the clock: about a millisecond of typical messages."""


def split_frames(data: bytes, position: int, most_bytes: int = sys.maxsize) -> tuple[list[bytes], int]:
    """Parse whole messages at ``position``, up to ``MESSAGES_AT_ONCE`` or ``most_bytes``.

    A frame is parsed when it is a complete, final, masked binary frame without reserved bits, whose length is below 64 KiB
    and encoded in its shortest form. Parsing stops at the first other frame.

    :param data: bytes from a client of an open WebSocket; a frame starts at ``position``.
    :return: the unmasked payloads in order, and the position of the first byte not parsed.
    """
    messages: list[bytes] = []
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
        messages.append(apply_mask(data[payload_at:payload_end], data[mask_at:payload_at]))
        position = payload_end
    return messages, position


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
