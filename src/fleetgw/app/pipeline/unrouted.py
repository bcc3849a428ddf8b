"""Records of types without a route: they leave a trace, whether they are acknowledged or refused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import UNROUTED_RECORDS_TOTAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.domain.ports import ICounter, ILog, IMetrics

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
