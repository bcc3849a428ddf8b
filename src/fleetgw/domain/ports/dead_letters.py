"""The port to the dead letters of one sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Collection

    from twisted.internet.defer import Deferred

    from fleetgw.domain.errors import StorageError
    from fleetgw.domain.ports.spool import Page
    from fleetgw.domain.records import Record


class IDeadLetters(Interface):
    """Stores the dead letters of one sink durably, in the order in which they came, each with a position.

    Every answer fires later or at once, and never fails; cancelling it does nothing.
    """

    next_position: int = Attribute("The position of the next letter that is stored.")
    stored_again: int = Attribute("Number of letters stored since the start that were dead letters before.")

    def store(record: Record, reason: str) -> Deferred[StorageError | None]:
        """Store one record. Calls overlap, and are answered in their order.

        :param reason: for people.
        :return: fires with None once the letter is synced to disk, else with the reason for which it is not stored: a
            ``SpoolFull`` when there is no room, another ``StorageError`` when the storage fails or does not run.
        """

    def read(position: int, most_records: int, most_bytes: int) -> Deferred[Page | StorageError]:
        """Read letters that were not removed, oldest first.

        :param position: where to begin: 1, or the ``next_position`` of a page.
        :param most_records: at least 1.
        :param most_bytes: of ``Record.cost_bytes``; a single larger letter is read alone.
        :return: as ``ISpool.read``; the records are ``DeadLetter`` objects.
        """

    def remove(positions: Collection[range]) -> Deferred[StorageError | None]:
        """Remove letters for good.

        :param positions: of the letters; others among them change nothing.
        :return: fires with None once that is durable, else with the reason for which it may not be; the letters are not
            read any more in any case until the next start.
        """
