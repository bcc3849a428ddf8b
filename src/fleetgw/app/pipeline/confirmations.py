"""The final outcomes of records, as those hear them that wait for a confirmation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.ports import ILog
    from fleetgw.domain.records import Record


class AwaitsConfirmation(Protocol):
    """Receives the final outcomes of records for whose confirmation a vehicle waits (a session, or its tickets)."""

    def __hash__(self) -> int: ...

    def confirmed(self, records: Sequence[Record]) -> None:
        """The sink has confirmed these records, or their dead letters are stored; in order."""

    def refused(self, record: Record, /) -> bool:
        """The sink never confirms this record, or is stopped before it does.

        :return: whether there is another copy: the vehicle resends it, as it is never acknowledged, or the spool keeps it.
        """


def confirm(origin: AwaitsConfirmation, records: Sequence[Record], sink: str, log: ILog) -> None:
    """Tell an origin that these records are confirmed. Logs its error, which must not keep others from their acks."""
    try:
        origin.confirmed(records)
    except Exception as error:  # of one vehicle's session
        log.error("confirmation_failed", dispatcher=sink, error=f"{type(error).__name__}: {error}")
