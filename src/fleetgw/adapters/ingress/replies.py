"""Replies on the wire: envelopes of the codec in WebSocket frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.codec.envelope import ack_parts, error_reply
from fleetgw.adapters.ingress.fast_frames import binary_frame_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.records import Record

CACHED_ACKS = 256
CACHED_ACK_BYTES = 256
"""Bounds of the cache of pairs of record type and txid length: their number and size. Vehicles use few short ones."""


class ReplyFrames:
    """Frames replies. An acknowledgement is its txid between two parts, which are cached by record type and txid length."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], tuple[bytes, bytes]] = {}

    def acks(self, records: Sequence[Record]) -> bytes:
        """Framed acknowledgements of records, joined."""
        known = self._parts
        if len(records) == 1:  # the usual case: a vehicle that sends one record at a time
            record = records[0]
            txid = record.txid
            head, tail = known.get((record.record_type, len(txid))) or self._prepare(record.record_type, len(txid))
            return head + txid + tail
        pieces: list[bytes] = []
        for record in records:
            txid = record.txid
            head, tail = known.get((record.record_type, len(txid))) or self._prepare(record.record_type, len(txid))
            pieces += (head, txid, tail)
        return b"".join(pieces)

    def ack(self, record_type: str, txid: bytes) -> bytes:
        """One framed acknowledgement."""
        head, tail = self._parts.get((record_type, len(txid))) or self._prepare(record_type, len(txid))
        return head + txid + tail

    def _prepare(self, record_type: str, txid_size_bytes: int) -> tuple[bytes, bytes]:
        head, tail = ack_parts(record_type.encode("utf-8", "surrogateescape"), txid_size_bytes)
        parts = binary_frame_header(len(head) + txid_size_bytes + len(tail)) + head, tail
        if len(self._parts) < CACHED_ACKS and len(record_type) + txid_size_bytes <= CACHED_ACK_BYTES:
            self._parts[record_type, txid_size_bytes] = parts
        return parts

    def error(self, txid: bytes) -> bytes:
        """One framed error reply."""
        envelope = error_reply(txid)
        return binary_frame_header(len(envelope)) + envelope
