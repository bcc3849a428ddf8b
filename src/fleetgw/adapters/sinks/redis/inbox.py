"""Parts on their way from the reactor's thread to a pipe's thread."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.adapters.sinks.redis.waiting import Waker


class Inbox:
    """Queues parts. Wakes the thread once for all parts that come before it takes them. True while there are parts."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._lock = Lock()
        self._parts: list[Part] = []

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, part: Part) -> None:
        """Queue a part."""
        with self._lock:
            self._parts.append(part)
            is_first = len(self._parts) == 1
        if is_first:
            self._waker.wake()

    def take(self) -> list[Part]:
        """Take all parts, oldest first."""
        with self._lock:
            parts, self._parts = self._parts, []
        return parts
