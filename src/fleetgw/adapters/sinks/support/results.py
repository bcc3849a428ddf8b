"""Results of threads, handed to the reactor in batches."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorFromThreads

T = TypeVar("T")


class Burst(Generic[T]):
    """Wakes the reactor once for all results that are added before its next turn.

    :param take: called on the reactor's thread with these results, in the order of ``add``.
    """

    def __init__(self, reactor: IReactorFromThreads, take: Callable[[list[T]], None]) -> None:
        self._reactor = reactor
        self._take = take
        self._lock = Lock()
        self._results: list[T] = []

    def add(self, result: T) -> None:
        """Add a result; may be called in any thread."""
        with self._lock:
            first = not self._results
            self._results.append(result)
        if first:
            self._reactor.callFromThread(self._take_all)

    def _take_all(self) -> None:
        with self._lock:
            results, self._results = self._results, []
        self._take(results)
