"""A dead letter: a record with the reason for which its sink does not get it."""

from attrs import define, field

from fleetgw.domain.records import Record


@define(eq=False)
class DeadLetter(Record):
    """A record that no retry can deliver, as it is stored.

    It may be offered to its sink again, as any record.

    :ivar reason: for people: the sink's, or that the gateway stopped before the sink confirmed the record.
    :ivar dead_since_ms: when the record became a dead letter, epoch milliseconds.
    """

    reason: str = field(kw_only=True)
    dead_since_ms: int = field(kw_only=True)


def dead_letter(record: Record, reason: str, now_ms: int) -> DeadLetter:
    """Make a dead letter of a record, also of one that is a dead letter already."""
    return DeadLetter(
        record.record_type,
        record.txid,
        record.vehicle,
        record.payload,
        record.received_at_ms,
        None if record.decode else record.content,
        record.signals,
        record.unknown_values,
        record.elements,
        record.cost_bytes,
        record.decode,
        reason=reason,
        dead_since_ms=now_ms,
    )
