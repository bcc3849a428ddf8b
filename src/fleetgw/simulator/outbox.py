"""A vehicle's unacknowledged records."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Iterator


@define(eq=False)
class Unacked:
    """One unacknowledged record.

    :ivar txid: the record's id, the same for every copy.
    :ivar message: its envelope.
    :ivar first_sent_at_s: monotonic time of the first copy; None before it.
    :ivar last_sent_at_s: monotonic time of the latest copy; None before the first.
    """

    record_type: str
    txid: bytes
    message: bytes
    first_sent_at_s: float | None = None
    last_sent_at_s: float | None = None


class Settled(NamedTuple):
    """A record that was answered, ``latency_s`` after its first copy."""

    record_type: str
    latency_s: float


class Outbox:
    """Unacknowledged records, oldest copy first.

    :param limit: highest number of records in it.
    :param resend_after_s: longest wait for an answer, after which a record is sent again.
    """

    def __init__(self, limit: int, resend_after_s: float) -> None:
        self._limit = limit
        self._resend_after_s = resend_after_s
        # ordered by the time of the latest copy, so that overdue records come first
        self._unacked: dict[bytes, Unacked] = {}

    def __len__(self) -> int:
        return len(self._unacked)

    def __iter__(self) -> Iterator[Unacked]:
        return iter(self._unacked.values())

    @property
    def full(self) -> bool:
        """Whether no further record fits."""
        return len(self._unacked) >= self._limit

    def put(self, record: Unacked) -> None:
        """Add a new record, not sent yet.

        :raises OverflowError: the outbox is full.
        :raises ValueError: a record with that txid is in it.
        """
        if self.full:
            raise OverflowError(f"the outbox holds its {self._limit} records")
        if record.txid in self._unacked:
            raise ValueError(f"a record with the txid {record.txid!r} waits for its acknowledgement already")
        self._unacked[record.txid] = record

    def sent(self, record: Unacked, now_s: float) -> None:
        """A copy of ``record``, which is in the outbox, was written to the connection at monotonic time ``now_s``."""
        if record.first_sent_at_s is None:
            record.first_sent_at_s = now_s
        record.last_sent_at_s = now_s
        self._unacked[record.txid] = self._unacked.pop(record.txid)

    def overdue(self, now_s: float) -> list[Unacked]:
        """The records whose latest copy was sent ``resend_after_s`` ago or earlier, oldest first."""
        latest_s = now_s - self._resend_after_s
        records = []
        for record in self._unacked.values():
            if record.last_sent_at_s is None or record.last_sent_at_s > latest_s:
                break
            records.append(record)
        return records

    def settle(self, txid: bytes, now_s: float) -> Settled | None:
        """Remove a record that was answered at monotonic time ``now_s``; None when no such record was sent and waits."""
        record = self._unacked.get(txid)
        if record is None or record.first_sent_at_s is None:
            return None
        del self._unacked[txid]
        return Settled(record.record_type, now_s - record.first_sent_at_s)
