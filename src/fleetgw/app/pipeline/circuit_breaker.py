"""The circuit breaker of a lane: no dispatch while the sink cannot reach its destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.ports import Ready

if TYPE_CHECKING:
    from fleetgw.domain.backoff import Backoff
    from fleetgw.domain.ports import IDispatcher

READINESS_CHECK_S = 0.5
"""Interval in seconds of the checks of the sink's readiness while the circuit is open."""


class CircuitBreaker:
    """Decides when a lane may dispatch again after its sink could not reach the destination.

    An open circuit closes for the next attempt after a backoff, or as soon as the sink turns from not ready to ready. An
    attempt during which the sink was never ready did not reach the destination: it does not make the next backoff longer.

    :ivar is_open: whether the lane must not dispatch.
    """

    def __init__(self, sink: IDispatcher, backoff: Backoff) -> None:
        self.is_open = False
        self._sink = sink
        self._backoff = backoff
        self._until_s = 0.0
        self._was_ready = True  # at the last check

    def begin_attempt(self) -> None:
        """Close the circuit: records are dispatched now."""
        self.is_open = False
        self._was_ready = self._is_ready()

    def open(self, now_s: float, chance: float) -> tuple[float, bool]:
        """Open the circuit: an attempt has failed.

        :param chance: a random number in [0, 1), for the jitter.
        :return: the backoff in seconds, and whether the attempt could have reached the destination.
        """
        reached = self._was_ready or self._is_ready()
        backoff_s = self._backoff.failed(chance, counts=reached)
        self.is_open = True
        self._was_ready = self._is_ready()
        self._until_s = now_s + backoff_s
        return backoff_s, reached

    def check_in_s(self, now_s: float) -> float:
        """Seconds until the next check of an open circuit, or until the next attempt; 0 for an attempt now."""
        was_ready, self._was_ready = self._was_ready, self._is_ready()
        if self._was_ready and not was_ready:
            return 0.0
        return max(0.0, min(READINESS_CHECK_S, self._until_s - now_s))

    def reset(self) -> None:
        """Close the circuit, and start the backoff over."""
        self.is_open = False
        self._backoff.succeeded()

    def succeeded(self) -> None:
        """Start the backoff over: a record has reached the destination."""
        self._backoff.succeeded()

    def _is_ready(self) -> bool:
        try:
            return isinstance(self._sink.readiness(), Ready)
        except Exception:  # of a sink that breaks its contract: taken for ready, so that the backoff alone decides
            return True
