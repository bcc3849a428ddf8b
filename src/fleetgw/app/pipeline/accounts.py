"""The ledger's counters for the hot path, looked up once; ``fleetgw.domain.ledger`` says what each account means."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fleetgw.domain.ledger import Kept, Loss, Unacked
from fleetgw.domain.metrics import (
    ACK_LATENCY_SECONDS,
    LEDGER_ACKED_TOTAL,
    LEDGER_AWAITING_RECORDS,
    LEDGER_DEAD_LETTERS_TOTAL,
    LEDGER_DELIVERED_TOTAL,
    LEDGER_DUPLICATES_TOTAL,
    LEDGER_GIVEN_UP_TOTAL,
    LEDGER_HELD_RECORDS,
    LEDGER_LEFT_TOTAL,
    LEDGER_READ_TOTAL,
    LEDGER_REFUSED_TOTAL,
    LEDGER_REPLAYED_TOTAL,
    LEDGER_RETRIED_TOTAL,
    LEDGER_SKIPPED_TOTAL,
    LEDGER_SPOOLED_RECORDS,
    LEDGER_TAKEN_TOTAL,
    LEDGER_UNACKED_TOTAL,
    LEDGER_UNHEARD_TOTAL,
    LOST_RECORDS_TOTAL,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.ports import IMetrics
    from fleetgw.domain.records import Record


class VehicleAccount:
    """The accounts of one record type towards the vehicles. Two of the same type count in the same series.

    Received records are counted elsewhere (``record_total``). Each of them must be acked at once or go to exactly one of
    ``duplicates``, ``unacked`` and ``awaiting``; one that is awaiting leaves it when it is acked or unacked.
    """

    __slots__ = ("_acked", "_latency", "awaiting", "duplicates", "unacked")

    def __init__(self, record_type: str, metrics: IMetrics) -> None:
        self._latency = metrics.histogram(ACK_LATENCY_SECONDS, record_type=record_type)
        self._acked = metrics.counter(LEDGER_ACKED_TOTAL, record_type=record_type)
        self.duplicates = metrics.counter(LEDGER_DUPLICATES_TOTAL, record_type=record_type)
        self.awaiting = metrics.gauge(LEDGER_AWAITING_RECORDS, record_type=record_type)
        self.unacked = {
            reason: metrics.counter(LEDGER_UNACKED_TOTAL, record_type=record_type, reason=reason) for reason in Unacked
        }

    def ack_at_once(self, count: int) -> None:
        """Records are acknowledged in the read that brought them."""
        self._acked.add(count)
        self._latency.observe(0, count)

    def ack(self, records: Sequence[Record], now_ms: int) -> None:
        """Records that were awaiting are acknowledged now.

        :param now_ms: of the wall clock, as in ``Record.received_at_ms``; when it was set back, records seem to wait 0 s.
        """
        count = len(records)
        self._acked.add(count)
        self.awaiting.add(-count)
        received_at_ms = records[0].received_at_ms
        if records[-1].received_at_ms == received_at_ms:  # as nearly always: the records of one read
            self._latency.observe(max(0, now_ms - received_at_ms) / 1000, count)
            return
        for at_ms, its_count in Counter([record.received_at_ms for record in records]).items():
            self._latency.observe(max(0, now_ms - at_ms) / 1000, its_count)

    def refuse(self, count: int, reason: Unacked) -> None:
        """Records that were awaiting are never acknowledged, for this reason."""
        self.unacked[reason].add(count)
        self.awaiting.add(-count)


class SinkAccount:
    """The accounts of one record type at one sink. Two of the same type and sink count in the same series."""

    __slots__ = (
        "_dead_letters",
        "_delivered",
        "_given_up",
        "_held",
        "_left",
        "_lost",
        "_read",
        "_replayed",
        "_skipped",
        "_spooled",
        "_taken",
        "_unheard",
        "refused",
        "retried",
    )

    def __init__(self, record_type: str, sink: str, metrics: IMetrics) -> None:
        labels = {"record_type": record_type, "dispatcher": sink}
        counter = metrics.counter
        self._taken = counter(LEDGER_TAKEN_TOTAL, **labels)
        self.refused = counter(LEDGER_REFUSED_TOTAL, **labels)
        self.retried = counter(LEDGER_RETRIED_TOTAL, **labels)
        self._delivered = counter(LEDGER_DELIVERED_TOTAL, **labels)
        self._dead_letters = {kept: counter(LEDGER_DEAD_LETTERS_TOTAL, kept=kept, **labels) for kept in Kept}
        self._unheard = counter(LEDGER_UNHEARD_TOTAL, **labels)
        self._given_up = counter(LEDGER_GIVEN_UP_TOTAL, **labels)
        self._held = metrics.gauge(LEDGER_HELD_RECORDS, **labels)
        self._replayed = counter(LEDGER_REPLAYED_TOTAL, **labels)
        self._left = counter(LEDGER_LEFT_TOTAL, **labels)
        self._read = counter(LEDGER_READ_TOTAL, **labels)
        self._skipped = counter(LEDGER_SKIPPED_TOTAL, **labels)
        self._spooled = metrics.gauge(LEDGER_SPOOLED_RECORDS, **labels)
        self._lost = {reason: counter(LOST_RECORDS_TOTAL, reason=reason, **labels) for reason in Loss}

    def take(self, count: int) -> None:
        """The queue has taken records, from wherever."""
        self._taken.add(count)
        self._held.add(count)

    def deliver(self, count: int) -> None:
        """The sink has confirmed records that the queue held."""
        self._delivered.add(count)
        self._held.add(-count)

    def dead_letter(self, kept: Kept) -> None:
        """A record that the queue held is a dead letter now, and is kept there."""
        self._dead_letters[kept].add(1)
        self._held.add(-1)

    def unheard(self) -> None:
        """A record that the queue held had no subscriber."""
        self._unheard.add(1)
        self._held.add(-1)

    def give_up(self, *, is_lost: bool) -> None:
        """The gateway stops while the queue holds a record.

        :param is_lost: it may have been acknowledged, and is not in the spool.
        """
        self._given_up.add(1)
        self._held.add(-1)
        if is_lost:
            self._lost[Loss.STOPPED].add(1)

    def leave(self, count: int) -> None:
        """The spool has taken records that the queue is to read later."""
        self._left.add(count)
        self._spooled.add(count)

    def read(self, count: int) -> None:
        """The queue has taken records that were left; ``take`` counts them as well."""
        self._read.add(count)
        self._spooled.add(-count)

    def replay(self, count: int) -> None:
        """The queue has taken records that were in the spool before the start; ``take`` counts them as well."""
        self._replayed.add(count)

    def skip(self, count: int) -> None:
        """Records that were left are not in the spool any more."""
        self._skipped.add(count)
        self._spooled.add(-count)


class SinkAccountsByType(dict[str, SinkAccount]):
    """The accounts of one sink by record type; made as they are looked up, as a queue takes routed types only."""

    def __init__(self, sink: str, metrics: IMetrics) -> None:
        super().__init__()
        self._sink = sink
        self._metrics = metrics

    def __missing__(self, record_type: str) -> SinkAccount:
        account = self[record_type] = SinkAccount(record_type, self._sink, self._metrics)
        return account
