"""A session: takes one connection's messages to the lanes, and their acknowledgements back to the link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define
from zope.interface import implementer

from fleetgw.app.pipeline.tickets import TicketPolicy, Tickets
from fleetgw.domain.errors import MessageTooBig, OtherSender, UnknownMessageType, Unrouted
from fleetgw.domain.ledger import Unacked
from fleetgw.domain.ports import ISession
from fleetgw.domain.records import MessageType, count_types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.app.pipeline.connected import ConnectedVehicles
    from fleetgw.app.pipeline.refusals import Refusals
    from fleetgw.app.pipeline.routes import TypeRoute, TypeRoutes
    from fleetgw.app.pipeline.signal_metrics import SignalMetrics
    from fleetgw.app.pipeline.tickets import ConfirmationMetrics
    from fleetgw.app.pipeline.unrouted import UnroutedRecords
    from fleetgw.domain.ports import IRecordCodec, IVehicleLink
    from fleetgw.domain.records import Envelope, Record, Vehicle

STREAM = MessageType.STREAM.value


@define(eq=False)
class SessionContext:
    """The state that all sessions share.

    :ivar refusals: counts and logs the messages that make no record.
    :ivar unrouted: the answer to records of types without a route.
    :ivar max_message_bytes: a longer message is answered with the error reply.
    :ivar monotonic: seconds, never going back.
    :ivar wall_ns: epoch nanoseconds.
    """

    routes: TypeRoutes
    codec: IRecordCodec
    refusals: Refusals
    unrouted: UnroutedRecords
    signal_metrics: SignalMetrics
    connected: ConnectedVehicles
    max_message_bytes: int
    monotonic: Callable[[], float]
    wall_ns: Callable[[], int]


@implementer(ISession)
class Session:
    """Takes one connection's messages, and acknowledges its records.

    :ivar connected_at: monotonic seconds.
    :ivar size_bytes: payload bytes of the records received, by the record type's label.
    """

    __slots__ = (
        "__weakref__",
        "_context",
        "_link",
        "_tickets",
        "_unconfirmed",
        "_when_settled",
        "connected_at",
        "size_bytes",
        "vehicle",
    )

    def __init__(self, context: SessionContext, vehicle: Vehicle, link: IVehicleLink) -> None:
        self.vehicle = vehicle
        self.connected_at = context.monotonic()
        self.size_bytes: dict[str, int] = {}
        self._context = context
        self._link: IVehicleLink | None = link
        self._tickets: dict[TicketPolicy, Tickets] = {}
        self._unconfirmed = 0  # records that wait for one sink, or the spool; those that wait for several have tickets
        self._when_settled: Callable[[], None] | None = None

    def received(self, messages: Sequence[bytes]) -> None:
        """See ``ISession``. Consecutive records of one type go to their lanes together."""
        context = self._context
        codec, routes = context.codec, context.routes
        read_envelope, read_record, find_route = codec.read_envelope, codec.read_record, routes.find
        max_message_bytes = context.max_message_bytes
        received_at_ms = context.wall_ns() // 1_000_000
        vehicle, buckets = self.vehicle, context.connected.buckets
        now = context.monotonic() if buckets is not None else 0.0
        bucket = buckets.of(vehicle.vin, now) if buckets is not None else None
        run: list[Record] = []
        run_route: TypeRoute | None = None
        for message in messages:
            envelope = None
            try:
                if len(message) > max_message_bytes:
                    raise MessageTooBig(f"message of {len(message)} bytes; at most {max_message_bytes} are taken")
                envelope = read_envelope(message)
                route = find_route(envelope.topic)
                if envelope.message_type != STREAM or not envelope.has_message:
                    raise UnknownMessageType(envelope.message_type)
                if bucket is not None and not bucket.take(now):
                    context.refusals.over_rate_limit(vehicle, route)
                    continue
                if route is None:
                    route = self._unrouted(envelope)
                record = read_record(route.record_type, envelope, vehicle, received_at_ms)
            except Exception as error:  # an error of one message must not keep the others from their lanes
                if run_route is not None:
                    self._accept(run_route, run)
                    run_route = None
                self._refuse(error, envelope)
                continue
            if route is not run_route:
                if run_route is not None:
                    self._accept(run_route, run)
                run_route, run = route, []
            run.append(record)
        if run_route is not None:
            self._accept(run_route, run)

    def _accept(self, route: TypeRoute, records: list[Record]) -> None:
        """Offer records of one type to their lanes, and acknowledge those that wait for no confirmation."""
        size_bytes = cost_bytes = signals = 0
        for record in records:
            size_bytes += len(record.payload)
            cost_bytes += record.cost_bytes
            signals += record.signals
            if record.unknown_values:
                self._context.signal_metrics.note_unknown_values(record)
        count = len(records)
        metrics = route.metrics
        metrics.record_total.add(count)
        metrics.size_bytes_total.add(size_bytes)
        sizes, label = self.size_bytes, metrics.label
        sizes[label] = sizes.get(label, 0) + size_bytes
        if signals:
            self._context.signal_metrics.count(metrics, self.vehicle, signals)
        if route.spooled is not None:
            metrics.dispatch_total.add(route.spooled.accept(records, cost_bytes, self))
            return
        fewest = count
        for lane in route.lanes:
            # a full lane does not keep the records from the others
            taken = lane.offer(records, cost_bytes, None)
            if taken < fewest:
                fewest = taken
        awaits = route.awaits
        if awaits is None:
            if not route.lanes:
                self._context.unrouted.count(label, self.vehicle.vin, count)
            if fewest and self._link is not None:
                self._link.acknowledge(records if fewest == count else records[:fewest])
            metrics.account.acked.add(fewest)
            if fewest < count:
                metrics.account.unacked[Unacked.FULL].add(count - fewest)
        else:
            if isinstance(awaits, TicketPolicy):
                taken = self.tickets_of(awaits).offer(records, cost_bytes)
            else:
                taken = awaits.offer(records, cost_bytes, self)
                self._unconfirmed += taken
                metrics.account.awaiting.add(taken)
                if taken < count:
                    metrics.account.unacked[Unacked.FULL].add(count - taken)
            fewest = min(fewest, taken)
        metrics.dispatch_total.add(fewest)

    def tickets_of(self, policy: TicketPolicy) -> Tickets:
        """The session's tickets for a policy."""
        tickets = self._tickets.get(policy)
        if tickets is None:
            for replaced in [each for each, held in self._tickets.items() if held.is_empty]:
                self._tickets.pop(replaced).close()  # the others of replaced policies wait until their records are settled
            tickets = self._tickets[policy] = Tickets(policy, self.acknowledge_due, self._settled)
        return tickets

    def confirmed(self, records: Sequence[Record]) -> None:
        """See ``AwaitsConfirmation``. Acknowledges the records in one write."""
        for record_type, count in count_types(records).items():
            self._count_confirmed(self._context.routes.confirmation_metrics[record_type], count)
        if self._link is not None:
            self._link.acknowledge(records)
        self._unconfirmed -= len(records)
        self._settled()

    def refused(self, record: Record) -> bool:
        """See ``AwaitsConfirmation``: a record that waits for one sink stays unacknowledged."""
        self._context.routes.confirmation_metrics[record.record_type].account.settle(1, Unacked.UNCONFIRMED)
        self._unconfirmed -= 1
        self._settled()
        return True

    def acknowledge(self, records: Sequence[Record]) -> bool:
        """Acknowledge records, in order. Returns whether the vehicle is there."""
        if self._link is None:
            return False
        self._link.acknowledge(records)
        return True

    def awaits(self, change: int) -> None:
        """So many more records wait for their acknowledgement, or fewer."""
        self._unconfirmed += change
        self._settled()

    def when_settled(self, called: Callable[[], None]) -> None:
        """See ``ISession``."""
        self._when_settled = called
        self._settled()

    def _settled(self) -> None:
        """Some records wait no more: call the function of ``when_settled`` if none does."""
        called = self._when_settled
        if called is None or self._unconfirmed or any(tickets.are_awaited for tickets in self._tickets.values()):
            return
        self._when_settled = None
        called()

    def acknowledge_due(self, records: Sequence[Record], metrics: ConfirmationMetrics) -> None:
        """Acknowledge records, in order, that a confirmation with these metrics has made due."""
        self._count_confirmed(metrics, len(records))
        self.acknowledge(records)
        self._settled()

    def _count_confirmed(self, metrics: ConfirmationMetrics, count: int) -> None:
        if self._link is not None:
            metrics.reliable_ack.add(count)
            metrics.account.settle(count)
        else:
            metrics.reliable_ack_miss.add(count)
            metrics.account.settle(count, Unacked.DISCONNECTED)
        metrics.sink_total.add(count)

    def disconnected(self) -> None:
        """See ``ISession``. Later confirmations are counted as missed."""
        self._link = self._when_settled = None
        for tickets in self._tickets.values():
            tickets.close()
        self._tickets.clear()
        self._context.connected.remove(self.vehicle, self.connected_at, self.size_bytes)

    def _unrouted(self, envelope: Envelope) -> TypeRoute:
        """The route of a record whose type has none: to no lane.

        :raises PeerError: the record is refused.
        """
        identity, sender_id = self.vehicle.identity, envelope.sender_id
        if sender_id not in (identity.sender_id.encode(), identity.device_id.encode()):
            raise OtherSender("the record's sender is not the certificate's")
        route = self._context.routes.unrouted(envelope.topic)
        if self._context.unrouted.are_refused:
            self._context.unrouted.count(route.metrics.label, self.vehicle.vin, 1)
            raise Unrouted("the record's type has no route")
        return route

    def _refuse(self, error: Exception, envelope: Envelope | None) -> None:
        """Count, log and answer a message that makes no record: the one place for it."""
        context, link = self._context, self._link
        context.refusals.refuse(self.vehicle, error, envelope)
        txid = envelope.txid if envelope is not None else b""
        if isinstance(error, UnknownMessageType):
            metrics = context.routes.unrouted(b"").metrics
            metrics.record_total.add(1)
            metrics.dispatch_total.add(1)
            metrics.account.acked.add(1)
            self.size_bytes.setdefault(metrics.label, 0)
            if link is not None:
                link.acknowledge_unknown(txid)
        elif link is not None:
            link.reply_error(txid)
