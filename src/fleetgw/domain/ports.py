"""The ports: what the core needs from the world, and what the world may ask of the core.

Everything is called on the reactor's thread. A method that waits returns a Deferred; the others return at once and never
block. No port knows its callers.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen
from zope.interface import Attribute, Interface

from fleetgw.domain.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from fleetgw.domain.metrics import Metric
    from fleetgw.domain.records import Envelope, Record, Vehicle


@frozen
class Receipt:
    """A sink's word that a record is where "delivered" means for that sink."""


RECEIPT = Receipt()

Outcome = Receipt | DeliveryError
"""What became of one record: a receipt, or ``Retryable`` / ``NotConnected`` / ``Rejected`` with the reason."""


@frozen
class Ready:
    """The sink can deliver now, as far as it knows."""


@frozen
class NotReady:
    """The sink cannot deliver now. ``reason`` is for people: what is wrong, and where."""

    reason: str


Readiness = Ready | NotReady


class ConnectivityStatus(Enum):
    """What a connectivity record reports."""

    CONNECTED = 1
    DISCONNECTED = 2


class IDispatcher(Interface):
    """A sink: takes records to one destination.

    The life of a sink: made, ``start``, any number of ``dispatch``, ``stop``. Its metrics and log events are its own.
    """

    name = Attribute("The name that ``records`` of the configuration routes to; a str.")

    def start() -> Deferred[None]:
        """Begin to work. Called once, before the first ``dispatch``.

        Fires as soon as ``dispatch`` may be called, whether or not the destination can be reached: a sink whose broker is
        down starts, reports ``NotReady`` and keeps trying by itself. Fails with ``ConfigurationError`` only, for what no
        amount of trying can mend. Cancelling it leaves the sink as if never started.
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
        Never blocks. Cancelling the Deferred does nothing: what is under way stays under way. Every call's Deferred
        fires within a bounded time (the sink's own delivery time-out).
        """

    def stop() -> Deferred[None]:
        """Settle what is under way and let go of every resource. Called once, after ``start`` has fired.

        Deferreds of earlier ``dispatch`` calls fire before this one does. Cancelling it gives up on what is still under way
        (its outcomes are ``Retryable``) and releases the resources at once. Never fails.
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
        itself, and what the sink and its client make of it. A sink that does not say is taken to make one copy (2.0)."""
    )


class Verdict(Enum):
    """What a finding means for the operator."""

    GOOD = "ok"
    WORTH_A_LOOK = "warning"
    WILL_NOT_WORK = "problem"


@frozen
class Finding:
    """One thing found out about a destination or a certificate.

    :ivar what: what is so, for people; holds no secret.
    :ivar fix: what to do about it, empty where there is nothing to do.
    """

    verdict: Verdict
    what: str
    fix: str = ""


class IDiagnosable(Interface):
    """What can be asked for a diagnosis. Optional for a sink; ``fleetgw doctor`` asks it in place of starting the sink."""

    def diagnose() -> Deferred[Sequence[Finding]]:
        """Look at the destination, and leave nothing behind there.

        Called at most once, on what was never started and never will be.

        :return: fires with what was found, in the order it was looked at; never fails. Cancelling it fires it at once with
            what has been found so far.
        """


class IRecordCodec(Interface):
    """Wire bytes <-> records. Pure and synchronous; calls never overlap."""

    def read_envelope(message: bytes) -> Envelope:
        """Read one whole WebSocket message.

        :raises MalformedEnvelope: no envelope can be read within the message's own bytes, or its txid or topic is too long.
        """

    def read_record(record_type: str, envelope: Envelope, vehicle: Vehicle, received_at_ms: int) -> Record:
        """Decode and transform a Stream envelope's payload; the vin is always the vehicle's own.

        :param record_type: the envelope's topic as text.
        :param received_at_ms: epoch milliseconds.
        :raises MalformedPayload: the payload does not parse as its type, holds more than a record may (``bound``), or
            cannot be written as JSON.
        """

    def connectivity(vehicle: Vehicle, status: ConnectivityStatus, created_at_ns: int) -> Record:
        """Make the record of a connect or a disconnect; its txid is the connection id.

        :param created_at_ns: epoch nanoseconds; also gives ``received_at_ms``.
        """


class ICounter(Interface):
    """One time series that only grows."""

    def add(amount: int) -> None:
        """Add ``amount`` >= 0. Costs about as much as an attribute; called on the hot path."""


class IGauge(Interface):
    """One time series that goes up and down."""

    def set_to(value: float) -> None:
        """Set the current value."""


class IMetrics(Interface):
    """Where numbers go. The hot path's series are looked up once and kept; those of rare events each time."""

    def counter(metric: Metric, **labels: str) -> ICounter:
        """The counter of ``metric`` with exactly the metric's labels; the same labels give the same counter.

        The caller takes label values from a closed set: a series is never forgotten.

        :raises ValueError: the metric is no counter, or the labels are not the metric's.
        """

    def gauge(metric: Metric, **labels: str) -> IGauge:
        """As ``counter``, for gauges."""


class ILog(Interface):
    """Where events go that an operator reads. Writing never blocks and never raises."""

    debug_enabled = Attribute("Whether ``debug`` events are written, a bool: lets a hot path skip making them.")
    info_enabled = Attribute("Whether ``info`` events are written, a bool.")

    def debug(event: str, **fields: object) -> None:
        """Write an event for developers. ``event`` is a snake_case name, e.g. ``socket_connected``; fields are JSON-able."""

    def info(event: str, **fields: object) -> None:
        """Write an event of normal operation."""

    def warn(event: str, **fields: object) -> None:
        """Write an event that somebody should look at some time."""

    def error(event: str, **fields: object) -> None:
        """Write an event that somebody should look at now. Pass an exception as ``error=str(e)``."""


class IVehicleLink(Interface):
    """The gateway's hold on one connected vehicle; given by ingress."""

    def send(replies: bytes) -> None:
        """Write replies (framed by ``IReplyFrames``) at once. After the link has gone it does nothing."""

    def close(reason: str) -> None:
        """Say goodbye (WebSocket code 1001, ``reason`` of at most 123 bytes) and close."""


class IReplyFrames(Interface):
    """Replies as they go out on the wire: the codec's envelopes framed for the transport."""

    def ack(record_type: str, txid: bytes) -> bytes:
        """One framed acknowledgement."""

    def error(txid: bytes) -> bytes:
        """One framed error reply."""


class ISession(Interface):
    """What one connection asks of the core; made by ``IGateway.connected``."""

    def received(messages: Sequence[bytes]) -> bytes:
        """Take the whole WebSocket messages of one read, in order.

        :return: the replies that are already due, framed and joined, to be written at once; may be empty.
        """

    def disconnected() -> None:
        """The connection has gone. Called once; nothing is called afterwards."""


class IGateway(Interface):
    """The core as ingress sees it."""

    def connected(vehicle: Vehicle, link: IVehicleLink) -> ISession:
        """An authorised vehicle has finished its upgrade."""
