"""Purging: to remove dead letters for good, by position or by age."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.dead_letter import DeadLetter
from fleetgw.domain.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from fleetgw.domain.ports import IDeadLetters

PAGE_RECORDS = 1000
PAGE_BYTES = 16 * 1024 * 1024


async def purge(letters: IDeadLetters, positions: Collection[int] | None, before_ms: int | None) -> int:
    """Remove letters of one sink; returns their number, once that is durable.

    :param positions: of the letters that may be removed; None for all.
    :param before_ms: only letters that are older; None for all.
    :raises StorageError: letters cannot be read, or their removal is not durable.
    """
    end, position, purged = letters.next_position, 1, 0
    removed: list[range] = []
    while position < end:
        page = await letters.read(position, PAGE_RECORDS, PAGE_BYTES)
        if isinstance(page, StorageError):
            raise page
        for at, letter in zip(page.positions, page.records, strict=True):
            is_old = before_ms is None or (isinstance(letter, DeadLetter) and letter.dead_since_ms < before_ms)
            if at < end and is_old and (positions is None or at in positions):
                purged += 1
                removed.append(range(at, at + 1))
        if page.next_position == position:
            break
        position = page.next_position
    if positions is None and before_ms is None:
        removed = [range(1, end)]  # those that cannot be read, too
    if removed and (failure := await letters.remove(removed)) is not None:
        raise failure
    return purged
