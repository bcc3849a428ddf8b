"""The positions of the letters that were removed: a set of ranges, and the file that keeps it."""

from __future__ import annotations

import json
import os
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FILE_NAME = "removed.json"
_NEW = FILE_NAME + ".new"


class Removed:
    """A set of positions."""

    def __init__(self, ranges: Iterable[range] = ()) -> None:
        """:param ranges: of its positions."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        for each in ranges:
            self.add(each)

    def __contains__(self, position: int) -> bool:
        return self.end_of_run(position) > position

    @property
    def ranges(self) -> Sequence[range]:
        """The positions, ascending, as few ranges as there can be."""
        return [range(*each) for each in zip(self._starts, self._ends, strict=True)]

    def end_of_run(self, position: int) -> int:
        """The first position from this one on that is not in the set."""
        index = bisect_right(self._starts, position) - 1
        return max(position, self._ends[index]) if index >= 0 else position

    def add(self, positions: range) -> None:
        """Add successive positions."""
        if not positions:
            return
        first = bisect_left(self._ends, positions.start)
        last = bisect_right(self._starts, positions.stop)
        start = min([positions.start, *self._starts[first:last]])
        end = max([positions.stop, *self._ends[first:last]])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]


def load(folder: str) -> Removed:
    """Read the set from its file; an empty one where there is none, or none that can be understood.

    A letter that was removed may then be there again.

    :raises OSError: the file cannot be read.
    """
    try:
        with open(os.path.join(folder, FILE_NAME), "rb") as file:
            return Removed(range(int(start), int(end)) for start, end in json.load(file))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return Removed()


def save(folder: str, ranges: Sequence[range]) -> None:
    """Write the set in place of the former one; it is durable once this has returned.

    :raises OSError: it is not written, or not durably.
    """
    name = os.path.join(folder, _NEW)
    with open(name, "w", opener=_private) as file:
        json.dump([[each.start, each.stop] for each in ranges], file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(name, os.path.join(folder, FILE_NAME))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
