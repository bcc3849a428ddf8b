"""Frames and messages of vehicles, for tests of their readers."""

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # as in ``fast_frames``

from fleetgw.adapters.codec.envelope import write_stream
from fleetgw.adapters.ingress.fast_frames import binary_frame_header


def frame_of(payload: bytes, mask: bytes = b"\x01\x20\x03\xff") -> bytes:
    """A client's frame in its shortest form."""
    header = bytearray(binary_frame_header(len(payload)))
    header[1] |= 0x80
    return bytes(header) + mask + apply_mask(payload, mask)


def stream(txid: bytes = b"1", topic: bytes = b"V", payload: bytes = b"payload") -> bytes:
    """A message in a usual layout."""
    return write_stream(
        txid=txid, topic=topic, sender_id=b"s", payload=payload, created_at_s=1, device_type=b"d", device_id=b"i"
    )
