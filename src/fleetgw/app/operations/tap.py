"""Taps: decoded records as they come, for people who look on. They take a bounded time, and hold up nothing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.sinks.logger.data import RecordData
from fleetgw.app.operations.streams import json_line
from fleetgw.domain.records import DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.app.pipeline.context import SessionContext
    from fleetgw.domain.ports import IStreamReader
    from fleetgw.domain.records import Record, Vehicle

MAX_TAPS = 16
"""Largest number of taps at a time."""

MAX_FILTERED = 100
"""Largest number of VINs, of record types and of fields in a filter."""

TURN_RECORDS, TURN_S = 10, 0.02
"""Maximum number of records that a turn decodes, and seconds between turns: 500 records a second over all taps."""

MAX_WAITING_RECORDS, MAX_WAITING_BYTES = 250, 4 * 1024 * 1024
"""Bounds of the records that wait to be decoded, for all taps together, in their number and their cost."""

MAX_ELEMENTS, MAX_DATA_BYTES = 1000, 65_536
"""Bounds of the signals and of the payload of a record that is decoded; of a larger one its size alone is shown."""


@frozen
class TapFilter:
    """The records that a tap shows.

    :ivar vins: all vehicles when empty.
    :ivar record_types: all types when empty.
    :ivar fields: signals by name: only these, of records that have one of them; all when empty.
    """

    vins: frozenset[str] = frozenset()
    record_types: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()

    def admits(self, vin: str, record_type: str) -> bool:
        """Whether records of a vehicle and type may be shown."""
        if self.vins and vin not in self.vins:
            return False
        if self.fields and record_type != DATA:
            return False
        return not self.record_types or record_type in self.record_types


@define(eq=False)
class _Tap:
    """:ivar dropped: number of records that the reader has missed and not been told of."""

    filter: TapFilter
    reader: IStreamReader
    dropped: int = field(default=0, init=False)

    def show(self, shown: dict[str, object], data: object) -> None:
        """Write the line of a record."""
        fields = self.filter.fields
        if fields:
            data = {name: value for name, value in data.items() if name in fields} if isinstance(data, dict) else None
            if not data:
                return
        self.tell_dropped()
        if self.dropped or not self.reader.write(json_line({**shown, "data": data}) + b"\n"):
            self.dropped += 1

    def tell_dropped(self) -> None:
        """Tell the reader how many records it has missed, if it reads."""
        if self.dropped and self.reader.write(json_line({"dropped": self.dropped}) + b"\n"):
            self.dropped = 0


class Taps:
    """All taps of a gateway. While there is none, records cost nothing. Call ``tick`` once a second."""

    def __init__(self, sessions: SessionContext, clock: IReactorTime) -> None:
        self._sessions = sessions
        self._clock = clock
        self._data = RecordData(NullLog(), verbose=False)
        self._taps: list[_Tap] = []
        self._vins: frozenset[str] | None = None  # of all filters; None when one of them admits every vehicle
        self._waiting: deque[tuple[Record, Sequence[_Tap]]] = deque()
        self._waiting_bytes = 0
        self._next_turn: IDelayedCall | None = None

    @property
    def have_room(self) -> bool:
        """Whether there may be a further tap."""
        return len(self._taps) < MAX_TAPS

    def open(self, wanted: TapFilter, reader: IStreamReader) -> Callable[[], None]:
        """Show a reader the records from now on; the result ends this."""
        tap = _Tap(wanted, reader)
        if not self._taps:
            self._sessions.add_observer(self._observe)
        self._taps.append(tap)
        self._find_vins()
        return lambda: self._close(tap)

    def _close(self, tap: _Tap) -> None:
        self._taps.remove(tap)
        self._find_vins()
        if not self._taps:
            self._sessions.remove_observer(self._observe)
            self._waiting.clear()
            self._waiting_bytes = 0
            if self._next_turn is not None:
                self._next_turn.cancel()
                self._next_turn = None

    def _find_vins(self) -> None:
        filters = [tap.filter.vins for tap in self._taps]
        self._vins = frozenset[str]().union(*filters) if all(filters) else None

    def tick(self) -> None:
        """A second has passed: tell readers of what they have missed."""
        for tap in self._taps:
            tap.tell_dropped()

    def _observe(self, vehicle: Vehicle, records: Sequence[Record]) -> None:
        if self._vins is not None and vehicle.vin not in self._vins:
            return
        record_type = records[0].record_type
        taps = [tap for tap in self._taps if tap.filter.admits(vehicle.vin, record_type)]
        if not taps:
            return
        for position, record in enumerate(records):
            if len(self._waiting) >= MAX_WAITING_RECORDS or self._waiting_bytes + record.cost_bytes > MAX_WAITING_BYTES:
                for tap in taps:
                    tap.dropped += len(records) - position
                break
            self._waiting.append((record, taps))
            self._waiting_bytes += record.cost_bytes
        if self._waiting and self._next_turn is None:
            self._next_turn = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._next_turn = None
        taken = min(TURN_RECORDS, len(self._waiting))
        for _ in range(taken):
            record, taps = self._waiting.popleft()
            self._waiting_bytes -= record.cost_bytes
            self._show(record, [tap for tap in taps if tap in self._taps])
        if taken:  # also when nothing waits any more: the next turn must not come earlier
            self._next_turn = self._clock.callLater(TURN_S, self._turn)

    def _show(self, record: Record, taps: Sequence[_Tap]) -> None:
        shown: dict[str, object] = {
            "at_ms": record.received_at_ms,
            "vin": record.vin,
            "type": record.record_type,
            "txid": record.txid.decode("utf-8", "replace"),
        }
        data: object = {"Type": record.record_type, "SizeBytes": len(record.payload)}
        if record.elements <= MAX_ELEMENTS and len(record.payload) <= MAX_DATA_BYTES:
            data = self._data.of(record)
        for tap in taps:
            tap.show(shown, data)
