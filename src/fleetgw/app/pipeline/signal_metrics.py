"""Metrics and log events about the signals inside records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import UNKNOWN_SIGNAL_VALUE_TOTAL, VIN_SIGNAL_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.app.pipeline.routes import TypeMetrics
    from fleetgw.domain.ports import ICounter, ILog, IMetrics
    from fleetgw.domain.records import Record, Vehicle
    from fleetgw.domain.signal_counts import SignalCounts


@define(eq=False)
class SignalMetrics:
    """Counts signals, and records with values of unknown kinds.

    :ivar tracked_vins: vehicles with a time series of their own.
    :ivar counts: of every vehicle, by day.
    """

    metrics: IMetrics
    log: ILog
    tracked_vins: frozenset[str]
    monotonic: Callable[[], float]
    counts: SignalCounts
    _unknown_values: ICounter = field(init=False)
    _vin_signals: dict[tuple[str, str], int] = field(factory=dict, init=False)
    _lines: LineLimit = field(factory=LineLimit, init=False)

    def __attrs_post_init__(self) -> None:
        self._unknown_values = self.metrics.counter(UNKNOWN_SIGNAL_VALUE_TOTAL)

    def count(self, metrics: TypeMetrics, vehicle: Vehicle, signals: int) -> None:
        """Count signals of a record type and of the vehicle, which has a time series as well when it is a tracked one."""
        metrics.signals += signals
        self.counts.today.add(vehicle.vin, signals)
        if vehicle.vin in self.tracked_vins:
            key = metrics.label, vehicle.vin
            self._vin_signals[key] = total = self._vin_signals.get(key, 0) + signals
            self.metrics.gauge(VIN_SIGNAL_COUNT, record_type=metrics.label, vin=vehicle.vin).set_to(total)

    def note_unknown_values(self, record: Record) -> None:
        """Count a record with values of an unknown kind; it is delivered all the same.

        Newer vehicles send such values with every record, so the log lines of all vehicles share one limit.
        """
        self._unknown_values.add(1)
        unwritten = self._lines.admit("unknown_signal_value", "", self.monotonic(), 1)
        if unwritten is not None:
            self.log.warn(
                "unknown_signal_value",
                vin=record.vin,
                signals=list(record.unknown_values),
                more_unwritten=unwritten,
            )
