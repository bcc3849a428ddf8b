"""Shortfalls: lanes that have not taken all records that they were offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import define

from fleetgw.domain.ledger import Unacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.records import Record


class Refusable(Protocol):
    """``AwaitsConfirmation`` that can also hear why a record is refused."""

    def __hash__(self) -> int: ...

    def confirmed(self, records: Sequence[Record]) -> None:
        """See ``AwaitsConfirmation``."""

    def refused(self, record: Record, reason: Unacked = Unacked.UNCONFIRMED, /) -> bool:
        """See ``AwaitsConfirmation``."""


@define(eq=False)
class Shortfall:
    """A lane that has not taken all records of a run.

    :ivar origin: receives the confirmations and refusals; None when nothing waits for them.
    :ivar bit: the lane in the sets of ``TypeRoute.can_do_without``; 0 when no acknowledgement needs the lane.
    :ivar taken: number of records that the lane has taken, from the first on.
    """

    lane: Lane
    origin: Refusable | None
    bit: int
    taken: int

    def refuse(self, records: Sequence[Record], reason: Unacked) -> None:
        """Give up records that the lane has not taken."""
        if records:
            self.lane.count_refused(records[0].record_type, len(records))
        if self.origin is not None:
            for record in records:
                self.origin.refused(record, reason)
