"""The routes of record types, made ready for the hot path: each with its lanes and metrics looked up once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from fleetgw.app.pipeline.tickets import TicketPolicy
from fleetgw.domain.acks import Accepted, ConfirmedBy, sinks_of
from fleetgw.domain.metrics import (
    DISPATCH_TOTAL,
    RECORD_SIZE_BYTES_TOTAL,
    RECORD_TOTAL,
    RELIABLE_ACK,
    RELIABLE_ACK_MISS,
    SIGNAL_COUNT,
    reliable_ack_total,
)
from fleetgw.domain.records import RECORD_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.ports import ICounter, IGauge, IMetrics
    from fleetgw.domain.routing import Route

OTHER = "other"
"""The label of every record type without a label of its own."""

OWN_LABELS = 64
"""The most unrouted record types with a metric label of their own, and the most characters of such a label."""


@define(eq=False)
class TypeNumbers:
    """The metrics of one record type.

    :ivar label: the record type, or ``other``.
    :ivar signals: the value of ``signal_count``.
    """

    label: str
    record_total: ICounter
    size_bytes_total: ICounter
    dispatch_total: ICounter
    signal_count: IGauge
    signals: int = 0


@define(eq=False)
class ConfirmedNumbers:
    """The metrics of a record type that a sink's confirmation acknowledges."""

    reliable_ack: ICounter
    reliable_ack_miss: ICounter
    sink_total: ICounter


@define(eq=False)
class TypeRoute:
    """The lanes of one record type.

    :ivar lanes: a record is acknowledged without their sinks' confirmation.
    :ivar awaits: the lane whose sink must confirm a record before it is acknowledged, or the condition on several of them;
        None: a record is acknowledged once ``lanes`` have taken it.
    """

    record_type: str
    lanes: tuple[Lane, ...]
    awaits: Lane | TicketPolicy | None
    numbers: TypeNumbers


class TypeRoutes:
    """Topic bytes of an envelope -> ``TypeRoute``.

    :ivar find: topic bytes -> the route of a routed type, else None; a plain dict's ``get``, for the hot path.
    :ivar lanes: of all sinks.
    :ivar confirmed_numbers: of every record type that one sink's confirmation acknowledges.
    """

    def __init__(self, routes: Mapping[str, Route], lanes: Mapping[str, Lane], metrics: IMetrics) -> None:
        """Look everything up.

        :param lanes: sink name -> lane, one for every sink named in ``routes``.
        """
        self._metrics = metrics
        self.lanes = tuple(lanes.values())
        self.confirmed_numbers: dict[str, ConfirmedNumbers] = {}
        routed = {
            record_type.encode("utf-8", "surrogateescape"): self._routed_type(route, lanes)
            for record_type, route in routes.items()
        }
        self.find = routed.get
        self._unrouted: dict[bytes, TypeRoute] = {}
        self._other_numbers = self._numbers(OTHER)

    def unrouted(self, topic: bytes) -> TypeRoute:
        """A route without lanes, for an unrouted type. The number of metric labels is bounded."""
        known = self._unrouted.get(topic)
        if known is not None:
            return known
        record_type = topic.decode("utf-8", "surrogateescape")
        if not (record_type in RECORD_TYPES or self._deserves_label(record_type)):
            return TypeRoute(record_type, (), None, self._other_numbers)
        self._unrouted[topic] = route = TypeRoute(record_type, (), None, self._numbers(record_type))
        return route

    def _deserves_label(self, record_type: str) -> bool:
        if record_type == OTHER or len(self._unrouted) >= OWN_LABELS or len(record_type) > OWN_LABELS:
            return False
        return record_type.isascii() and record_type.isprintable()

    def _routed_type(self, route: Route, lanes: Mapping[str, Lane]) -> TypeRoute:
        record_type, policy = route.record_type, route.ack_policy
        awaited = () if isinstance(policy, Accepted) else tuple(dict.fromkeys(sinks_of(policy)))
        numbers = [self._numbers_of_confirmed(record_type, sink) for sink in awaited]
        awaits: Lane | TicketPolicy | None
        match policy:
            case Accepted():
                awaits = None
            case ConfirmedBy(sink):
                awaits = lanes[sink]
                self.confirmed_numbers[record_type] = numbers[0]
            case _:
                awaits = TicketPolicy(policy, [lanes[sink] for sink in awaited], numbers)
        return TypeRoute(
            record_type,
            lanes=tuple(lanes[name] for name in route.sinks if name not in awaited),
            awaits=awaits,
            numbers=self._numbers(record_type),
        )

    def _numbers(self, record_type: str) -> TypeNumbers:
        metrics = self._metrics
        return TypeNumbers(
            record_type,
            metrics.counter(RECORD_TOTAL, record_type=record_type),
            metrics.counter(RECORD_SIZE_BYTES_TOTAL, record_type=record_type),
            metrics.counter(DISPATCH_TOTAL, record_type=record_type),
            metrics.gauge(SIGNAL_COUNT, record_type=record_type),
        )

    def _numbers_of_confirmed(self, record_type: str, source: str) -> ConfirmedNumbers:
        metrics = self._metrics
        return ConfirmedNumbers(
            metrics.counter(RELIABLE_ACK, record_type=record_type, dispatcher=source),
            metrics.counter(RELIABLE_ACK_MISS, record_type=record_type, dispatcher=source),
            metrics.counter(reliable_ack_total(source), record_type=record_type),
        )
