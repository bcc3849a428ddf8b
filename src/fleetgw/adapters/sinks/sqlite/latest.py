"""The latest values of signals that are not in the table ``latest`` yet."""

from __future__ import annotations

import msgspec
from attrs import define, field

from fleetgw.adapters.codec.datum import JsonValue

Signals = dict[str, JsonValue]
Cell = str | int | float | bytes | None

UNKNOWN_DIGITS = 4

_encode = msgspec.json.Encoder().encode


@define
class LatestSignals:
    """For every field of every vehicle, the value with the latest time; of two with the same time, the one added later.

    Vehicles send the same fields over and over: of a vehicle's records with the same fields only the latest is kept, and its
    signals are compared only when ``cells`` is called.
    """

    _held: dict[tuple[int | str, ...], tuple[int, Signals]] = field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(self, vehicle_id: int, created_at_ms: int, signals: Signals) -> None:
        """Add the signals of one record."""
        self._keep((vehicle_id, *signals), (created_at_ms, signals))

    def merge(self, later: LatestSignals) -> None:
        """Add all records of another object."""
        for key, record in later._held.items():
            self._keep(key, record)

    def _keep(self, key: tuple[int | str, ...], record: tuple[int, Signals]) -> None:
        before = self._held.pop(key, None)  # keeps the order of arrival
        self._held[key] = record if before is None or before[0] <= record[0] else before

    def clear(self) -> None:
        """Remove everything."""
        self._held.clear()

    def cells(self) -> list[Cell]:
        """The cells of all rows: vehicle, field, time, value, type."""
        newest: dict[tuple[int | str, str], tuple[int, JsonValue]] = {}
        for key, (created_at_ms, signals) in self._held.items():
            for name, value in signals.items():
                if not _is_shown(name):
                    continue
                held = newest.get((key[0], name))
                if held is None or held[0] <= created_at_ms:
                    newest[key[0], name] = (created_at_ms, value)
        cells: list[Cell] = []
        for (vehicle_id, name), (created_at_ms, value) in newest.items():
            cells += (vehicle_id, name, created_at_ms, *cell_and_type(value))
        return cells


def _is_shown(name: str) -> bool:
    """Whether a field has a row in ``latest``: any known field, and unknown ones, whose names are numbers, below 10 000.

    Without this limit a vehicle could fill the file, as retention does not delete latest values.
    """
    return name[:1].isalpha() or (len(name) <= UNKNOWN_DIGITS and name.isdigit())


def cell_and_type(value: JsonValue) -> tuple[Cell, str]:
    """A value as the columns ``value`` and ``type`` of SQLite's ``json_each``."""
    match value:
        case None:
            return None, "null"
        case bool():
            return int(value), "true" if value else "false"
        case int():
            return value, "integer"
        case float():
            return value, "real"
        case str():
            return value, "text"
        case _:
            return _encode(value).decode(), "object"
