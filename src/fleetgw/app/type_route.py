"""A record type's route made ready for the hot path: its lanes, and its numbers looked up once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from fleetgw.domain.acks import ConfirmedBy
from fleetgw.domain.metrics import (
    DISPATCH_TOTAL,
    RECORD_SIZE_BYTES_TOTAL,
    RECORD_TOTAL,
    RELIABLE_ACK,
    RELIABLE_ACK_MISS,
    SIGNAL_COUNT,
    reliable_ack_total,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.app.lane import Lane
    from fleetgw.domain.ports import ICounter, IGauge, IMetrics
    from fleetgw.domain.routing import Route

OWN_LABELS = 64
"""How many unrouted record types get a metric label of their own; the rest share ``other``."""


@define(eq=False)
class TypeNumbers:
    """What is counted for every record type.

    :ivar signals: what ``signal_count`` shows.
    """

    record_total: ICounter
    size_bytes_total: ICounter
    dispatch_total: ICounter
    signal_count: IGauge
    signals: int = 0


@define(eq=False)
class ConfirmedNumbers:
    """What is counted where a sink's confirmation is acknowledged."""

    reliable_ack: ICounter
    reliable_ack_miss: ICounter
    sink_total: ICounter


@define(eq=False)
class TypeRoute:
    """Where the records of one type go.

    :ivar routed: whether the configuration has a route for the type.
    :ivar lanes: those whose taking a record is enough.
    :ivar confirming: the lane whose sink must confirm before a record is acknowledged, None when none need.
    :ivar confirmed_numbers: set exactly when ``confirming`` is.
    """

    record_type: str
    routed: bool
    lanes: tuple[Lane, ...]
    confirming: Lane | None
    numbers: TypeNumbers
    confirmed_numbers: ConfirmedNumbers | None


class TypeRoutes:
    """Topic bytes of an envelope -> ``TypeRoute``."""

    def __init__(self, routes: Mapping[str, Route], lanes: Mapping[str, Lane], metrics: IMetrics) -> None:
        """Look everything up.

        :param lanes: sink name -> lane, one for every sink named in ``routes``.
        """
        self._metrics = metrics
        self._routed = {
            record_type.encode("utf-8", "surrogateescape"): self._routed_type(route, lanes)
            for record_type, route in routes.items()
        }
        self._unrouted: dict[bytes, TypeRoute] = {}
        self._other_numbers = self._numbers("other")
        self.find = self._routed.get
        """Topic bytes -> the route of a routed type, else None; a plain dict's ``get``, for the hot path."""

    def unrouted(self, topic: bytes) -> TypeRoute:
        """A route that leads nowhere, for a type with none. Numbers are bounded whatever vehicles send."""
        known = self._unrouted.get(topic)
        if known is not None:
            return known
        record_type = topic.decode("utf-8", "surrogateescape")
        if (
            len(self._unrouted) >= OWN_LABELS
            or len(topic) > OWN_LABELS
            or not (record_type.isascii() and record_type.isprintable())
        ):
            return TypeRoute(record_type, False, (), None, self._other_numbers, None)  # noqa: FBT003  as declared
        route = TypeRoute(record_type, False, (), None, self._numbers(record_type), None)  # noqa: FBT003
        self._unrouted[topic] = route
        return route

    def _routed_type(self, route: Route, lanes: Mapping[str, Lane]) -> TypeRoute:
        record_type = route.record_type
        source = route.ack_policy.sink if isinstance(route.ack_policy, ConfirmedBy) else None
        return TypeRoute(
            record_type,
            routed=True,
            lanes=tuple(lanes[name] for name in route.sinks if name != source),
            confirming=lanes[source] if source else None,
            numbers=self._numbers(record_type),
            confirmed_numbers=self._confirmed_numbers(record_type, source) if source else None,
        )

    def _numbers(self, record_type: str) -> TypeNumbers:
        metrics = self._metrics
        return TypeNumbers(
            metrics.counter(RECORD_TOTAL, record_type=record_type),
            metrics.counter(RECORD_SIZE_BYTES_TOTAL, record_type=record_type),
            metrics.counter(DISPATCH_TOTAL, record_type=record_type),
            metrics.gauge(SIGNAL_COUNT, record_type=record_type),
        )

    def _confirmed_numbers(self, record_type: str, source: str) -> ConfirmedNumbers:
        metrics = self._metrics
        return ConfirmedNumbers(
            metrics.counter(RELIABLE_ACK, record_type=record_type, dispatcher=source),
            metrics.counter(RELIABLE_ACK_MISS, record_type=record_type, dispatcher=source),
            metrics.counter(reliable_ack_total(source), record_type=record_type),
        )
