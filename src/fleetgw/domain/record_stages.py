"""The stages of a vehicle's records, for a trace: the records of one read and type share a line, without their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.domain.errors import PeerError, UnknownMessageType
from fleetgw.domain.ledger import Unacked
from fleetgw.domain.line_limit import cut, cut_bytes
from fleetgw.domain.records import count_types

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fleetgw.domain.ports import ITrace
    from fleetgw.domain.records import Envelope, Record

MAX_LISTED_IDS = 16
"""Largest number of txids in one line."""

MAX_REASON_CHARACTERS = 512

_UNACKED = {
    Unacked.FULL: "a queue, or the spool, is full",
    Unacked.NOT_STORED: "the spool could not store them",
    Unacked.UNCONFIRMED: "a sink refused them for good, or was stopped",
    Unacked.DISCONNECTED: "the vehicle is gone",
}


@frozen
class RecordStages:
    """Notes the stages of a vehicle's records."""

    trace: ITrace

    def received(self, records: Sequence[Record], to: str) -> None:
        """Records of one type were received and decoded.

        :param to: where they are routed to, for people.
        """
        size_bytes, signals = sum(len(each.payload) for each in records), sum(each.signals for each in records)
        counted = f"{signals} {'signal' if signals == 1 else 'signals'}"
        text = f"{_counted(records)}, {size_bytes} bytes, {counted}, routed to {to}"
        self.trace.note("received", text, **_fields(records), size_bytes=size_bytes, signals=signals, to=to)

    def refused(self, error: Exception, envelope: Envelope | None) -> None:
        """A message makes no record."""
        reason = cut(str(error) if isinstance(error, PeerError) else type(error).__name__, MAX_REASON_CHARACTERS)
        answer = (
            "acknowledged, so that it does not come again" if isinstance(error, UnknownMessageType) else "an error reply"
        )
        record_type, txid = (cut_bytes(envelope.topic), cut_bytes(envelope.txid)) if envelope is not None else ("", "")
        text = f"a message{f' of {record_type}' if record_type else ''} was refused: {reason}; the answer is {answer}"
        self.trace.note("refused", text, error=type(error).__name__, reason=reason, record_type=record_type, txids=[txid])

    def over_limit(self, envelope: Envelope) -> None:
        """A record is above the rate limit."""
        text = f"a record of {cut_bytes(envelope.topic)} is above the rate limit: it gets no reply"
        self.trace.note("rate_limited", text, record_type=cut_bytes(envelope.topic), txids=[cut_bytes(envelope.txid)])

    def duplicates(self, records: Sequence[Record]) -> None:
        """Records were acknowledged before, and are not delivered again."""
        self.trace.note("duplicate", f"{_counted(records)}: acknowledged before, not delivered again", **_fields(records))

    def placed(self, records: Sequence[Record], taken: int, by: str) -> None:
        """Queues, or the spool, have taken the first ``taken`` of the records."""
        if taken:
            self.trace.note("placed", f"{_counted(records[:taken])}: taken by {by}", **_fields(records[:taken]))

    def waiting(self, records: Sequence[Record], sinks: Collection[str]) -> None:
        """Records wait for room in the queues of these sinks; without any, for those of the vehicle that wait already."""
        behind = f"in the queue of {', '.join(sorted(sinks))}" if sinks else "behind earlier records of the vehicle"
        text = f"{_counted(records)}: wait for room {behind}; the vehicle is not read meanwhile"
        self.trace.note("waiting", text, **_fields(records), sinks=sorted(sinks))

    def acked(self, records: Sequence[Record], *, is_open: bool) -> None:
        """Acknowledgements were written, unless the connection is being closed."""
        if is_open:
            self.trace.note("acked", _counted(records), **_fields(records))
        else:
            text = f"{_counted(records)}: the connection is being closed; the vehicle sends them again"
            self.trace.note("not_acked", text, **_fields(records), reason="closing")

    def unacked(self, records: Sequence[Record], reason: Unacked) -> None:
        """Records will not be acknowledged."""
        text = f"{_counted(records)}: {_UNACKED[reason]}; the vehicle sends them again"
        self.trace.note("not_acked", text, **_fields(records), reason=reason.value)

    def settled(self, stage: str, sink: str, records: Sequence[Record], reason: str) -> None:
        """A sink has answered for records, of several types maybe.

        :param stage: the outcome.
        :param reason: empty where the sink has confirmed them.
        """
        because = f": {cut(reason, MAX_REASON_CHARACTERS)}" if reason else ""
        fields = {"reason": cut(reason, MAX_REASON_CHARACTERS)} if reason else {}
        self.trace.note(stage, f"{sink}: {_counted(records)}{because}", **_fields(records), sink=sink, **fields)


def _counted(records: Sequence[Record]) -> str:
    first, last = cut_bytes(records[0].txid), cut_bytes(records[-1].txid)
    count = len(records)
    ids = first if count == 1 else f"{first}, {last}" if count == 2 else f"{first} ... {last}"
    return f"{count} {'record' if count == 1 else 'records'} of {_types(records)} ({ids})"


def _fields(records: Sequence[Record]) -> dict[str, object]:
    txids = [cut_bytes(record.txid) for record in records[:MAX_LISTED_IDS]]
    return {"record_type": _types(records), "records": len(records), "txids": txids}


def _types(records: Sequence[Record]) -> str:
    names = sorted(count_types(records))
    return cut(", ".join(names).encode("utf-8", "replace").decode())
