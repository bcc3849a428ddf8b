"""Errors that wait to be reported: a bounded number, in which like errors are one with a count."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CAPACITY = 100
"""Errors that wait, at most, each standing for all like it."""

_TELLING_FIELDS = ("kind", "dispatcher", "key")
"""Errors of one event are alike when these fields are: their values come from closed sets."""

_Likeness = tuple[str, ...]


@define
class WaitingError:
    """An error, and how many like it came since the last report.

    :ivar fields: of the latest one.
    """

    event: str
    fields: Mapping[str, object]
    count: int = 1

    def likeness(self) -> _Likeness:
        """Equal for errors that one report can stand for."""
        return (self.event, *(str(self.fields.get(name, "")) for name in _TELLING_FIELDS))


class ErrorQueue:
    """Oldest first. May be used on any thread.

    :param capacity: how many wait at most; others are dropped, and counted.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._waiting: dict[_Likeness, WaitingError] = {}
        self._dropped = 0
        self._lock = Lock()

    def add(self, error: WaitingError) -> bool:
        """Take an error, or drop it; whether the queue was empty before."""
        likeness = error.likeness()
        with self._lock:
            was_empty = not self._waiting
            like = self._waiting.get(likeness)
            if like is not None:
                like.fields = error.fields
                like.count += error.count
            elif len(self._waiting) < self._capacity:
                self._waiting[likeness] = error
            else:
                self._dropped += error.count
        return was_empty

    def take_all(self) -> list[WaitingError]:
        """Empty the queue."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        return list(waiting.values())

    def put_back(self, errors: Iterable[WaitingError]) -> None:
        """Return errors that could not be reported to the head of the queue; errors like them have come since, perhaps."""
        with self._lock:
            since, self._waiting = self._waiting, {error.likeness(): error for error in errors}
        for error in since.values():
            self.add(error)

    def take_dropped(self) -> int:
        """How many errors were dropped since the last call."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def __len__(self) -> int:
        return len(self._waiting)
