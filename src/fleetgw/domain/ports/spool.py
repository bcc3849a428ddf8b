"""The port to the spool: a durable queue of records between the gateway and its sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from attrs import frozen
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from fleetgw.domain.errors import StorageError
    from fleetgw.domain.records import Record


class Appended(NamedTuple):
    """Records that the spool has taken and will write.

    :ivar positions: of the records, in order. A position is a whole number from 1 on; later records have higher ones. A
        position that was synced or settled is never used again. Positions of records that were not stored stay unused.
    :ivar synced: fires with None once the records are synced to disk, with a ``StorageError`` when they are not stored;
        some of these may still be read later. The Deferreds of several calls fire in the order of the calls. Never fails.
        Cancelling it does nothing.
    """

    positions: range
    synced: Deferred[StorageError | None]


@frozen(eq=False)
class Page:
    """Records that were read from the spool, in order.

    :ivar positions: of each of the ``records``, ascending.
    :ivar next_position: where to read next. The records between the page's first position and this one that are not in the
        page are of other types, were dropped, damaged or never stored.
    """

    positions: Sequence[int]
    records: Sequence[Record]
    next_position: int


@frozen
class SpoolState:
    """The size and age of the spool.

    :ivar first_position: of the oldest record that may still be held.
    :ivar next_position: of the next record that is appended.
    :ivar size_bytes: of all files that count for the limit.
    :ivar max_bytes: the limit.
    :ivar damaged_bytes: of the damaged files that are kept for people to look at; the oldest are removed in time.
    :ivar unsynced_records: appended, and neither synced nor failed yet.
    :ivar oldest_age_s: of the oldest record held, in seconds; 0.0 for an empty spool.
    :ivar full: why there is no room for records at the moment, for people; None while there is.
    :ivar failure: why nothing is stored at the moment, for people; None while the spool works.
    """

    first_position: int
    next_position: int
    size_bytes: int
    max_bytes: int
    damaged_bytes: int
    unsynced_records: int
    oldest_age_s: float
    full: str | None
    failure: str | None


class ISpool(Interface):
    """A durable queue of records, with a cursor for each sink: the position below which all is settled for it.

    The life of a spool: made, ``start``, any number of the other calls in any order, ``stop``. Its metrics and log events
    are its own. A cursor that is read after a restart may be lower than it was, so that records are delivered again; it
    is never higher. A record below every cursor is removed some time.
    """

    cursors: Mapping[str, int] = Attribute(
        "The cursor of each sink that the spool was started with, as last settled; must not be changed."
    )

    def start(sinks: Mapping[str, Container[str]]) -> Deferred[Mapping[str, int]]:
        """Open the spool. Called once, before everything else.

        :param sinks: the record types that each sink takes, by the sink's name.
        :return: fires with the cursor of each sink: the position from which it goes on. A sink that the spool does not know
            begins behind the last record. The cursor of a sink that is not in ``sinks`` is kept, and holds no record back.
            Fails with ``ConfigurationError`` only: the folder cannot be used, is in use by another process, or is of a
            newer version. Damaged files do not fail it. Cancelling it does nothing.
        """

    def append(records: Sequence[Record]) -> Appended | StorageError:
        """Store records, all or none of them.

        Called once for the records of a read; calls overlap, and are written in their order. Never blocks, never raises.

        :param records: one or more, in the order received.
        :return: a ``SpoolFull`` when there is no room and nothing may be dropped, or another ``StorageError`` while the
            storage is known to fail or the spool does not run: nothing was taken then. Any time later the call may succeed.
        """

    def read(sink: str, position: int, most_records: int, most_bytes: int) -> Deferred[Page | StorageError]:
        """Read records of the sink's types that are synced, oldest first.

        Calls may overlap; each costs memory for one page. Reading moves no cursor.

        :param position: where to begin: a cursor, or the ``next_position`` of a page.
        :param most_records: at least 1.
        :param most_bytes: of ``Record.cost_bytes``; a single larger record is read alone.
        :return: fires with a page. One whose ``next_position`` is ``position`` says that nothing more is synced yet; one
            without records and a higher ``next_position`` says to read on. Records that cannot be read as they were
            written are counted as damaged and skipped. Fires with a ``StorageError`` when reading should be tried again
            later. Never fails. Cancelling it does nothing.
        """

    def settle(sink: str, position: int) -> None:
        """Move the cursor of a sink: every record below ``position`` is settled for it. A lower one than before is ignored.

        Cheap; written to disk in the background. Does nothing when the spool does not run.
        """

    def compact() -> Deferred[StorageError | None]:
        """Write the cursors, and remove from the disk what is below all of them, as far as whole files are.

        :return: fires with None once that is durable, or with the reason for which it is not. Never fails. Cancelling it
            does nothing.
        """

    def state() -> SpoolState:
        """The size and age, as last known; cheap, may be called at any time."""

    def stop() -> Deferred[None]:
        """Sync what was appended, write the cursors and release every resource. Called once, after ``start`` has fired.

        Deferreds of earlier calls fire before this one does. Cancelling it gives up on what waits: it fires at once, and
        what was not synced is not acknowledged. Never fails.
        """
