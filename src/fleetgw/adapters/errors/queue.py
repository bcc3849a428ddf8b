"""Bounded queue of errors to report, in which like errors are one entry with a count."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from attrs import define
from twisted.python.reflect import safe_str

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CAPACITY = 100
"""Maximum number of entries; each stands for all errors like it."""

_GROUPING_FIELDS = ("kind", "dispatcher", "key")
"""Errors of one event are alike when these fields are equal: their values come from closed sets."""

_Fingerprint = tuple[str, ...]


@define
class PendingError:
    """An error to report.

    :ivar fields: of the latest of the like errors.
    :ivar count: number of like errors since the last report.
    """

    event: str
    fields: Mapping[str, object]
    count: int = 1

    def fingerprint(self) -> _Fingerprint:
        """Equal for errors that one report covers."""
        return (self.event, *(safe_str(self.fields.get(name, "")) for name in _GROUPING_FIELDS))


class ErrorQueue:
    """First in, first out. Safe on any thread.

    :param capacity: maximum number of entries; errors beyond it are dropped and counted.
    :ivar dropped: number of errors dropped since ``take_dropped``.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: dict[_Fingerprint, PendingError] = {}
        self.dropped = 0
        # Reentrant: a finalizer that runs during a call may report an error of its own on the same thread.
        self._lock = RLock()

    def add(self, error: PendingError) -> bool:
        """Add an error, or count it as dropped; return whether the queue was empty before."""
        fingerprint = error.fingerprint()
        with self._lock:
            was_empty = not self._entries
            like = self._entries.get(fingerprint)
            if like is not None:
                like.fields = error.fields
                like.count += error.count
            elif len(self._entries) < self._capacity:
                self._entries[fingerprint] = error
            else:
                self.dropped += error.count
        return was_empty

    def take_all(self) -> list[PendingError]:
        """Empty the queue and return its entries."""
        with self._lock:
            entries, self._entries = self._entries, {}
        return list(entries.values())

    def put_back(self, errors: Iterable[PendingError]) -> None:
        """Return errors that could not be reported to the head of the queue, and merge like errors that came since."""
        with self._lock:
            since, self._entries = self._entries, {error.fingerprint(): error for error in errors}
            for error in since.values():
                self.add(error)

    def take_dropped(self) -> int:
        """Reset the number of dropped errors, and return it."""
        with self._lock:
            dropped, self.dropped = self.dropped, 0
        return dropped

    def __len__(self) -> int:
        return len(self._entries)
