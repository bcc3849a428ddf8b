"""Reading pages of records from one file, past whatever in it is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
from attrs import Factory, define, frozen

from fleetgw.adapters.spool.database import DAMAGES
from fleetgw.adapters.spool.record_format import Damaged, RecordDecoder, split_block

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from fleetgw.domain.records import Record

SCAN_BYTES = 4 * 1024 * 1024
"""Most bytes that one page reads from disk, when few records are of the types asked for."""


class EveryType:
    """All record types."""

    def __contains__(self, record_type: object) -> bool:
        return True


EVERY_TYPE = EveryType()


@frozen
class PageBounds:
    """See ``ISpool.read``."""

    record_types: Container[str]
    most_records: int
    most_bytes: int


@define(eq=False)
class PageRead:
    """A page, and the number of its positions whose records are damaged."""

    next_position: int
    positions: list[int] = Factory(list)
    records: list[Record] = Factory(list)
    damaged_records: int = 0


class FileReader:
    """Reads one file, whose positions are contiguous: one that is missing is damaged.

    :param end: the position behind the last record of the file.
    :param is_complete: whether the file holds all positions up to ``end``; otherwise the last ones may not have been stored.
    :param skips_unreadable: whether blocks that the disk does not give count as damaged; otherwise reading them raises.
    """

    def __init__(self, connection: apsw.Connection, end: int, *, is_complete: bool, skips_unreadable: bool = False) -> None:
        self._connection = connection
        self._end = end
        self._is_complete = is_complete
        self._damages: tuple[type[Exception], ...] = (*DAMAGES, Damaged)
        if skips_unreadable:
            self._damages += (apsw.IOError,)
        self._last_is_damaged = False

    def read(self, position: int, bounds: PageBounds) -> PageRead:
        """Read a page that begins at a position of this file.

        :raises apsw.Error: the file cannot be read now.
        """
        page = PageRead(position)
        decoder = RecordDecoder()
        cost_bytes = scanned_bytes = 0
        for first, stored in self._blocks(position):
            page.damaged_records += max(0, first - page.next_position)
            for at, encoded in enumerate(stored, first):
                if at < position:
                    continue
                scanned_bytes += len(encoded)
                try:
                    record = decoder.decode(at, encoded, bounds.record_types)
                except Damaged:
                    page.damaged_records += 1
                    record = None
                if record is not None:
                    cost_bytes += record.cost_bytes
                    if page.records and (len(page.records) == bounds.most_records or cost_bytes > bounds.most_bytes):
                        page.next_position = at
                        return page
                    page.positions.append(at)
                    page.records.append(record)
                page.next_position = at + 1
            if scanned_bytes >= SCAN_BYTES:
                return page
        if self._is_complete or self._last_is_damaged:
            page.damaged_records += max(0, self._end - page.next_position)
        page.next_position = max(page.next_position, self._end)
        return page

    def last_position(self) -> int | None:
        """Position of the last record, None for a file without records.

        :raises apsw.Error: the file is damaged, or cannot be read now.
        :raises Damaged: likewise.
        """
        for first, body in self._connection.execute("SELECT first, body FROM block ORDER BY first DESC LIMIT 1"):
            return int(first) + len(split_block(first, body)) - 1
        return None

    def _blocks(self, position: int) -> Iterator[tuple[int, list[bytes]]]:
        """The readable blocks from a position on: the position of the first record, and all records."""
        first = self._try_find("SELECT max(first) FROM block WHERE first <= ?", position)
        at = position if first is None else first
        while (found := self._find_from(at)) is not None and found < self._end:
            at = found + 1
            try:
                row = self._connection.execute("SELECT body FROM block WHERE first = ?", (found,)).fetchone()
                stored = split_block(found, row[0] if row else b"")
            except self._damages:
                self._last_is_damaged = True
                continue
            self._last_is_damaged = False
            yield found, stored
            at = found + max(1, len(stored))

    def _find_from(self, start: int) -> int | None:
        """Position of the first block from ``start`` on, past a damaged part of the file."""
        if (found := self._try_find_from(start)) is not _DAMAGED:
            return found
        self._last_is_damaged = True
        low, step = start, 1
        while (high := start + step) < self._end and self._try_find_from(high) is _DAMAGED:
            low, step = high, 2 * step
        if high >= self._end:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if self._try_find_from(middle) is _DAMAGED:
                low = middle
            else:
                high = middle
        return self._try_find_from(high)

    def _try_find_from(self, start: int) -> int | None:
        try:
            return self._find("SELECT min(first) FROM block WHERE first >= ?", start)
        except self._damages:
            return _DAMAGED

    def _try_find(self, query: str, position: int) -> int | None:
        try:
            return self._find(query, position)
        except self._damages:
            self._last_is_damaged = True
            return None

    def _find(self, query: str, position: int) -> int | None:
        row = self._connection.execute(query, (position,)).fetchone()
        return None if row is None or row[0] is None else int(row[0])


_DAMAGED = -1
"""In place of a position: the file is damaged where it should be found."""
