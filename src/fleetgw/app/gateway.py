"""The gateway: what happens to the messages of a vehicle between ingress and the lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen
from zope.interface import implementer

from fleetgw.domain.errors import MalformedEnvelope, MalformedPayload
from fleetgw.domain.metrics import (
    NUM_CONNECTIONS,
    RATE_LIMIT_EXCEEDED_TOTAL,
    RECORD_TOO_BIG_TOTAL,
    UNAUTHORIZED_SENDER_ID_TOTAL,
    UNEXPECTED_RECORD_ERR_TOTAL,
    UNKNOWN_MESSAGE_TYPE_ERROR_TOTAL,
    VIN_SIGNAL_COUNT,
)
from fleetgw.domain.ports import ConnectivityStatus, IGateway, ISession
from fleetgw.domain.rate_limit import TokenBucket
from fleetgw.domain.records import MessageType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.app.lane import Lane
    from fleetgw.app.type_route import TypeRoute, TypeRoutes
    from fleetgw.domain.ports import ILog, IMetrics, IRecordCodec, IReplyFrames, IVehicleLink
    from fleetgw.domain.records import Envelope, Record, Vehicle

STREAM = MessageType.STREAM.value


@frozen
class RateLimit:
    """So many records in so many seconds, for each connection."""

    message_limit: int
    interval_s: float


@implementer(IGateway)
@define(eq=False)
class Gateway:
    """The core: knows the routes and the live sessions.

    :ivar codec: wire bytes <-> records.
    :ivar frames: replies as they go out.
    :ivar max_message_bytes: a longer message is answered with the error reply.
    :ivar rate_limit: for each connection, None for no limit.
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
    sessions: set[Session] = field(factory=set, init=False)
    _vin_signals: dict[tuple[str, str], int] = field(factory=dict, init=False)

    def connected(self, vehicle: Vehicle, link: IVehicleLink) -> Session:
        """See ``IGateway``. Emits the CONNECTED record."""
        session = Session(self, vehicle, link)
        self.sessions.add(session)
        self.metrics.gauge(NUM_CONNECTIONS).set_to(len(self.sessions))
        self._connectivity(vehicle, ConnectivityStatus.CONNECTED)
        return session

    def gone(self, session: Session) -> None:
        """A session has ended. Emits the DISCONNECTED record."""
        self.sessions.discard(session)
        self.metrics.gauge(NUM_CONNECTIONS).set_to(len(self.sessions))
        self._connectivity(session.vehicle, ConnectivityStatus.DISCONNECTED)

    def _connectivity(self, vehicle: Vehicle, status: ConnectivityStatus) -> None:
        route = self.routes.find(b"connectivity")
        if route is not None:
            record = self.codec.connectivity(vehicle, status, self.wall_ns())
            for lane in route.lanes:
                if not lane.offer([record], len(record.payload), None):
                    self.log.error("connectivity_dropped", vin=vehicle.vin, dispatcher=lane.sink.name, status=status.name)

    def count_signals(self, route: TypeRoute, vehicle: Vehicle, signals: int) -> None:
        """Add to the signals of a type, and of the vehicle when it is a tracked one."""
        route.numbers.signals += signals
        route.numbers.signal_count.set_to(route.numbers.signals)
        if vehicle.vin in self.tracked_vins:
            key = route.record_type, vehicle.vin
            self._vin_signals[key] = total = self._vin_signals.get(key, 0) + signals
            self.metrics.gauge(VIN_SIGNAL_COUNT, record_type=route.record_type, vin=vehicle.vin).set_to(total)


