"""The port to a sink: batches of records in, an outcome for each out; and the optional interfaces of a sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from zope.interface import Attribute, Interface

from fleetgw.domain.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from twisted.internet.defer import Deferred

    from fleetgw.domain.records import Record


@frozen
class Receipt:
    """The destination has confirmed a record, as strongly as it can: the sink's page says what that means."""


RECEIPT = Receipt()

Outcome = Receipt | DeliveryError
"""The outcome of one record: a ``Receipt``, or an error with the reason; ``IDispatcher.dispatch`` says which error."""


@frozen
class Ready:
    """The sink can deliver now, as far as it knows."""


@frozen
class NotReady:
    """The sink cannot deliver now. ``reason`` is for the operator: the fault and its place."""

    reason: str


Readiness = Ready | NotReady


class IDispatcher(Interface):
    """A sink: delivers records to one destination.

    The life of a sink: ``start`` once, any number of ``dispatch`` once it has fired, ``stop`` once. ``readiness`` may be
    called at any time. Its metrics and log events are its own.
    """

    name = Attribute("The name in ``records`` of the configuration, and in metric labels; a str that never changes.")

    def start() -> Deferred[None]:
        """Start the sink. Called once, before the first ``dispatch``.

        A sink whose broker is down starts all the same: it reports ``NotReady`` and connects by itself, with a backoff.

        :return: fires with None as soon as ``dispatch`` may be called, whether or not the destination can be reached. Fails
            with ``ConfigurationError`` alone, for a fault that only another configuration can remove. Cancelling it leaves
            the sink as if never started, with every resource released; ``stop`` is not called then.
        """

    def dispatch(batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Deliver records. Never raises: every error becomes an outcome.

        Calls overlap: the next batch may come before the outcomes of the last one. Before ``start`` has fired, and after
        ``stop`` was called, every outcome is ``NotConnected``.

        :param batch: one or more records, oldest first; the sink must not change the sequence. Records with the same
            ordering key are in the order received, also from one call to the next, unless a record is retried. A sink whose
            destination keeps an order keeps this one.
        :return: fires with exactly one outcome for each record, in the order of ``batch``, once the last one is known, and
            within a bounded time (the sink's own delivery timeout). Never fails. Cancelling it does nothing: the records
            stay in flight. The outcome of one record does not depend on the others:

            - ``Receipt`` only after the destination has confirmed the record;
            - ``NotConnected`` when the destination as a whole cannot be reached: the lane holds all records back;
            - any other ``Retryable`` when this record can be delivered later: the lane retries it after a backoff;
            - ``Rejected`` when it never can be delivered: it becomes a dead letter;
            - ``Unheard`` when the destination stores no records, and this one had no subscriber.
        """

    def stop() -> Deferred[None]:
        """Settle the records in flight, then release every resource. Called once, after ``start`` has fired.

        :return: fires with None when nothing is left, after the Deferreds of all earlier ``dispatch`` calls. Never fails.
            Cancelling it gives up on the records in flight (their outcomes are ``Retryable``) and releases the resources at
            once; it then fires with None.
        """

    def readiness() -> Readiness:
        """Whether the destination can be reached, as last seen: cheap, without a question to the destination.

        May be called at any time, also before ``start`` and after ``stop`` (``NotReady`` then).
        """


class IPromptDispatcher(IDispatcher):
    """A sink for which batches are flushed early: it batches by itself, or its destination works on each record alone.

    Its lane flushes a batch once a few records wait, however many are in flight. Optional for a sink.
    """


class IReloadable(Interface):
    """Reads files again that are replaced while the gateway runs: certificates, keys, passwords. Optional for a sink."""

    def reload() -> Sequence[str]:
        """Read the files that have changed, and use their content for new connections.

        Called on SIGHUP and about once a minute, after ``start`` has fired and before ``stop``. Synchronous and cheap. Open
        connections stay open.

        :return: the names of the files that were read, each a str; empty when none has changed.
        :raises FleetgwError: a file cannot be used; names it and the reason. The old content stays in use, and the next
            call reads the file again.
        """


class ITakesFurtherTypes(Interface):
    """Takes records of types that were not routed to the sink when it was made. Optional for a sink.

    Without it a record type that a reload routes to the sink goes there after a restart only.
    """

    def take_further_types(record_types: Collection[str]) -> None:
        """Be ready for records of further types, each a str; those that the sink takes already may be among them.

        Called while the sink runs, before the first record of these types is dispatched. Synchronous and cheap.
        """


DEFAULT_MEMORY_WEIGHT = 2.0
"""The memory weight of a sink that does not provide ``IHoldsCopies``: the record, and one copy of it."""


class IHoldsCopies(Interface):
    """Declares the memory that a record takes while it is in flight. Optional for a sink."""

    memory_weight = Attribute(
        """Bytes of memory for each byte of ``Record.cost_bytes`` while a record is in flight, a float of at least 1: the
        record itself, and the copies that the sink and its client make. Read once, before ``start``."""
    )
