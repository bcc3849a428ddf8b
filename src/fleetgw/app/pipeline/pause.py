"""A lane's pause while its destination is out of reach: as long as the backoff says, or until the sink is ready again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.ports import Ready

if TYPE_CHECKING:
    from fleetgw.domain.backoff import Backoff
    from fleetgw.domain.ports import IDispatcher

LOOK_EVERY_S = 0.5
"""How often a pause looks whether the sink is ready again; nothing looks while nothing pauses."""


class Pause:
    """Decides when a sink that could not reach its destination is tried again.

    A pause ends early once the sink turns from not ready to ready. A try that was made while the sink was not ready, and
    still is when it has failed, never reached the destination: it does not make the next pause longer.

    :ivar is_on: whether the lane pauses.
    """

    def __init__(self, sink: IDispatcher, backoff: Backoff) -> None:
        self.is_on = False
        self._sink = sink
        self._backoff = backoff
        self._until_s = 0.0
        self._was_ready = True  # when last looked at

    def begins_try(self) -> None:
        """Records are handed to the sink."""
        self.is_on = False
        self._was_ready = self._is_ready()

    def begin(self, now_s: float, chance: float) -> tuple[float, bool]:
        """The destination is out of reach: how long the pause is at most, and whether the try had a chance.

        :param chance: a random number in [0, 1).
        """
        reached = self._was_ready or self._is_ready()
        pause_s = self._backoff.failed(chance, counts=reached)
        self.is_on = True
        self._was_ready = self._is_ready()
        self._until_s = now_s + pause_s
        return pause_s, reached

    def next_look_s(self, now_s: float) -> float:
        """Seconds until the sink is looked at again, or tried; 0 when it is to be tried now."""
        was_ready, self._was_ready = self._was_ready, self._is_ready()
        if self._was_ready and not was_ready:
            return 0.0
        return max(0.0, min(LOOK_EVERY_S, self._until_s - now_s))

    def end(self) -> None:
        """Try at once, and begin again with the shortest pause."""
        self.is_on = False
        self._backoff.succeeded()

    def succeeded(self) -> None:
        """Something has reached the destination: the next pause is the shortest."""
        self._backoff.succeeded()

    def _is_ready(self) -> bool:
        try:
            return isinstance(self._sink.readiness(), Ready)
        except Exception:  # a third party's, which the port forbids; the backoff goes on as if nothing was known
            return True