@implementer(ISession)
class Session:
    """One connection's way through the core: messages in, replies out, confirmations in between."""

    __slots__ = ("_bucket", "_gateway", "_link", "_size_bytes", "vehicle")

    def __init__(self, gateway: Gateway, vehicle: Vehicle, link: IVehicleLink) -> None:
        self.vehicle = vehicle
        self._gateway = gateway
        self._link: IVehicleLink | None = link
        self._size_bytes: dict[str, int] = {}
        limit = gateway.rate_limit
        self._bucket = TokenBucket(limit.message_limit, limit.interval_s, gateway.monotonic()) if limit else None

    def received(self, messages: Sequence[bytes]) -> bytes:
        """See ``ISession``. Records of one type that follow each other go to their lanes together."""
        gateway = self._gateway
        codec = gateway.codec
        find_route = gateway.routes.find
        received_at_ms = gateway.wall_ns() // 1_000_000
        replies: list[bytes] = []
        run: list[Record] = []
        run_route: TypeRoute | None = None
        for message in messages:
            try:
                envelope = codec.read_envelope(self._sized(message) if len(message) > gateway.max_message_bytes else message)
            except MalformedEnvelope as error:
                refusal = self._unreadable(error)
            else:
                route = find_route(envelope.topic) or gateway.routes.unrouted(envelope.topic)
                if envelope.message_type != STREAM or not envelope.has_message:
                    refusal = self._unknown_type(envelope)
                elif self._bucket is not None and not self._bucket.take(gateway.monotonic()):
                    self._over_limit(route)
                    continue
                elif not route.routed and not self._is_sender(envelope):
                    refusal = self._foreign(envelope)
                else:
                    try:
                        record = codec.read_record(route.record_type, envelope, self.vehicle, received_at_ms)
                    except MalformedPayload as error:
                        refusal = self._undecodable(route, envelope, error)
                    else:
                        if route is not run_route:
                            if run_route is not None:
                                replies.append(self._accept(run_route, run))
                            run, run_route = [], route
                        run.append(record)
                        continue
            if run_route is not None:
                replies.append(self._accept(run_route, run))
                run_route = None
            replies.append(refusal)
        if run_route is not None:
            replies.append(self._accept(run_route, run))
        return replies[0] if len(replies) == 1 else b"".join(replies)

    def _accept(self, route: TypeRoute, records: list[Record]) -> bytes:
        """Offer records of one type to their lanes; returns the acknowledgements that are already due."""
        size_bytes = signals = 0
        for record in records:
            size_bytes += len(record.payload)
            signals += record.signals
        count = len(records)
        numbers = route.numbers
        numbers.record_total.add(count)
        numbers.size_bytes_total.add(size_bytes)
        numbers.dispatch_total.add(count)
        self._size_bytes[route.record_type] = self._size_bytes.get(route.record_type, 0) + size_bytes
        if signals:
            self._gateway.count_signals(route, self.vehicle, signals)
        for lane in route.lanes:
            count = min(count, lane.offer(records, size_bytes, None))
        if route.confirming is not None:
            if count == len(records):
                route.confirming.offer(records, size_bytes, self)
            else:
                self._offer_some(route.confirming, records, count)
            return b""
        ack = self._gateway.frames.ack
        if count == 1:
            return ack(records[0].record_type, records[0].txid)
        return b"".join([ack(record.record_type, record.txid) for record in records[:count]])

    def _offer_some(self, confirming: Lane, records: list[Record], count: int) -> None:
        # what another lane had no room for must stay unacknowledged, though this sink may have it
        for part, origin in ((records[:count], self), (records[count:], None)):
            if part and confirming.offer(part, sum(len(record.payload) for record in part), origin) < len(part):
                break

    def confirmed(self, records: Sequence[Record]) -> None:
        """The sink that these records wait for has them: acknowledge, in one write."""
        gateway = self._gateway
        link = self._link
        ack = gateway.frames.ack
        if link is not None:
            link.send(b"".join([ack(record.record_type, record.txid) for record in records]))
        counts: dict[str, int] = {}
        for record in records:
            counts[record.record_type] = counts.get(record.record_type, 0) + 1
        for record_type, count in counts.items():
            route = gateway.routes.find(record_type.encode("utf-8", "surrogateescape"))
            if route is not None and route.confirmed_numbers is not None:
                numbers = route.confirmed_numbers
                (numbers.reliable_ack if link is not None else numbers.reliable_ack_miss).add(count)
                numbers.sink_total.add(count)

    def disconnected(self) -> None:
        """See ``ISession``. Confirmations that come later are counted as missed."""
        self._link = None
        self._gateway.gone(self)

    def close(self, reason: str) -> None:
        """Say goodbye to the vehicle."""
        if self._link is not None:
            self._link.close(reason)

    @property
    def size_bytes(self) -> dict[str, int]:
        """Payload bytes received on this connection, by record type."""
        return self._size_bytes

    def _is_sender(self, envelope: Envelope) -> bool:
        identity = self.vehicle.identity
        return envelope.sender_id in (identity.sender_id.encode(), identity.device_id.encode())

    def _sized(self, message: bytes) -> bytes:
        self._gateway.metrics.counter(RECORD_TOO_BIG_TOTAL).add(1)
        raise MalformedEnvelope(f"message of {len(message)} bytes; at most {self._gateway.max_message_bytes} are taken")

    def _unreadable(self, error: MalformedEnvelope) -> bytes:
        self._unexpected(error, "", "")
        return self._gateway.frames.error(b"")

    def _undecodable(self, route: TypeRoute, envelope: Envelope, error: MalformedPayload) -> bytes:
        self._unexpected(error, route.record_type, envelope.txid.decode("utf-8", "replace"))
        return self._gateway.frames.error(envelope.txid)

    def _unexpected(self, error: Exception, record_type: str, txid: str) -> None:
        gateway = self._gateway
        gateway.metrics.counter(UNEXPECTED_RECORD_ERR_TOTAL).add(1)
        gateway.log.error(
            "unexpected_record", device_id=self.vehicle.vin, error=str(error), record_type=record_type, txid=txid
        )

    def _foreign(self, envelope: Envelope) -> bytes:
        gateway = self._gateway
        gateway.metrics.counter(UNAUTHORIZED_SENDER_ID_TOTAL).add(1)
        gateway.log.warn(
            "unauthorized_sender_id",
            device_id=self.vehicle.vin,
            sender_id=envelope.sender_id.decode("utf-8", "replace"),
            record_type=envelope.topic.decode("utf-8", "replace"),
        )
        return gateway.frames.error(envelope.txid)

    def _unknown_type(self, envelope: Envelope) -> bytes:
        gateway = self._gateway
        message_type = str(envelope.message_type)
        gateway.metrics.counter(UNKNOWN_MESSAGE_TYPE_ERROR_TOTAL, msg_type=message_type).add(1)
        gateway.log.error(
            "unknown_message_type_error",
            device_id=self.vehicle.vin,
            msg_txid=envelope.txid.decode("utf-8", "replace"),
            msg_type=message_type,
        )
        return gateway.frames.ack("", envelope.txid if envelope.has_message else b"")

    def _over_limit(self, route: TypeRoute) -> None:
        gateway = self._gateway
        vin = self.vehicle.vin
        device_id = vin if vin in gateway.tracked_vins else "other"
        txtype = route.record_type if route.routed else "other"
        gateway.metrics.counter(RATE_LIMIT_EXCEEDED_TOTAL, device_id=device_id, txtype=txtype).add(1)
        gateway.log.warn("rate_limit_exceeded", device_id=vin, txtype=route.record_type)
