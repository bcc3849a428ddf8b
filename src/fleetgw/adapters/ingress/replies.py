"""Replies as they go out: the codec's envelopes in WebSocket frames."""

from zope.interface import implementer

from fleetgw.adapters.codec.envelope import ack_parts, error_reply
from fleetgw.adapters.ingress.fast_frames import binary_frame_header
from fleetgw.domain.ports import IReplyFrames

CACHED_ACKS = 256
CACHED_ACK_BYTES = 256
"""How many pairs of record type and txid length are remembered, and how long both may be together; vehicles use a handful of
short ones."""


@implementer(IReplyFrames)
class ReplyFrames:
    """Makes an ack by putting the txid between two parts prepared per record type and txid length."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], tuple[bytes, bytes]] = {}

    def ack(self, record_type: str, txid: bytes) -> bytes:
        """See ``IReplyFrames``."""
        parts = self._parts.get((record_type, len(txid)))
        if parts is None:
            parts = self._prepare(record_type, len(txid))
        return parts[0] + txid + parts[1]

    def _prepare(self, record_type: str, txid_size_bytes: int) -> tuple[bytes, bytes]:
        head, tail = ack_parts(record_type.encode("utf-8", "surrogateescape"), txid_size_bytes)
        parts = binary_frame_header(len(head) + txid_size_bytes + len(tail)) + head, tail
        if len(self._parts) < CACHED_ACKS and len(record_type) + txid_size_bytes <= CACHED_ACK_BYTES:
            self._parts[record_type, txid_size_bytes] = parts
        return parts

    def error(self, txid: bytes) -> bytes:
        """See ``IReplyFrames``."""
        envelope = error_reply(txid)
        return binary_frame_header(len(envelope)) + envelope
