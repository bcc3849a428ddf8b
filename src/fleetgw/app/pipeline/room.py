"""Room: calls back those to whom a queue has refused records, once it may take records again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.delivery.room_waiters import RoomWaiters

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.domain.ports import ILog

TURN_S = 0.004
"""The longest time in seconds for which callers are served without a break for the reactor."""


class Room:
    """Serves the callers that wait for one sink, in turns of the reactor of their own.

    :param has_room: whether there may be room for records of a type.
    """

    def __init__(self, dispatcher: str, has_room: Callable[[str], bool], clock: IReactorTime, log: ILog) -> None:
        self._dispatcher = dispatcher
        self._has_room = has_room
        self._clock = clock
        self._log = log
        self._waiters = RoomWaiters()
        self._next_serving: IDelayedCall | None = None
        self._is_closed = False

    def wait(self, record_type: str, callback: Callable[[], None]) -> None:
        """Call ``callback`` once there may be room for records of a type; never once closed. See ``Lane.when_room``."""
        if not self._is_closed:
            self._waiters.add(record_type, callback)

    def forget(self, record_type: str, callback: Callable[[], None]) -> None:
        """Do not call ``callback`` any more; harmless when it does not wait."""
        self._waiters.remove(record_type, callback)

    def changed(self) -> None:
        """There may be room now: serve callers in the reactor's next turn, if any wait."""
        if self._waiters and self._next_serving is None:
            self._next_serving = self._clock.callLater(0, self._serve)

    def _serve(self) -> None:
        self._next_serving = None
        waiters, has_room = self._waiters, self._has_room
        round_number = waiters.begin_round()
        until_s = self._clock.seconds() + TURN_S
        while (callback := waiters.take(round_number, has_room)) is not None:
            self._call(callback)
            if self._clock.seconds() >= until_s:
                self.changed()
                return

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # an error of one vehicle's session must not keep the others waiting
            self._log.error("room_failed", dispatcher=self._dispatcher, error=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Call those who wait for the last time: there is no room any more. Then call nobody."""
        self._is_closed = True
        for callback in self._waiters.take_all():
            self._call(callback)
        if self._next_serving is not None:
            self._next_serving.cancel()
            self._next_serving = None
