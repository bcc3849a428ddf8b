"""The gateway: what happens to the messages of a vehicle between ingress and the lanes."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from zope.interface import implementer

from fleetgw.app.pipeline.refusals import Refusals
from fleetgw.domain.errors import PeerError
from fleetgw.domain.metrics import (
    NUM_CONNECTIONS,
    UNKNOWN_SIGNAL_VALUE_TOTAL,
    VIN_SIGNAL_COUNT,
)
from fleetgw.domain.ports import ConnectivityStatus, IGateway, ISession
from fleetgw.domain.rate_limit import VehicleBuckets
from fleetgw.domain.records import MessageType
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.app.pipeline.routes import TypeNumbers, TypeRoute, TypeRoutes
    from fleetgw.domain.ports import ICounter, IGauge, ILog, IMetrics, IRecordCodec, IReplyFrames, IVehicleLink
    from fleetgw.domain.rate_limit import TokenBucket
    from fleetgw.domain.records import Envelope, Record, Vehicle

STREAM = MessageType.STREAM.value

_NO_FIELD_OF_ITS_OWN = frozenset({"event", "self"})
"""Record types whose name cannot be a field of a log event; they are in its total."""

UNKNOWN_VALUES_LOG_INTERVAL_S = 10.0
"""Newer vehicles send values of unknown kinds with every record: at most one event in so long a time, over all vehicles."""


@frozen
class RateLimit:
    """So many records in so many seconds, for each vehicle, over all of its connections."""

    message_limit: int
    interval_s: float


@frozen
class _Numbers:
    """What is counted over all record types."""

    connections: IGauge
    unknown_values: ICounter


@implementer(IGateway)
@define(eq=False)
class Gateway:
    """The core: knows the routes and how many sessions there are.

    :ivar codec: wire bytes <-> records.
    :ivar frames: replies as they go out.
    :ivar max_message_bytes: a longer message is answered with the error reply.
    :ivar rate_limit: for each vehicle, None for no limit.
    :ivar refusals: what becomes of messages that make no record.
    :ivar tracked_vins: vehicles with numbers of their own.
    :ivar monotonic: seconds, never going back.
    :ivar wall_ns: epoch nanoseconds.
    """

    routes: TypeRoutes
    codec: IRecordCodec
    frames: IReplyFrames
    metrics: IMetrics
    log: ILog
    max_message_bytes: int
    rate_limit: RateLimit | None
    tracked_vins: frozenset[str]
    monotonic: Callable[[], float]
    wall_ns: Callable[[], int]
    numbers: _Numbers = field(init=False)
    refusals: Refusals = field(init=False)
    _vehicle_log: VehicleLog = field(init=False)
    _buckets: VehicleBuckets | None = field(default=None, init=False)
    _sessions: Counter[str] = field(factory=Counter, init=False)
    _connections: int = field(default=0, init=False)
    _vin_signals: dict[tuple[str, str], int] = field(factory=dict, init=False)
    _unknown_values_logged_at: float = field(default=-math.inf, init=False)
    _unknown_values_unwritten: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        metrics = self.metrics
        self._vehicle_log = VehicleLog(self.log, self.monotonic)
        self.numbers = _Numbers(
            metrics.gauge(NUM_CONNECTIONS),
            metrics.counter(UNKNOWN_SIGNAL_VALUE_TOTAL),
        )
        self.refusals = Refusals(self.frames, metrics, self.log, self.tracked_vins, self.monotonic)
        if self.rate_limit is not None:
            self._buckets = VehicleBuckets(self.rate_limit.message_limit, self.rate_limit.interval_s)

    def connected(self, vehicle: Vehicle, link: IVehicleLink) -> Session:
        """See ``IGateway``. Emits the CONNECTED record."""
        self._count_sessions(vehicle, 1)
        self._connectivity(vehicle, ConnectivityStatus.CONNECTED)
        bucket = self._buckets.of(vehicle.vin, self.monotonic()) if self._buckets is not None else None
        return Session(self, vehicle, link, bucket)

    def gone(self, session: Session) -> None:
        """A session has ended. Emits the DISCONNECTED record and the event with what the vehicle sent."""
        self._count_sessions(session.vehicle, -1)
        self._connectivity(session.vehicle, ConnectivityStatus.DISCONNECTED)
        sizes = session.size_bytes
        totals: dict[str, object] = {name: str(size) for name, size in sizes.items() if name not in _NO_FIELD_OF_ITS_OWN}
        totals |= {
            "total": str(sum(sizes.values())),
            "duration_sec": int(self.monotonic() - session.connected_at),
            "device_id": session.vehicle.vin,
        }
        self._vehicle_log.info("socket_disconnected", session.vehicle.vin, lambda: totals)

    def _count_sessions(self, vehicle: Vehicle, change: int) -> None:
        sessions, vin = self._sessions, vehicle.vin
        vehicles = len(sessions)
        sessions[vin] += change
        if not sessions[vin]:
            del sessions[vin]
            if self._buckets is not None:
                self._buckets.leave(vin, self.monotonic())
        self._connections += change
        self.numbers.connections.set_to(self._connections)
        if (vehicles > 1) != (len(sessions) > 1):
            for lane in self.routes.lanes:
                lane.share_among_vehicles(is_shared=len(sessions) > 1)

    def _connectivity(self, vehicle: Vehicle, status: ConnectivityStatus) -> None:
        route = self.routes.find(b"connectivity")
        if route is None:
            return
        try:
            record = self.codec.connectivity(vehicle, status, self.wall_ns())
        except Exception as error:  # a header that no record can hold must not keep the vehicle out
            fields: dict[str, object] = {"vin": vehicle.vin, "status": status.name, "error": str(error)}
            self._vehicle_log.error("connectivity_failed", vehicle.vin, lambda: fields)
            return
        for lane in route.lanes:
            if not lane.offer([record], record.cost_bytes, None):
                fields = {"vin": vehicle.vin, "dispatcher": lane.sink.name, "status": status.name}
                self._vehicle_log.error("connectivity_dropped", vehicle.vin, fields.copy)

    def count_signals(self, route: TypeRoute, vehicle: Vehicle, signals: int) -> None:
        """Add to the signals of a type, and of the vehicle when it is a tracked one."""
        numbers = route.numbers
        numbers.signals += signals
        numbers.signal_count.set_to(numbers.signals)
        if vehicle.vin in self.tracked_vins:
            key = numbers.label, vehicle.vin
            self._vin_signals[key] = total = self._vin_signals.get(key, 0) + signals
            self.metrics.gauge(VIN_SIGNAL_COUNT, record_type=numbers.label, vin=vehicle.vin).set_to(total)

    def note_unknown_values(self, record: Record) -> None:
        """Count a record with values of an unknown kind, and now and then log one. It passes all the same."""
        self.numbers.unknown_values.add(1)
        now = self.monotonic()
        if now - self._unknown_values_logged_at < UNKNOWN_VALUES_LOG_INTERVAL_S:
            self._unknown_values_unwritten += 1
            return
        self.log.warn(
            "unknown_signal_value",
            vin=record.vin,
            signals=list(record.unknown_values),
            more_unwritten=self._unknown_values_unwritten,
        )
        self._unknown_values_logged_at, self._unknown_values_unwritten = now, 0


@implementer(ISession)
class Session:
    """One connection's way through the core: messages in, replies out, confirmations in between.

    :ivar connected_at: monotonic seconds.
    :ivar size_bytes: payload bytes of the records received, by the record type's label.
    """

    __slots__ = ("__weakref__", "_bucket", "_gateway", "_link", "connected_at", "size_bytes", "vehicle")

    def __init__(self, gateway: Gateway, vehicle: Vehicle, link: IVehicleLink, bucket: TokenBucket | None) -> None:
        self.vehicle = vehicle
        self.connected_at = gateway.monotonic()
        self.size_bytes: dict[str, int] = {}
        self._gateway = gateway
        self._link: IVehicleLink | None = link
        self._bucket = bucket

    def received(self, messages: Sequence[bytes]) -> bytes:
        """See ``ISession``. Records of one type that follow each other go to their lanes together."""
        gateway = self._gateway
        read_envelope, read_record = gateway.codec.read_envelope, gateway.codec.read_record
        find_route = gateway.routes.find
        max_message_bytes = gateway.max_message_bytes
        received_at_ms = gateway.wall_ns() // 1_000_000
        refusals = gateway.refusals
        bucket = self._bucket
        now = gateway.monotonic() if bucket is not None else 0.0
        replies: list[bytes] = []
        run: list[Record] = []
        run_route: TypeRoute | None = None
        reply: bytes | None
        for message in messages:
            envelope = None
            try:
                if len(message) > max_message_bytes:
                    reply = refusals.too_big(self.vehicle, message, max_message_bytes)
                else:
                    envelope = read_envelope(message)
                    route = find_route(envelope.topic)
                    if envelope.message_type != STREAM or not envelope.has_message:
                        reply = self._unknown_type(envelope)
                    elif bucket is not None and not bucket.take(now):
                        refusals.over_rate_limit(self.vehicle, route)
                        continue
                    elif route is None and not self._is_sender(envelope):
                        reply = refusals.other_sender(self.vehicle, envelope)
                    else:
                        if route is None:
                            route = gateway.routes.unrouted(envelope.topic)
                        record = read_record(route.record_type, envelope, self.vehicle, received_at_ms)
                        if route is run_route:
                            run.append(record)
                            continue
                        reply = None
            except PeerError as error:
                reply = refusals.fault(self.vehicle, error, envelope)
            except Exception as error:  # whatever these bytes provoke is their own refusal, not their neighbours'
                reply = refusals.unexpected(self.vehicle, f"{type(error).__name__}: {error}", envelope)
            if run_route is not None:
                replies.append(self._accept(run_route, run))
                run_route = None
            if reply is None:
                run_route, run = route, [record]
            else:
                replies.append(reply)
        if run_route is not None:
            replies.append(self._accept(run_route, run))
        return replies[0] if len(replies) == 1 else b"".join(replies)

    def _accept(self, route: TypeRoute, records: list[Record]) -> bytes:
        """Offer records of one type to their lanes; returns the acknowledgements that are already due."""
        size_bytes = cost_bytes = signals = 0
        for record in records:
            size_bytes += len(record.payload)
            cost_bytes += record.cost_bytes
            signals += record.signals
            if record.unknown_values:
                self._gateway.note_unknown_values(record)
        count = len(records)
        self._count(route.numbers, count, size_bytes)
        if signals:
            self._gateway.count_signals(route, self.vehicle, signals)
        for lane in route.lanes:
            # each takes what it can, though another could not: its neighbour's full queue is not its concern
            count = min(count, lane.offer(records, cost_bytes, None))
        if route.confirming is not None:
            if count == len(records):
                count = route.confirming.offer(records, cost_bytes, self)
            else:
                count = self._offer_some(route.confirming, records, count)
            route.numbers.dispatch_total.add(count)
            return b""
        route.numbers.dispatch_total.add(count)
        ack = self._gateway.frames.ack
        if count == 1:
            return ack(records[0].record_type, records[0].txid)
        return b"".join([ack(record.record_type, record.txid) for record in records[:count]])

    def _offer_some(self, confirming: Lane, records: list[Record], count: int) -> int:
        # what another lane had no room for must stay unacknowledged, though this sink may have it
        awaited, rest = records[:count], records[count:]
        taken = confirming.offer(awaited, sum(record.cost_bytes for record in awaited), self)
        if taken == count:
            confirming.offer(rest, sum(record.cost_bytes for record in rest), None)
        return taken

    def _count(self, numbers: TypeNumbers, count: int, size_bytes: int) -> None:
        numbers.record_total.add(count)
        numbers.size_bytes_total.add(size_bytes)
        self.size_bytes[numbers.label] = self.size_bytes.get(numbers.label, 0) + size_bytes

    def confirmed(self, records: Sequence[Record]) -> None:
        """The sink that these records wait for has them: acknowledge, in one write."""
        gateway = self._gateway
        link = self._link
        counts: dict[str, int] = {}
        for record in records:
            counts[record.record_type] = counts.get(record.record_type, 0) + 1
        for record_type, count in counts.items():
            numbers = gateway.routes.confirmed_numbers[record_type]
            (numbers.reliable_ack if link is not None else numbers.reliable_ack_miss).add(count)
            numbers.sink_total.add(count)
        if link is not None:
            ack = gateway.frames.ack
            link.send(b"".join([ack(record.record_type, record.txid) for record in records]))

    def disconnected(self) -> None:
        """See ``ISession``. Confirmations that come later are counted as missed."""
        self._link = None
        self._gateway.gone(self)

    def _is_sender(self, envelope: Envelope) -> bool:
        identity = self.vehicle.identity
        return envelope.sender_id in (identity.sender_id.encode(), identity.device_id.encode())

    def _unknown_type(self, envelope: Envelope) -> bytes:
        gateway = self._gateway
        numbers = gateway.routes.unrouted(b"").numbers
        self._count(numbers, 1, 0)
        numbers.dispatch_total.add(1)
        return gateway.refusals.unknown_type(self.vehicle, envelope)
