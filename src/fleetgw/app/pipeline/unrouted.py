"""Records of types without a route: they leave a trace, whether they are acknowledged or refused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.domain.errors import OtherSender, Unrouted
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import UNROUTED_RECORDS_TOTAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.app.pipeline.routes import TypeRoute, TypeRoutes
    from fleetgw.domain.ports import ICounter, ILog, IMetrics
    from fleetgw.domain.records import Envelope, Vehicle

LINE_INTERVAL_S = 60.0
"""At most one log line about each record type in so many seconds."""


@define(eq=False)
class UnroutedRecords:
    """Counts and logs records of types without a route.

    :ivar are_refused: answer them with the error reply; otherwise they are acknowledged, as by the Go server.
    :ivar monotonic: seconds, never going back.
    """

    metrics: IMetrics
    log: ILog
    monotonic: Callable[[], float]
    are_refused: bool
    _lines: LineLimit = field(factory=lambda: LineLimit(interval_s=LINE_INTERVAL_S), init=False)
    _totals: dict[str, ICounter] = field(factory=dict, init=False)
    _unlogged: Counter[str] = field(factory=Counter, init=False)

    def route_of(self, envelope: Envelope, vehicle: Vehicle, routes: TypeRoutes) -> TypeRoute:
        """The route of a record whose type has none: to no lane.

        :raises PeerError: the record is refused.
        """
        identity, sender_id = vehicle.identity, envelope.sender_id
        if sender_id not in (identity.sender_id.encode(), identity.device_id.encode()):
            raise OtherSender("the record's sender is not the certificate's")
        route = routes.unrouted(envelope.topic)
        if self.are_refused:
            self.count(route.metrics.label, vehicle.vin, 1)
            raise Unrouted("the record's type has no route")
        return route

    def count(self, label: str, vin: str, count: int) -> None:
        """Count records of one vehicle and type.

        :param label: of the record type, as in metrics: their number is bounded.
        """
        total = self._totals.get(label)
        if total is None:
            total = self._totals[label] = self.metrics.counter(UNROUTED_RECORDS_TOTAL, record_type=label)
        total.add(count)
        self._unlogged[label] += count
        if self._lines.admit("unrouted", label, self.monotonic(), 1) is not None:
            records = self._unlogged.pop(label)
            answer = "refused" if self.are_refused else "acknowledged"
            self.log.warn("unrouted_records", record_type=label, vin=vin, records=records, answer=answer)
