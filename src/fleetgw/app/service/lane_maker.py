"""Makes the sinks that a configuration routes to, each with its lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.sink_type import Imported
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.app.config.sinks import settings_of, sink_type
from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.app.pipeline.outcome_watch import OutcomeWatch
from fleetgw.app.service.memory_ceiling import MIB, ceiling_mib
from fleetgw.app.sinks import make_sink
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import ConfigurationError
from fleetgw.domain.memory_budget import MemoryBudget
from fleetgw.domain.metrics import MEMORY_CEILING_BYTES
from fleetgw.domain.ports import DEFAULT_MEMORY_WEIGHT, IHoldsCopies

if TYPE_CHECKING:
    from collections.abc import Collection

    from fleetgw.adapters.dead_letters.stores import DeadLetterStores
    from fleetgw.adapters.settings.lane import LaneOverride
    from fleetgw.adapters.sinks.support.context import ISinkReactor
    from fleetgw.app.config.sections import Config
    from fleetgw.domain.errors import Problem
    from fleetgw.domain.memory_budget import Share
    from fleetgw.domain.ports import IDispatcher, ILog, IMetrics


def sink_names(config: Config) -> Collection[str]:
    """Names of all sinks that records are routed to, in the order of ``records``."""
    return dict.fromkeys(name for sinks in config.records.values() for name in sinks).keys()


def import_sinks(config: Config) -> None:
    """Import the sinks that a configuration routes to, with their client libraries; may run on a thread.

    :raises ConfigurationError: one cannot be imported.
    """
    for name in sink_names(config):
        make = sink_type(name, config).make
        if isinstance(make, Imported):
            make.load(name)


class LaneMaker:
    """Makes sinks and lanes; all lanes share one memory ceiling, and one watch.

    :ivar watch: calls an observer with the outcomes of all lanes' batches.
    """

    def __init__(
        self,
        config: Config,
        dead_letters: DeadLetterStores | None,
        reactor: ISinkReactor,
        metrics: IMetrics,
        log: ILog,
    ) -> None:
        """Make no lane yet.

        :param config: sets the memory ceiling, and the number of sinks that it is divided among.
        :param dead_letters: None where they go to the log.
        """
        self.watch = OutcomeWatch()
        self._dead_letters = dead_letters
        self._reactor = reactor
        self._metrics = metrics
        self._log = log
        self._budget = MemoryBudget(ceiling_mib(config) * MIB, max(1, len(sink_names(config))))
        metrics.gauge(MEMORY_CEILING_BYTES).set_to(self._budget.ceiling_bytes)

    def make(self, config: Config, running: Collection[str] = ()) -> dict[str, Lane]:
        """Make the sinks that a configuration routes to.

        :param running: names of the sinks that are there already; none at the first call.
        :return: the new lanes by sink name; none has started.
        :raises ConfigurationError: a sink cannot be imported or made; carries the problems of all.
        """
        made: list[tuple[IDispatcher, LaneOverride]] = []
        problems: list[Problem] = []
        for name in sink_names(config):
            if name in running:
                continue
            try:
                kind = sink_type(name, config)
                made.append((make_sink(kind, self._context(name, config), config), kind.lane))
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems)
        share_of = self._budget.further_share if running else self._budget.share
        return {sink.name: self._lane(sink, config, of_type, share_of(_memory_weight(sink))) for sink, of_type in made}

    def give_back(self, lane: Lane) -> None:
        """Return the memory of a sink that has ended."""
        self._budget.end(lane.share)

    def _context(self, name: str, config: Config) -> SinkContext:
        record_types = tuple(record_type for record_type, sinks in config.records.items() if name in sinks)
        return SinkContext(
            name, settings_of(name, config), config.namespace, record_types, self._reactor, self._metrics, self._log
        )

    def _lane(self, sink: IDispatcher, config: Config, of_type: LaneOverride, share: Share) -> Lane:
        settings = config.delivery.lane(sink.name, of_type)
        limits = BacklogLimits(
            settings.queue_records, settings.queue_bytes, settings.in_flight_records, settings.batch_records
        )
        timing = LaneTiming(
            settings.gather_ms / 1000, settings.retry_initial_s, settings.retry_max_s, settings.drain_timeout_s
        )
        letters = None if self._dead_letters is None else self._dead_letters.of(sink.name)
        return Lane(sink, limits, timing, self._reactor, self._metrics, self._log, share, letters, self.watch)


def _memory_weight(sink: IDispatcher) -> float:
    return max(1.0, float(sink.memory_weight)) if IHoldsCopies.providedBy(sink) else DEFAULT_MEMORY_WEIGHT
