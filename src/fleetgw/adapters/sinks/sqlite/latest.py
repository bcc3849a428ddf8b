"""The latest values that the table ``latest`` does not show yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.adapters.sinks.sqlite.rows import cell_and_type

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.sqlite.rows import Cell, Signals


@define
class _Held:
    signals: Signals = field(factory=dict)
    times_ms: dict[str, int] = field(factory=dict)
    newest_ms: int = 0


@define
class LatestSignals:
    """Of every field of every vehicle the value with the latest time; of two with the same time the later one given."""

    _vehicles: dict[int, _Held] = field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self._vehicles)

    def add(self, vehicle_id: int, created_at_ms: int, signals: Signals) -> None:
        """Take one record's signals."""
        held = self._vehicles.get(vehicle_id)
        if held is None:
            held = self._vehicles[vehicle_id] = _Held()
        if created_at_ms < held.newest_ms:  # out of order, which is rare
            times_ms = held.times_ms
            signals = {name: value for name, value in signals.items() if created_at_ms >= times_ms.get(name, 0)}
        else:
            held.newest_ms = created_at_ms
        held.signals.update(signals)
        held.times_ms.update(dict.fromkeys(signals, created_at_ms))

    def clear(self) -> None:
        """Forget everything."""
        self._vehicles.clear()

    def cells(self) -> list[Cell]:
        """All of it as the cells of rows: vehicle, field, time, value, type."""
        cells: list[Cell] = []
        for vehicle_id, held in self._vehicles.items():
            times_ms = held.times_ms
            for name, value in held.signals.items():
                cells += (vehicle_id, name, times_ms[name], *cell_and_type(value))
        return cells
