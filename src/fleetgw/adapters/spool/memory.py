"""A spool in memory, for tests and trials: nothing outlives the process."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.domain.errors import SpoolFull, StorageError
from fleetgw.domain.ports import Appended, ISpool, Page, SpoolState

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.domain.records import Record


@frozen(eq=False)
class _Kept:
    position: int
    record: Record
    appended_s: float


@implementer(ISpool)
class MemorySpool:
    """Keeps records until every sink's cursor is past them; refuses them when full.

    :ivar failure: while a test sets it, records are not stored, for this reason.
    """

    def __init__(self, clock: IReactorTime, max_bytes: int) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self.failure: StorageError | None = None
        self._sinks: Mapping[str, Container[str]] | None = None
        self._cursors: dict[str, int] = {}
        self._kept: list[_Kept] = []
        self._size_bytes = 0
        self._next_position = 1

    def start(self, sinks: Mapping[str, Container[str]]) -> Deferred[Mapping[str, int]]:
        """See ``ISpool``. A spool that was stopped may be started again, as if its process had."""
        self._sinks = sinks
        for sink in sinks:
            self._cursors.setdefault(sink, self._next_position)
        return succeed({sink: self._cursors[sink] for sink in sinks})

    def append(self, records: Sequence[Record]) -> Appended | StorageError:
        """See ``ISpool``."""
        if self._sinks is None:
            return StorageError("the spool does not run")
        if (full := self._fullness()) is not None:
            return SpoolFull(full)
        positions = range(self._next_position, self._next_position + len(records))
        self._next_position = positions.stop
        if self.failure is None:
            now_s = self._clock.seconds()
            self._kept += [_Kept(*each, now_s) for each in zip(positions, records, strict=True)]
            self._size_bytes += sum(record.cost_bytes for record in records)
        return Appended(positions, succeed(self.failure))

    def read(self, sink: str, position: int, most_records: int, most_bytes: int) -> Deferred[Page | StorageError]:
        """See ``ISpool``."""
        if self._sinks is None:
            return succeed(StorageError("the spool does not run"))
        types = self._sinks[sink]
        positions: list[int] = []
        records: list[Record] = []
        cost_bytes = 0
        for kept in self._kept[bisect_left(self._kept, position, key=lambda kept: kept.position) :]:
            if kept.record.record_type not in types:
                continue
            cost_bytes += kept.record.cost_bytes
            if records and (len(records) == most_records or cost_bytes > most_bytes):
                return succeed(Page(positions, records, kept.position))
            positions.append(kept.position)
            records.append(kept.record)
        return succeed(Page(positions, records, max(position, self._next_position)))

    def settle(self, sink: str, position: int) -> None:
        """See ``ISpool``."""
        if self._sinks is None or position <= self._cursors[sink]:
            return
        self._cursors[sink] = min(position, self._next_position)
        lowest = min(self._cursors[each] for each in self._sinks)
        unneeded = bisect_left(self._kept, lowest, key=lambda kept: kept.position)
        self._size_bytes -= sum(kept.record.cost_bytes for kept in self._kept[:unneeded])
        del self._kept[:unneeded]

    @property
    def cursors(self) -> Mapping[str, int]:
        """See ``ISpool``."""
        return {sink: self._cursors[sink] for sink in self._sinks or ()}

    def compact(self) -> Deferred[StorageError | None]:
        """See ``ISpool``."""
        return succeed(self.failure)

    def _fullness(self) -> str | None:
        if self._size_bytes < self._max_bytes:
            return None
        return f"the spool holds {self._size_bytes} bytes; at most {self._max_bytes} are kept"

    def state(self) -> SpoolState:
        """See ``ISpool``."""
        oldest = self._kept[0] if self._kept else None
        return SpoolState(
            self._next_position if oldest is None else oldest.position,
            self._next_position,
            self._size_bytes,
            self._max_bytes,
            0,
            0,
            0.0 if oldest is None else self._clock.seconds() - oldest.appended_s,
            self._fullness(),
            None if self.failure is None else str(self.failure),
        )

    def stop(self) -> Deferred[None]:
        """See ``ISpool``."""
        self._sinks = None
        return succeed(None)
