"""Counts of a fleet's events."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, TextIO, assert_never

from attrs import asdict, define, field

from fleetgw.simulator.conversation import (
    Acked,
    Closed,
    Issued,
    NotOpened,
    Opened,
    Refused,
    Sent,
    Stray,
    Unreadable,
)
from fleetgw.simulator.latency import LatencyHistogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.simulator.conversation import Event

_REASONS_KEPT = 20  # further reasons are counted as one


@define
class RecordCounts:
    """Records of one type: ``sent`` counts first copies, ``resent`` further ones."""

    issued: int = 0
    sent: int = 0
    resent: int = 0
    acked: int = 0
    refused: int = 0

    @property
    def unacked(self) -> int:
        """Number of issued records without an answer."""
        return self.issued - self.acked - self.refused


@define
class Tally:
    """Counts of all events of a fleet's conversations.

    :ivar ids: the destination of issued and answered txids, as JSON lines; None for none.
    :ivar strays: number of answers that match no unacknowledged record.
    :ivar endings: reasons why connections did not open, or ended without the vehicle's doing, with their numbers.
    """

    ids: TextIO | None = None
    by_type: dict[str, RecordCounts] = field(factory=dict)
    latency: LatencyHistogram = field(factory=LatencyHistogram)
    connected_now: int = 0
    connects: int = 0
    reconnects: int = 0
    failed_connects: int = 0
    strays: int = 0
    unreadable: int = 0
    endings: Counter[str] = field(factory=Counter)

    def take(self, vin: str, events: Sequence[Event]) -> None:
        """Count one vehicle's events."""
        for event in events:
            match event:
                case Sent(record_type, _, again):
                    if again:
                        self._counts(record_type).resent += 1
                    else:
                        self._counts(record_type).sent += 1
                case Acked(record_type, txid, latency_s):
                    self._counts(record_type).acked += 1
                    self.latency.add(latency_s)
                    self._note("acked", vin, record_type, txid)
                case Issued(record_type, txid):
                    self._counts(record_type).issued += 1
                    self._note("issued", vin, record_type, txid)
                case Refused(record_type, txid):
                    self._counts(record_type).refused += 1
                    self._note("refused", vin, record_type, txid)
                case Stray():
                    self.strays += 1
                case Unreadable():
                    self.unreadable += 1
                case Opened(again):
                    self.connected_now += 1
                    self.connects += 1
                    self.reconnects += again
                case NotOpened(status, reason):
                    self.failed_connects += 1
                    self._ended(f"not opened: {status or ''} {reason}".replace("  ", " "))
                case Closed(code, reason, wanted):
                    self.connected_now -= 1
                    if not wanted:
                        self._ended(f"closed: {code} {reason}".rstrip())
                case _:
                    assert_never(event)

    def total(self) -> RecordCounts:
        """The counts of all record types together."""
        total = RecordCounts()
        for counts in self.by_type.values():
            for name, value in asdict(counts).items():
                setattr(total, name, getattr(total, name) + value)
        return total

    def _counts(self, record_type: str) -> RecordCounts:
        counts = self.by_type.get(record_type)
        if counts is None:
            counts = self.by_type[record_type] = RecordCounts()
        return counts

    def _ended(self, why: str) -> None:
        self.endings[why if why in self.endings or len(self.endings) < _REASONS_KEPT else "other"] += 1

    def _note(self, what: str, vin: str, record_type: str, txid: bytes) -> None:
        if self.ids is not None:
            line = {"event": what, "txid": txid.decode("utf-8", "surrogateescape"), "type": record_type, "vin": vin}
            self.ids.write(json.dumps(line) + "\n")
