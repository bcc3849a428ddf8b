"""The routes of record types for the hot path: each with its lanes and its metrics, looked up once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from fleetgw.app.pipeline.accounts import VehicleAccount
from fleetgw.app.pipeline.spooling import SpooledRoute
from fleetgw.app.pipeline.tickets import ConfirmationMetrics, TicketPolicy
from fleetgw.domain.ack_expressions import SPOOLED
from fleetgw.domain.acks import Accepted, ConfirmedBy, Spooled, names_spool, sinks_of
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
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.app.pipeline.spooling import Spooling
    from fleetgw.domain.ports import ICounter, IMetrics
    from fleetgw.domain.records import Record
    from fleetgw.domain.routing import Route

OTHER = "other"
"""The label of every record type without a label of its own."""

OWN_LABELS = 64
"""Largest number of unrouted record types with metric labels of their own, and of characters of such a label."""


@define(eq=False)
class TypeMetrics:
    """The metrics of one record type.

    :ivar label: the record type, or ``other``.
    :ivar account: the ledger's accounts.
    :ivar signals: the value of ``signal_count``.
    """

    label: str
    record_total: ICounter
    size_bytes_total: ICounter
    dispatch_total: ICounter
    account: VehicleAccount
    signals: int = 0


@define(eq=False)
class TypeRoute:
    """The lanes of one record type.

    :ivar lanes: the lanes whose sinks need not confirm a record before it is acknowledged.
    :ivar awaits: the lane whose sink must confirm it, or the condition on several of them; None when a record is
        acknowledged once ``lanes`` have taken it.
    :ivar spooled: takes the records in place of ``lanes`` and ``awaits``, where the type is spooled.
    """

    record_type: str
    lanes: tuple[Lane, ...]
    awaits: Lane | TicketPolicy | None
    metrics: TypeMetrics
    spooled: SpooledRoute | None = None

    @property
    def every_lane(self) -> tuple[Lane, ...]:
        """The lanes of all sinks that the type is routed to."""
        match self.awaits:
            case None:
                return self.lanes
            case TicketPolicy(lanes=awaited):
                return (*self.lanes, *awaited)
            case lane:
                return (*self.lanes, lane)

    @property
    def destinations(self) -> str:
        """The place where records go, for people."""
        sinks = ", ".join(lane.sink.name for lane in self.every_lane)
        return "the spool" if self.spooled is not None else sinks or "no sink"

    def offer_own(self, record: Record) -> Sequence[str]:
        """Offer a record of the gateway itself, which nobody acknowledges, to its lanes.

        :return: the names of those without room: sinks, or ``spooled`` for the spool.
        """
        full = [lane.sink.name for lane in self.lanes if not lane.offer([record], record.cost_bytes, None)]
        if self.spooled is not None and not self.spooled.accept_own(record):
            full.append(SPOOLED)
        return full

    def can_do_without(self, bits: int) -> bool:
        """Whether a record may still be acknowledged if these lanes do not take it.

        :param bits: a set of lanes that the ack policy needs, each with a bit: the bits of ``TicketPolicy``, else any.
        """
        return self.awaits.can_hold(bits) if isinstance(self.awaits, TicketPolicy) else not bits


class TypeRoutes:
    """The routes by the topic bytes of an envelope.

    :ivar find: maps topic bytes to the route of a routed type, else to None; a dict's ``get``, for the hot path.
    :ivar lanes: the lanes of all sinks.
    :ivar confirmation_metrics: by record type, for those that one sink's confirmation acknowledges, now or once.
    """

    find: Callable[[bytes], TypeRoute | None]

    def __init__(
        self,
        routes: Mapping[str, Route],
        lanes: Mapping[str, Lane],
        metrics: IMetrics,
        spooling: Spooling | None = None,
    ) -> None:
        """Take the first routes, see ``use``.

        :param spooling: made for the same routes; None where none of them is spooled.
        """
        self._metrics = metrics
        self._spooling = spooling
        self._type_metrics: dict[str, TypeMetrics] = {}
        self.confirmation_metrics: dict[str, ConfirmationMetrics] = {}
        self._unrouted: dict[bytes, TypeRoute] = {}
        self._other_metrics = self._metrics_of(OTHER)
        self.use(routes, lanes)

    def use(self, routes: Mapping[str, Route], lanes: Mapping[str, Lane]) -> None:
        """Replace all routes, between two reads. Records that were offered before settle as their old routes said.

        :param routes: by record type.
        :param lanes: by sink name; one for every sink named in ``routes``.
        """
        self.lanes = tuple(lanes.values())
        routed = {
            record_type.encode("utf-8", "surrogateescape"): self._routed_type(route, lanes)
            for record_type, route in routes.items()
        }
        self.find = routed.get

    def unrouted(self, topic: bytes) -> TypeRoute:
        """Give an unrouted type a route without lanes. The number of metric labels is bounded."""
        known = self._unrouted.get(topic)
        if known is not None:
            return known
        record_type = topic.decode("utf-8", "surrogateescape")
        if not (record_type in RECORD_TYPES or self._deserves_label(record_type)):
            return TypeRoute(record_type, (), None, self._other_metrics)
        self._unrouted[topic] = route = TypeRoute(record_type, (), None, self._metrics_of(record_type))
        return route

    def _deserves_label(self, record_type: str) -> bool:
        if record_type == OTHER or len(self._unrouted) >= OWN_LABELS or len(record_type) > OWN_LABELS:
            return False
        return record_type.isascii() and record_type.isprintable()

    def _routed_type(self, route: Route, lanes: Mapping[str, Lane]) -> TypeRoute:
        record_type, policy = route.record_type, route.ack_policy
        if route.is_spooled and self._spooling is not None:
            return self._spooled_type(route, self._spooling, lanes)
        awaited = () if isinstance(policy, Accepted) else tuple(dict.fromkeys(sinks_of(policy)))
        metrics = [self._confirmation_metrics_of(record_type, sink) for sink in awaited]
        type_metrics = self._metrics_of(record_type)
        awaits: Lane | TicketPolicy | None
        match policy:
            case Accepted():
                awaits = None
            case ConfirmedBy(sink):
                awaits = lanes[sink]
                self.confirmation_metrics[record_type] = metrics[0]
            case _:
                awaits = TicketPolicy(policy, [lanes[sink] for sink in awaited], metrics, type_metrics.account)
        return TypeRoute(
            record_type,
            lanes=tuple(lanes[name] for name in route.sinks if name not in awaited),
            awaits=awaits,
            metrics=type_metrics,
        )

    def _spooled_type(self, route: Route, spooling: Spooling, lanes: Mapping[str, Lane]) -> TypeRoute:
        record_type, policy, feeds = route.record_type, route.ack_policy, spooling.feeds
        type_metrics = self._metrics_of(record_type)
        named = () if isinstance(policy, Accepted) else tuple(dict.fromkeys(sinks_of(policy)))
        awaits: TicketPolicy | ConfirmationMetrics | None
        match policy:
            case Accepted():
                awaits = None
            case Spooled():
                awaits = self._confirmation_metrics_of(record_type, SPOOLED)
            case _:
                sources = (*named, SPOOLED) if names_spool(policy) else named
                metrics = [self._confirmation_metrics_of(record_type, source) for source in sources]
                named_feeds = [feeds[sink] for sink in named]
                awaits = TicketPolicy(policy, [lanes[sink] for sink in named], metrics, type_metrics.account, named_feeds)
        others = [feeds[sink] for sink in route.sinks if sink not in named]
        spooled = SpooledRoute(spooling, others, awaits, type_metrics.account, record_type)
        return TypeRoute(record_type, (), None, type_metrics, spooled)

    def _metrics_of(self, record_type: str) -> TypeMetrics:
        known = self._type_metrics.get(record_type)
        if known is not None:
            return known
        metrics = self._metrics
        self._type_metrics[record_type] = made = TypeMetrics(
            record_type,
            metrics.counter(RECORD_TOTAL, record_type=record_type),
            metrics.counter(RECORD_SIZE_BYTES_TOTAL, record_type=record_type),
            metrics.counter(DISPATCH_TOTAL, record_type=record_type),
            VehicleAccount(record_type, metrics),
        )
        metrics.gauge(SIGNAL_COUNT, record_type=record_type).measured_by(lambda: made.signals)
        return made

    def _confirmation_metrics_of(self, record_type: str, source: str) -> ConfirmationMetrics:
        metrics = self._metrics
        return ConfirmationMetrics(
            metrics.counter(RELIABLE_ACK, record_type=record_type, dispatcher=source),
            metrics.counter(RELIABLE_ACK_MISS, record_type=record_type, dispatcher=source),
            metrics.counter(reliable_ack_total(source), record_type=record_type),
            VehicleAccount(record_type, metrics),
        )
