"""Start and end of one sink with its lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import NotReady

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.ports import IDispatcher, ILog

READY_WITHIN_S = 3.0
"""Time for a sink to reach its destination; after it, the log names a sink that is not ready."""


class SinkRunner:
    """Starts a sink, and ends it in this order: ``drain``, ``close``, ``stop``, ``abandon``.

    :ivar lane: the queue before the sink.
    :ivar drain_s: longest time that draining this sink's lane may take.
    :ivar is_started: whether the sink has started.
    """

    def __init__(self, lane: Lane, clock: IReactorTime, log: ILog) -> None:
        self.lane = lane
        self.sink: IDispatcher = lane.sink
        self.drain_s = lane.timing.drain_s
        self.is_started = False
        self._clock = clock
        self._log = log
        self._starting: Deferred[None] | None = None
        self._stopping: Deferred[None] | None = None
        self._readiness_check: IDelayedCall | None = None

    def start(self) -> Deferred[None]:
        """Start the sink. Fails with ``ConfigurationError``, which is logged, or with ``CancelledError``, and no other."""
        self._starting = Deferred.fromCoroutine(self._start())
        return self._starting

    async def _start(self) -> None:
        name = self.sink.name
        try:
            await self.sink.start()
        except CancelledError:
            raise
        except ConfigurationError as error:
            for problem in error.problems:
                fields = {"key": problem.path, "error": problem.what, "fix": problem.fix}
                self._log.error("sink_start_failed", dispatcher=name, **fields)
            raise
        except Exception as error:  # the port allows no other; a third party's sink may do anything
            what = f"{type(error).__name__}: {error}"
            self._log.error("sink_start_failed", dispatcher=name, error=what)
            problem = Problem(name, f"the sink cannot start: {what}", "see its documentation")
            raise ConfigurationError([problem]) from error
        self.is_started = True
        self._readiness_check = self._clock.callLater(READY_WITHIN_S, self._log_if_not_ready)

    def _log_if_not_ready(self) -> None:
        self._readiness_check = None
        readiness = self.sink.readiness()
        if isinstance(readiness, NotReady):
            self._log.warn("sink_not_ready", dispatcher=self.sink.name, error=readiness.reason)

    def drain(self) -> Deferred[None]:
        """Flush; fires once the lane is empty. Cancelling changes nothing."""
        if self._readiness_check is not None:
            self._readiness_check.cancel()
            self._readiness_check = None
        return self.lane.drain()

    def close(self) -> None:
        """Accept no more records and dispatch no more; batches in flight may still settle."""
        self.lane.close()

    def stop(self) -> Deferred[None]:
        """Stop the sink once, or give up its start. Never fails; cancelling makes the sink give up records in flight."""
        if self._stopping is None:
            self._stopping = Deferred.fromCoroutine(self._stop())
        return self._stopping

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        if not self.is_started:
            return
        try:
            await self.sink.stop()
        except CancelledError:
            pass  # by us: the deadline has passed
        except Exception as error:  # the port allows none; the other parts must stop all the same
            self._log.error("sink_stop_failed", dispatcher=self.sink.name, error=f"{type(error).__name__}: {error}")

    def abandon(self) -> int:
        """Give up the records that the lane holds, once the sink has stopped; returns their number. See ``Lane.abandon``."""
        return self.lane.abandon()

    def letters_stored(self) -> Deferred[None]:
        """Wait for the dead letters that ``abandon`` has made. See ``Lane.letters_stored``."""
        return self.lane.letters_stored()
