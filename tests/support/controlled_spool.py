"""A spool whose syncs and reads a test controls."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.domain.ports import Appended, ISpool, Page, SpoolState

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from fleetgw.domain.errors import StorageError
    from fleetgw.domain.records import Record


@define(eq=False)
class _Append:
    positions: range
    records: Sequence[Record]
    synced: Deferred[StorageError | None] = field(factory=Deferred)


@define(eq=False)
class _Read:
    sink: str
    position: int
    most_records: int
    answer: Deferred[Page | StorageError] = field(factory=Deferred)


@implementer(ISpool)
class ControlledSpool:
    """Keeps all records that were synced, whatever the cursors.

    :ivar refusal: the answer to ``append`` while a test sets it.
    :ivar synced: the records on disk, by position.
    :ivar cursors: by sink, as told by ``settle``.
    """

    def __init__(self) -> None:
        self.refusal: StorageError | None = None
        self.synced: dict[int, Record] = {}
        self.cursors: dict[str, int] = {}
        self.next_position = 1
        self._synced_end = 1
        self._sinks: Mapping[str, Container[str]] = {}
        self.appends: deque[_Append] = deque()
        self.reads: deque[_Read] = deque()

    def killed(self) -> ControlledSpool:
        """The spool as the next process finds it."""
        after = ControlledSpool()
        after.synced, after.cursors = dict(self.synced), dict(self.cursors)
        after.next_position = max([self._synced_end, *self.cursors.values()])
        after._synced_end = after.next_position
        return after

    def sync(self, failure: StorageError | None = None) -> None:
        """Sync the oldest append, or fail to."""
        each = self.appends.popleft()
        if failure is None:  # otherwise its positions stay unused, and there is nothing to read
            self._synced_end = each.positions.stop
            self.synced.update(zip(each.positions, each.records, strict=True))
        each.synced.callback(failure)

    def answer_read(self, failure: StorageError | None = None) -> None:
        """Answer the oldest read with what is synced by now."""
        read = self.reads.popleft()
        read.answer.callback(failure or self._page(read))

    def _page(self, read: _Read) -> Page:
        types = self._sinks[read.sink]
        found = [
            (position, record)
            for position, record in self.synced.items()
            if position >= read.position and record.record_type in types
        ]
        page = found[: read.most_records]
        next_position = self._synced_end if len(page) == len(found) else page[-1][0] + 1
        positions, records = [position for position, _ in page], [record for _, record in page]
        return Page(positions, records, max(read.position, next_position))

    def start(self, sinks: Mapping[str, Container[str]]) -> Deferred[Mapping[str, int]]:
        """See ``ISpool``."""
        self._sinks = sinks
        for sink in sinks:
            self.cursors.setdefault(sink, self.next_position)
        return succeed({sink: self.cursors[sink] for sink in sinks})

    def append(self, records: Sequence[Record]) -> Appended | StorageError:
        """See ``ISpool``. Synced once ``sync`` is called."""
        if self.refusal is not None:
            return self.refusal
        each = _Append(range(self.next_position, self.next_position + len(records)), records)
        self.next_position = each.positions.stop
        self.appends.append(each)
        return Appended(each.positions, each.synced)

    def read(self, sink: str, position: int, most_records: int, most_bytes: int) -> Deferred[Page | StorageError]:  # noqa: ARG002
        """See ``ISpool``. Answered once ``answer_read`` is called."""
        read = _Read(sink, position, most_records)
        self.reads.append(read)
        return read.answer

    def settle(self, sink: str, position: int) -> None:
        """See ``ISpool``."""
        self.cursors[sink] = max(self.cursors[sink], position)

    def compact(self) -> Deferred[StorageError | None]:
        """See ``ISpool``. Nothing is removed here."""
        return succeed(None)

    def state(self) -> SpoolState:
        """See ``ISpool``."""
        return SpoolState(1, self.next_position, 0, 1, 0, 0, 0.0, None, None)

    def stop(self) -> Deferred[None]:
        """See ``ISpool``."""
        while self.appends:
            self.sync()
        return succeed(None)
