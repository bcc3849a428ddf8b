"""A session: takes one connection's messages to the lanes, and their acknowledgements back to the link."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.app.pipeline.known import MAX_DATA_BYTES, Received
from fleetgw.app.pipeline.shortfall import Shortfall
from fleetgw.app.pipeline.tickets import TicketPolicy, Tickets
from fleetgw.app.pipeline.waiting import WaitingRun
from fleetgw.domain.errors import MessageTooBig, UnknownMessageType
from fleetgw.domain.ledger import Unacked
from fleetgw.domain.ports import ISession
from fleetgw.domain.record_stages import RecordStages
from fleetgw.domain.records import DATA, MessageType, count_types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.app.pipeline.accounts import VehicleAccount
    from fleetgw.app.pipeline.context import SessionContext
    from fleetgw.app.pipeline.known import KnownVehicle
    from fleetgw.app.pipeline.routes import TypeRoute
    from fleetgw.app.pipeline.tickets import ConfirmationMetrics
    from fleetgw.domain.ports import ITrace, IVehicleLink
    from fleetgw.domain.records import Envelope, Record, Vehicle

STREAM = MessageType.STREAM.value


@implementer(ISession)
class Session:
    """Takes one connection's messages, and acknowledges its records.

    Backpressure: a run that waits for room in a lane stops the reading of the vehicle. Its later runs wait behind, error
    replies do not. Once all are placed, reading goes on.

    :ivar connected_at: monotonic seconds.
    :ivar received_of: the records received, by the record type's label.
    :ivar known: the vehicle over all of its connections.
    :ivar trace: see ``ISession``.
    """

    __slots__ = (
        "__weakref__",
        "_behind",
        "_context",
        "_is_paused",
        "_link",
        "_tickets",
        "_unconfirmed",
        "_waiting",
        "_when_settled",
        "connected_at",
        "known",
        "received_of",
        "trace",
        "vehicle",
    )

    def __init__(self, context: SessionContext, vehicle: Vehicle, link: IVehicleLink, known: KnownVehicle) -> None:
        self.vehicle, self.known = vehicle, known
        self.trace: ITrace | None = None
        self.connected_at = context.monotonic()
        self.received_of: dict[str, Received] = {}
        self._context = context
        self._link: IVehicleLink | None = link
        self._tickets: dict[TicketPolicy, Tickets] = {}
        self._unconfirmed = 0  # records that wait for one sink, or the spool; those that wait for several have tickets
        self._is_paused = False  # exactly while a run waits
        self._waiting: WaitingRun | None = None
        self._behind: deque[tuple[TypeRoute, list[Record], int]] = deque()  # not offered yet, and their costs
        self._when_settled: Callable[[], None] | None = None

    def received(self, messages: Sequence[Envelope | bytes]) -> None:
        """See ``ISession``. Consecutive records of one type go to their lanes together."""
        context = self._context
        codec, routes = context.codec, context.routes
        read_envelope, read_record, find_route = codec.read_envelope, codec.read_record, routes.find
        max_message_bytes = context.max_message_bytes
        received_at_ms = self._now_ms()
        vehicle, buckets = self.vehicle, context.connected.buckets
        now = context.monotonic() if buckets is not None else 0.0
        bucket = buckets.of(vehicle.vin, now) if buckets is not None else None
        run: list[Record] = []
        run_route: TypeRoute | None = None
        for message in messages:
            envelope = None
            try:
                if isinstance(message, bytes):
                    if len(message) > max_message_bytes:
                        raise MessageTooBig(f"message of {len(message)} bytes; at most {max_message_bytes} are taken")
                    envelope = read_envelope(message)
                else:
                    envelope = message
                route = find_route(envelope.topic)
                if envelope.message_type != STREAM or not envelope.has_message:
                    raise UnknownMessageType(envelope.message_type)
                if bucket is not None and not bucket.take(now):
                    context.refusals.over_rate_limit(vehicle, route)
                    if self.trace is not None:
                        RecordStages(self.trace).over_limit(envelope)
                    continue
                if route is None:
                    route = context.unrouted.route_of(envelope, vehicle, routes)
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
        """Count records of one type, and place them, unless others wait that came before."""
        context = self._context
        size_bytes = cost_bytes = signals = 0
        for record in records:
            size_bytes += len(record.payload)
            cost_bytes += record.cost_bytes
            signals += record.signals
            if record.unknown_values:
                context.signal_metrics.note_unknown_values(record)
        count, trace = len(records), self.trace
        if trace is not None:
            RecordStages(trace).received(records, route.destinations)
        metrics = route.metrics
        metrics.record_total.add(count)
        metrics.size_bytes_total.add(size_bytes)
        received = self.received_of.get(metrics.label) or self.received_of.setdefault(metrics.label, Received())
        received.records += count
        received.size_bytes += size_bytes
        self.known.last_record_ms = record.received_at_ms
        if signals:
            context.signal_metrics.count(metrics, self.vehicle, signals)
            if len(record.payload) <= MAX_DATA_BYTES and metrics.label == DATA:
                self.known.last_data = record.payload
        for observe in context.record_observers:
            observe(self.vehicle, records)
        acknowledged = context.acknowledged
        if acknowledged is not None and (route.every_lane or route.spooled is not None):
            records, duplicates = acknowledged.split(records, context.monotonic())
            if duplicates:
                metrics.account.duplicates.add(len(duplicates))
                if trace is not None:
                    RecordStages(trace).duplicates(duplicates)
                if self._link is not None:
                    self._link.acknowledge(duplicates)
                count, cost_bytes = len(records), sum([record.cost_bytes for record in records])
                if not records:
                    return
        if route.spooled is not None:
            taken = route.spooled.accept(records, cost_bytes, self)
            metrics.dispatch_total.add(taken)
            if trace is not None:
                RecordStages(trace).placed(records, taken, "the spool, or every queue")
            return
        account = metrics.account
        paused = context.paused.queues
        if paused and self.vehicle.vin in paused and route.every_lane:
            account.awaiting.add(count)
            self._wait_behind(route, records, cost_bytes)
        elif shortfalls := self._offer(route, records, cost_bytes):
            account.awaiting.add(count)
            self._take_up(WaitingRun(route, records, shortfalls))
        else:
            if route.awaits is None:
                account.ack_at_once(count)
            else:
                account.awaiting.add(count)
            self._placed(route, records)

    def _offer(self, route: TypeRoute, records: list[Record], cost_bytes: int) -> list[Shortfall]:
        """Offer records of one type to their lanes; returns the lanes that have not taken all of them."""
        count, awaits = len(records), route.awaits
        shortfalls = []
        for lane in route.lanes:
            # a full lane does not keep the records from the others
            taken = lane.take(records, cost_bytes, None)
            if taken < count:
                shortfalls.append(Shortfall(lane, None, 1 if awaits is None else 0, taken))
        if isinstance(awaits, TicketPolicy):
            shortfalls += self.tickets_of(awaits).offer(records, cost_bytes)
        elif awaits is not None:
            self._unconfirmed += count
            taken = awaits.take(records, cost_bytes, self)
            if taken < count:
                shortfalls.append(Shortfall(awaits, self, 1, taken))
        return shortfalls

    def _placed(self, route: TypeRoute, records: list[Record]) -> None:
        """Every lane has taken these records: acknowledge them if they wait for no confirmation."""
        route.metrics.dispatch_total.add(len(records))
        if self.trace is not None:
            RecordStages(self.trace).placed(records, len(records), "every queue")
        if route.awaits is not None:
            return
        if not route.lanes:
            self._context.unrouted.count(route.metrics.label, self.vehicle.vin, len(records))
        self.acknowledge(records)

    def _take_up(self, run: WaitingRun) -> None:
        """Place what may be placed of a run; the rest waits, and the vehicle with it."""
        route, offered = run.route, [*run.records] if self.trace is not None else ()
        placed = run.remove_placed()
        if placed:
            if route.awaits is None:
                route.metrics.account.ack(placed, self._now_ms())
            self._placed(route, placed)
        if offered and route.awaits is None:  # the others have origins, which hear of each record
            kept = {*placed, *run.records}
            self.not_acknowledged([each for each in offered if each not in kept], Unacked.FULL)
        if not run.records:
            return
        self._waiting = run
        lanes = run.wait(self._room_came)
        if self.trace is not None:
            RecordStages(self.trace).waiting(run.records, [lane.sink.name for lane in lanes])
        if not self._is_paused:
            self._pause()
            self._context.paused.pause(self, route.record_type, [lane.sink.name for lane in lanes])

    def _wait_behind(self, route: TypeRoute, records: list[Record], cost_bytes: int) -> None:
        """Have records wait behind those of this vehicle that wait already."""
        self._behind.append((route, records, cost_bytes))
        if self.trace is not None:
            RecordStages(self.trace).waiting(records, ())
        if not self._is_paused:
            self._pause()
            self._context.paused.queues[self.vehicle.vin].append(self)

    def _pause(self) -> None:
        self._is_paused = True
        if self._link is not None:
            self._link.pause_reading()

    def _room_came(self) -> None:
        self._context.paused.go_on(self.vehicle.vin)

    def place_waiting(self) -> bool:
        """See ``PausedSession``."""
        run, self._waiting = self._waiting, None
        if run is not None:
            run.offer()
            self._take_up(run)
            if self._waiting is run:
                return False
            run.leave(self._room_came)
        while self._waiting is None and self._behind:
            route, records, cost_bytes = self._behind.popleft()
            self._take_up(WaitingRun(route, records, self._offer(route, records, cost_bytes)))
        return self._waiting is None

    def resume(self) -> None:
        """See ``PausedSession``."""
        self._is_paused = False
        if self._link is not None:
            self._link.resume_reading()
        self._settled()

    def _give_up_waiting(self) -> None:
        """Refuse what waits: the connection has ended."""
        if self._waiting is not None:
            self.not_acknowledged(self._waiting.records, Unacked.DISCONNECTED)
            self._waiting.leave(self._room_came)
            self._waiting.refuse(Unacked.DISCONNECTED)
            self._waiting = None
        for route, records, _ in self._behind:
            self.not_acknowledged(records, Unacked.DISCONNECTED)
            route.metrics.account.refuse(len(records), Unacked.DISCONNECTED)
            for lane in route.every_lane:
                lane.count_refused(route.record_type, len(records))
        self._behind.clear()
        if self._is_paused:
            self._is_paused = False
            self._context.paused.leave(self)

    def tickets_of(self, policy: TicketPolicy) -> Tickets:
        """The session's tickets for a policy."""
        tickets = self._tickets.get(policy)
        if tickets is None:
            for replaced in [each for each, held in self._tickets.items() if held.is_empty]:
                self._tickets.pop(replaced).close()  # the others of replaced policies wait until their records are settled
            tickets = self._tickets[policy] = Tickets(policy, self.acknowledge_due, self._settled, self.not_acknowledged)
        return tickets

    def confirmed(self, records: Sequence[Record]) -> None:
        """See ``AwaitsConfirmation``. Acknowledges the records in one write."""
        types = count_types(records)
        for record_type in types:
            its = records if len(types) == 1 else [record for record in records if record.record_type == record_type]
            self._count_confirmed(self._context.routes.confirmation_metrics[record_type], its)
        self.acknowledge(records)
        self._unconfirmed -= len(records)
        self._settled()

    def refused(self, record: Record, reason: Unacked = Unacked.UNCONFIRMED) -> bool:
        """See ``Refusable``: a record that waits for one sink stays unacknowledged."""
        self._context.routes.confirmation_metrics[record.record_type].account.refuse(1, reason)
        self.not_acknowledged([record], reason)
        self._unconfirmed -= 1
        self._settled()
        return True

    def acknowledge(self, records: Sequence[Record]) -> None:
        """Acknowledge records, in order."""
        acknowledged = self._context.acknowledged
        if acknowledged is not None:  # also of a vehicle that has left: it sends them again when it is back
            acknowledged.add(records, self._context.monotonic())
        if self._link is not None:
            self._link.acknowledge(records)
        else:
            self.not_acknowledged(records, Unacked.DISCONNECTED)

    def not_acknowledged(self, records: Sequence[Record], reason: Unacked) -> None:
        """Note that records are never acknowledged; the accounts count them elsewhere."""
        if self.trace is not None and records:
            RecordStages(self.trace).unacked(records, reason)

    def awaits(self, change: int) -> None:
        """Change the number of records that wait for their acknowledgement by ``change``."""
        self._unconfirmed += change
        self._settled()

    def when_settled(self, called: Callable[[], None]) -> None:
        """See ``ISession``."""
        self._when_settled = called
        self._settled()

    def _settled(self) -> None:
        """Some records wait no more: call the function of ``when_settled`` if none does."""
        called = self._when_settled
        if called is None or self._is_paused or self._unconfirmed:
            return
        if any(tickets.are_awaited for tickets in self._tickets.values()):
            return
        self._when_settled = None
        called()

    def acknowledge_due(self, records: Sequence[Record], metrics: ConfirmationMetrics) -> None:
        """Acknowledge records, in order, that a confirmation with these metrics has made due."""
        self._count_confirmed(metrics, records)
        self.acknowledge(records)
        self._settled()

    def acknowledge_stored(self, records: Sequence[Record], account: VehicleAccount) -> None:
        """See ``Acknowledges``."""
        self._count_settled(account, records)
        self.acknowledge(records)

    def _count_confirmed(self, metrics: ConfirmationMetrics, records: Sequence[Record]) -> None:
        (metrics.reliable_ack_miss if self._link is None else metrics.reliable_ack).add(len(records))
        metrics.sink_total.add(len(records))
        self._count_settled(metrics.account, records)

    def _count_settled(self, account: VehicleAccount, records: Sequence[Record]) -> None:
        if self._link is None:
            account.refuse(len(records), Unacked.DISCONNECTED)
        else:
            account.ack(records, self._now_ms())

    def _now_ms(self) -> int:
        return self._context.wall_ns() // 1_000_000

    def disconnected(self) -> None:
        """See ``ISession``. Later confirmations are counted as missed."""
        self._link = self._when_settled = None
        self._give_up_waiting()
        for tickets in self._tickets.values():
            tickets.close()
        self._tickets.clear()
        self._context.connected.remove(self)

    def _refuse(self, error: Exception, envelope: Envelope | None) -> None:
        """Count, log and answer a message that makes no record: the one place for it."""
        context, link = self._context, self._link
        context.refusals.refuse(self.vehicle, error, envelope)
        if self.trace is not None:
            RecordStages(self.trace).refused(error, envelope)
        txid = envelope.txid if envelope is not None else b""
        if isinstance(error, UnknownMessageType):
            metrics = context.routes.unrouted(b"").metrics
            metrics.record_total.add(1)
            metrics.dispatch_total.add(1)
            metrics.account.ack_at_once(1)
            self.received_of.setdefault(metrics.label, Received()).records += 1
            if link is not None:
                link.acknowledge_unknown(txid)
        elif link is not None:
            link.reply_error(txid)
