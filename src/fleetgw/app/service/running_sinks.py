"""The sinks of a gateway while it runs: those that records are routed to, and those that drain after a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredList

from fleetgw.app.service.sink_runner import SinkRunner
from fleetgw.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.ports import ILog


class RunningSinks:
    """Every sink that has been made and has not ended, with its lane; iterating gives their runners."""

    def __init__(self, lanes: Mapping[str, Lane], clock: IReactorTime, log: ILog, ended: Callable[[Lane], object]) -> None:
        """Take the first sinks.

        :param lanes: by sink name.
        :param ended: called with the lane of a sink that has ended after a reload.
        """
        self._clock = clock
        self._log = log
        self._ended = ended
        self._runners = {name: SinkRunner(lane, clock, log) for name, lane in lanes.items()}
        self._draining: dict[str, Deferred[None]] = {}
        self._ending: dict[str, Deferred[None]] = {}

    def __iter__(self) -> Iterator[SinkRunner]:
        return iter([*self._runners.values()])

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """The lanes of all sinks, by name."""
        return {name: runner.lane for name, runner in self._runners.items()}

    async def start(self) -> None:
        """Start the first sinks, all at once.

        :raises ConfigurationError: some cannot be started; carries the problems of all.
        :raises CancelledError: a start was given up.
        """
        await _start(self)

    async def add(self, names: Iterable[str], make: Callable[[Collection[str]], Mapping[str, Lane]]) -> None:
        """Have these sinks run: make and start those that are not there. ``route`` follows, also after an error.

        :param make: called with the names of the sinks that are there; sinks that are ending have ended by then.
        :raises ConfigurationError: some cannot be made or started; carries the problems of all.
        :raises CancelledError: the start was given up.
        """
        for name in names:
            self._draining.pop(name, None)
            if name in self._ending:
                await self._ending[name]
        added = {name: SinkRunner(lane, self._clock, self._log) for name, lane in make(self._runners.keys()).items()}
        self._runners |= added
        await _start(added.values())

    def route(self, names: Collection[str]) -> None:
        """Have every other sink drain its lane, however long that takes, and stop."""
        for name in sorted(self._runners.keys() - names - self._draining.keys() - self._ending.keys()):
            self._log.info("sink_draining", dispatcher=name, held_records=self._runners[name].lane.held_records)
            self._drain(name)

    def _drain(self, name: str) -> None:
        self._draining[name] = drained = self._runners[name].drain()
        drained.addCallback(self._drained, name, drained)

    def _drained(self, _: None, name: str, drained: Deferred[None]) -> None:
        # records that waited for room in the lane come in the next turn
        self._clock.callLater(0, self._end, name, drained)

    def _end(self, name: str, drained: Deferred[None]) -> None:
        if self._draining.get(name) is not drained:
            return
        runner = self._runners[name]
        if runner.lane.held_records:
            self._drain(name)
            return
        del self._draining[name]
        runner.close()
        self._ending[name] = ending = runner.stop()
        ending.addCallback(self._has_ended, name)

    def _has_ended(self, _: None, name: str) -> None:
        del self._ending[name]
        runner = self._runners.pop(name)
        runner.abandon()  # nothing is left; the metrics let go of the lane
        self._ended(runner.lane)
        self._log.info("sink_stopped", dispatcher=name)


async def _start(runners: Iterable[SinkRunner]) -> None:
    results = await DeferredList([runner.start() for runner in runners], consumeErrors=True)
    failures = [cast("Failure", result).value for has_started, result in results if not has_started]
    problems = [problem for each in failures if isinstance(each, ConfigurationError) for problem in each.problems]
    if problems:
        raise ConfigurationError(problems)
    if failures:  # cancelling the list has cancelled its Deferreds, and not itself
        raise CancelledError
