"""The latest values that the table ``latest`` does not show yet."""

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
    """Of every field of every vehicle the value with the latest time; of two with the same time the later one given.

    Vehicles send the same fields over and over: of the records with the same fields one is held, and they are taken apart
    only once they are asked for.
    """

    _held: dict[tuple[int | str, ...], tuple[int, Signals]] = field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(self, vehicle_id: int, created_at_ms: int, signals: Signals) -> None:
        """Take one record's signals."""
        self._keep((vehicle_id, *signals), (created_at_ms, signals))

    def merge(self, later: LatestSignals) -> None:
        """Take what another holds, as if its records had come now."""
        for key, record in later._held.items():
            self._keep(key, record)

    def _keep(self, key: tuple[int | str, ...], record: tuple[int, Signals]) -> None:
        before = self._held.pop(key, None)  # so that the order is that of coming
        self._held[key] = record if before is None or before[0] <= record[0] else before

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    def cells(self) -> list[Cell]:
        """All of it as the cells of rows: vehicle, field, time, value, type."""
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
    """Whether a field has a latest value: of those that are not known, and numbers therefore, only the first 10 000.

    A vehicle could fill the file with others, and retention leaves latest values alone.
    """
    return name[:1].isalpha() or (len(name) <= UNKNOWN_DIGITS and name.isdigit())


def cell_and_type(value: JsonValue) -> tuple[Cell, str]:
    """A value as SQLite's ``json_each`` would give it: its columns ``value`` and ``type``."""
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
