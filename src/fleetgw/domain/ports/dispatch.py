"""The port to a sink: batches of records, an outcome for each, and the optional interfaces of a sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from zope.interface import Attribute, Interface

from fleetgw.domain.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from fleetgw.domain.records import Record


@frozen
class Receipt:
    """A sink's word that a record is where "delivered" means for that sink."""


RECEIPT = Receipt()

Outcome = Receipt | DeliveryError
"""The outcome of one record: a receipt, or ``Retryable`` / ``NotConnected`` / ``Rejected`` with the reason."""


@frozen
class Ready:
    """The sink can deliver now, as far as it knows."""


@frozen
class NotReady:
    """The sink cannot deliver now. ``reason`` is for people: the fault and its place."""

    reason: str


Readiness = Ready | NotReady


class IDispatcher(Interface):
    """A sink: takes records to one destination.

    The life of a sink: made, ``start``, any number of ``dispatch``, ``stop``. Its metrics and log events are its own.
    """

    name = Attribute("The name that ``records`` of the configuration routes to; a str.")

    def start() -> Deferred[None]:
        """Begin to work. Called once, before the first ``dispatch``.

        Fires as soon as ``dispatch`` may be called, whether or not the destination can be reached: a sink whose broker is
        down starts, reports ``NotReady`` and keeps trying by itself. Fails with ``ConfigurationError`` only, for an
        error that no retry can mend. Cancelling it leaves the sink as if never started.
        """

    def dispatch(batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Deliver records.

        :param batch: one or more records, oldest first. Records of one vehicle are in the order received; a sink whose
            destination keeps order keeps that order. The sink must not change the sequence.
        :return: fires with exactly one outcome per record, in the order of ``batch``, once the last is known. A record's
            outcome is a ``Receipt`` only after the destination has confirmed it; ``Retryable`` when the caller should offer
            it again later (``NotConnected`` where the destination as a whole cannot be reached: then everything else waits
            as well); ``Rejected`` when it never can be delivered. One record's fate does not touch its neighbours'.

        Calls may overlap: the next batch may come before the last one's outcomes. Before ``start`` has fired and after
        ``stop`` was called every outcome is ``NotConnected``. Never fails and never raises: any error becomes outcomes.
        Never blocks. Cancelling the Deferred does nothing: the records stay in flight. Every call's Deferred
        fires within a bounded time (the sink's own delivery time-out).
        """

    def stop() -> Deferred[None]:
        """Settle the records in flight and release every resource. Called once, after ``start`` has fired.

        Deferreds of earlier ``dispatch`` calls fire before this one does. Cancelling it gives up on the records in flight
        (their outcomes are ``Retryable``) and releases the resources at once. Never fails.
        """

    def readiness() -> Readiness:
        """Whether the destination can be reached, as last seen; cheap, asks nobody, may be called at any time."""


class IPromptDispatcher(IDispatcher):
    """A sink that wants records as they come: it gathers by itself, or its destination works on some while others come.

    A batch for it leaves with a few records, however many are under way.
    """


class IReloadable(Interface):
    """Reads files that others replace: certificates, keys, passwords. Optional for a sink."""

    def reload() -> Sequence[str]:
        """Read the files again that have changed, and use their content for new connections.

        Called on SIGHUP and about once a minute, after ``start`` and before ``stop``; synchronous and cheap. Connections
        that are open stay open.

        :return: the names of the files that were read again; empty when none has changed.
        :raises FleetgwError: a file cannot be used; names it and the reason. The old content stays in use, and the file is
            tried again at the next call.
        """


DEFAULT_MEMORY_WEIGHT = 2.0


class IHoldsCopies(Interface):
    """Says how much memory a record takes while it is with a sink. Optional for a sink."""

    memory_weight = Attribute(
        """Bytes of memory for each byte of ``Record.cost_bytes`` while a record is with the sink, at least 1: the record
        itself, and the copies that the sink and its client make. A sink that does not say makes one (2.0)."""
    )
