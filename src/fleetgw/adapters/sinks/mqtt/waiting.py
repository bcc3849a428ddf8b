"""Records that wait to be published, in the order in which they may go. No I/O and no clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fleetgw.adapters.sinks.mqtt.poison_records import PoisonRecordDetector
    from fleetgw.adapters.sinks.support.dispatch import Dispatch

    Entry = tuple[Dispatch, int]


class WaitingRecords:
    """A queue of records; while a poison record is suspected, it releases them as the detector says.

    Records then go in groups, and each group waits for the answers to the previous one. A suspect goes alone, after another
    record was confirmed, so that it is not blamed for a broker that is down.

    An entry is a dispatch and the index of a record in its batch.
    """

    def __init__(self, detector: PoisonRecordDetector) -> None:
        self._detector = detector
        self._queue: deque[Entry] = deque()
        self._suspects: deque[Entry] = deque()
        self._suspect_released = False
        self._room_in_group = 0

    @property
    def has_suspects(self) -> bool:
        """Whether a suspect waits."""
        return bool(self._suspects)

    def add(self, entries: Iterable[Entry]) -> None:
        """Append records, suspects to a queue of their own."""
        if not self._detector.active:
            self._queue.extend(entries)
            return
        for dispatch, index in entries:
            queue = self._suspects if self._detector.suspects(dispatch.batch[index]) else self._queue
            queue.append((dispatch, index))

    def sort_again(self) -> None:
        """Move records that have become suspects since they were added to the queue of suspects."""
        entries, self._queue = self._queue, deque()
        self.add(entries)

    def clear(self) -> None:
        """Forget all records."""
        self._queue.clear()
        self._suspects.clear()

    def may_send(self, *, in_flight: bool) -> bool:
        """Whether a record may go now.

        :param in_flight: whether others are in flight.
        """
        if not self._detector.active:
            return bool(self._queue)
        if in_flight:
            return self._room_in_group > 0 and bool(self._queue)
        return bool(self._queue) or (bool(self._suspects) and (self._detector.takes_others or self._suspect_released))

    def release_suspect(self) -> None:
        """Let the next suspect go although no other record was confirmed before."""
        self._suspect_released = True

    def take(self, *, in_flight: bool) -> Entry:
        """Remove the next record; only where ``may_send``.

        :param in_flight: whether others are in flight.
        """
        if not self._detector.active:
            return self._queue.popleft()
        if in_flight:
            self._room_in_group -= 1
        elif self._suspects and (self._detector.takes_others or not self._queue):
            self._room_in_group = 0
            self._suspect_released = False
            return self._suspects.popleft()
        else:
            self._room_in_group = self._detector.group_records - 1
        return self._queue.popleft()
