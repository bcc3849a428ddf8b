"""Numbers and log events about the signals inside records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import UNKNOWN_SIGNAL_VALUE_TOTAL, VIN_SIGNAL_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.app.pipeline.routes import TypeNumbers
    from fleetgw.domain.ports import ICounter, ILog, IMetrics
    from fleetgw.domain.records import Record, Vehicle


@define(eq=False)
class SignalNumbers:
    """Counts signals, and records with values of unknown kinds.

    :ivar tracked_vins: vehicles with numbers of their own.
    """

    metrics: IMetrics
    log: ILog
    tracked_vins: frozenset[str]
    monotonic: Callable[[], float]
    _unknown_values: ICounter = field(init=False)
    _vin_signals: dict[tuple[str, str], int] = field(factory=dict, init=False)
    _lines: LineLimit = field(factory=LineLimit, init=False)

    def __attrs_post_init__(self) -> None:
        self._unknown_values = self.metrics.counter(UNKNOWN_SIGNAL_VALUE_TOTAL)

    def count(self, numbers: TypeNumbers, vehicle: Vehicle, signals: int) -> None:
        """Add to the signals of a record type, and of the vehicle when it is a tracked one."""
        numbers.signals += signals
        numbers.signal_count.set_to(numbers.signals)
        if vehicle.vin in self.tracked_vins:
            key = numbers.label, vehicle.vin
            self._vin_signals[key] = total = self._vin_signals.get(key, 0) + signals
            self.metrics.gauge(VIN_SIGNAL_COUNT, record_type=numbers.label, vin=vehicle.vin).set_to(total)

    def note_unknown_values(self, record: Record) -> None:
        """Count a record with values of an unknown kind. The record passes all the same.

        Newer vehicles send such values with every record: one line at a time over all vehicles.
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
