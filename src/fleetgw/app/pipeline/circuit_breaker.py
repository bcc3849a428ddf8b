"""A lane's pause while its destination cannot be reached: until the backoff ends it, or the sink is ready again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.ports import Ready

if TYPE_CHECKING:
    from fleetgw.domain.backoff import Backoff
    from fleetgw.domain.ports import IDispatcher

LOOK_EVERY_S = 0.5
"""The interval at which a pause checks whether the sink is ready again."""


class Pause:
    """Decides when a lane retries a sink that could not reach its destination.

    A pause ends early once the sink turns from not ready to ready. An attempt during
    which the sink was never ready did not reach the destination: it does not make the next pause longer.

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
        """The destination cannot be reached: returns the longest pause, and whether the attempt could have reached it.

        :param chance: a random number in [0, 1).
        """
        reached = self._was_ready or self._is_ready()
        pause_s = self._backoff.failed(chance, counts=reached)
        self.is_on = True
        self._was_ready = self._is_ready()
        self._until_s = now_s + pause_s
        return pause_s, reached

    def next_look_s(self, now_s: float) -> float:
        """Seconds until the next check of the sink, or the next attempt; 0 for an attempt now."""
        was_ready, self._was_ready = self._was_ready, self._is_ready()
        if self._was_ready and not was_ready:
            return 0.0
        return max(0.0, min(LOOK_EVERY_S, self._until_s - now_s))

    def end(self) -> None:
        """Retry at once, and begin again with the shortest pause."""
        self.is_on = False
        self._backoff.succeeded()

    def succeeded(self) -> None:
        """A record has reached the destination: the next pause is the shortest."""
        self._backoff.succeeded()

    def _is_ready(self) -> bool:
        try:
            return isinstance(self._sink.readiness(), Ready)
        except (
            Exception
        ):  # a third party's, which the port forbids: as if the sink were ready, so that the backoff alone decides
            return True
