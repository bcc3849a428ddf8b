"""One process of the gateway, from its start to its stop or crash."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.adapters.metrics.ledger import ledger_of
from fleetgw.app.pipeline.gateway import Gateway, GatewaySettings
from fleetgw.app.pipeline.lane import Lane
from fleetgw.app.pipeline.routes import TypeRoutes
from fleetgw.app.pipeline.spooling import Spooling
from fleetgw.domain.ledger import imbalances
from fleetgw.domain.memory_budget import MemoryBudget
from fleetgw.domain.ports import ILog
from fleetgw.testing.sink_doubles import ReadableMetrics
from tests.simulation.brokers import SimulatedSink
from tests.simulation.dead_letters import SimulatedLetters
from tests.simulation.storage import SimulatedReactor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from twisted.internet.defer import Deferred

    from fleetgw.domain.routing import Route
    from tests.simulation.brokers import Broker
    from tests.simulation.oracle import Oracle
    from tests.simulation.setup import Setup
    from tests.simulation.storage import Spool, Storage
    from tests.simulation.vehicles import SimulatedLink
    from tests.simulation.wire import SimulatedCodec

PATIENCE_S = 2.0
"""The spool starts within this time; it stops within this time, or is given up."""

UNEXPECTED = ("confirmation_failed", "connectivity_failed")
"""Log events that no history may cause."""


@implementer(ILog)
class SimulatedLog:
    """Tells the oracle of dead letters, and fails at errors of our own."""

    debug_enabled = info_enabled = False

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def debug(self, event: str, **fields: object) -> None:
        """See ``ILog``."""

    def info(self, event: str, **fields: object) -> None:
        """See ``ILog``."""

    def warn(self, event: str, **fields: object) -> None:
        """See ``ILog``."""

    def error(self, event: str, **fields: object) -> None:
        """See ``ILog``."""
        if event in UNEXPECTED:
            raise self._oracle.violated(f"{event}: {fields}")
        if event == "dead_letter" and fields.get("vehicle_resends") is False:
            metadata = fields["metadata"]
            assert isinstance(metadata, dict)
            self._oracle.dead_letter(str(fields["dispatcher"]), metadata["vin"], metadata["txid"].encode())


class GatewayProcess:
    """The gateway's core, its sinks and its clock; all of it is lost in a crash."""

    def __init__(
        self,
        setup: Setup,
        brokers: Sequence[Broker],
        codec: SimulatedCodec,
        oracle: Oracle,
        random: Random,
        wall_s: Callable[[], float],
        storage: Storage | None,
    ) -> None:
        self._oracle = oracle
        self.clock = SimulatedReactor()
        self.metrics = ReadableMetrics()
        log = SimulatedLog(oracle)
        self._budget = MemoryBudget(setup.memory_bytes, len(brokers))
        self._unclaimed_bytes = self._budget.unclaimed_bytes
        self.sinks = [SimulatedSink(broker, self.clock, random, oracle) for broker in brokers]
        self.lanes = {
            sink.name: Lane(
                sink,
                setup.limits,
                setup.timing,
                self.clock,
                self.metrics,
                log,
                self._budget.share(2.0),
                None
                if setup.letters_fail is None
                else SimulatedLetters(sink.name, self.clock, random, oracle, setup.letters_fail),
            )
            for sink in self.sinks
        }
        for lane in self.lanes.values():
            lane._random = random
        self._spool: Spool | None = None
        routes = oracle.routes
        self.spooling: Spooling | None = None
        if storage is not None and any(route.is_spooled for route in routes.values()):
            self._spool = storage.spool(self.clock, self.metrics, log, wall_s)
            self.spooling = Spooling(self._spool, routes, self.lanes, self.clock, self.metrics, log)
        self.gateway = Gateway(
            settings=GatewaySettings(
                codec, 10_000, setup.rate_limit, refuse_unrouted=setup.refuse_unrouted, debounce_s=setup.debounce_s
            ),
            routes=TypeRoutes(routes, self.lanes, self.metrics, self.spooling),
            metrics=self.metrics,
            log=log,
            clock=self.clock,
            wall_ns=lambda: int(wall_s() * 1e9),
        )

    def start(self, crashes_after_s: float | None = None) -> None:
        """Start in order; or go on for so long only, as a crash comes."""
        if self.spooling is None:
            return
        started = self.spooling.start()
        if crashes_after_s is not None:
            self.pass_time(crashes_after_s)
            return
        if not self._wait_for(started):
            raise self._oracle.violated("the spool does not start")
        self.spooling.begin()

    def _wait_for(self, done: Deferred[None]) -> bool:
        """Let time pass until a Deferred has fired; returns whether it has, within ``PATIENCE_S``."""
        results: list[None] = []
        done.addCallback(results.append)
        end_s = self.clock.seconds() + PATIENCE_S
        while not results and self.clock.seconds() < end_s:
            self.pass_time(0.01)
        return bool(results)

    def reload(self, routes: Mapping[str, Route]) -> None:
        """Replace the routes, as a reload of the configuration does."""
        self.gateway.routes.use(routes, self.lanes)
        self.gateway.sessions.connected.share_lanes()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, call by call."""
        clock = self.clock
        end_s = clock.seconds() + seconds
        while (calls := clock.getDelayedCalls()) and (next_s := min(call.getTime() for call in calls)) <= end_s:
            clock.advance(max(0.0, next_s - clock.seconds()))
        clock.advance(max(0.0, end_s - clock.seconds()))

    @property
    def held_records(self) -> int:
        """Number of records in all lanes."""
        return sum(lane.held_records for lane in self.lanes.values())

    def check_bounds(self) -> None:
        """See that the memory of all lanes is within its bound."""
        memory_bytes = sum(lane.share.memory_bytes for lane in self.lanes.values())
        if not 0 <= memory_bytes <= self._budget.ceiling_bytes:
            raise self._oracle.violated(f"the lanes take {memory_bytes} bytes of {self._budget.ceiling_bytes}")

    def check_books(self) -> None:
        """See that the ledger balances."""
        if off := imbalances(ledger_of(self.metrics)):
            raise self._oracle.violated(f"the books do not balance: {off}")

    def stop(self, links: Sequence[SimulatedLink], patience_s: float) -> bool:
        """Stop in order, as ``GatewayLife`` does, within so many seconds; returns whether the spool had to be given up."""
        lanes = self.lanes.values()
        if self.spooling is not None:
            self.spooling.pause()
        for lane in lanes:
            lane.drain()
        for link in links:
            link.session.when_settled(partial(link.close, "stop"))
        self._wait(patience_s)
        open_links = [link for link in links if link.is_open]
        if open_links and not self.held_records:
            self.pass_time(30.0)  # for the spool's syncs
            open_links = [link for link in links if link.is_open]
        if open_links and not self.held_records:
            raise self._oracle.violated(f"nothing is held, and {len(open_links)} connections wait")
        for link in open_links:
            link.end()
        self.gateway.all_disconnected()
        for lane in lanes:
            lane.drain()
        self._wait(patience_s)
        for lane in lanes:
            lane.close()
        for sink in self.sinks:
            sink.stop()
        gives_up = self.spooling is not None and self._gives_up(self.spooling.stop())
        for lane in lanes:
            lane.abandon()
        for lane in lanes:
            self._gives_up(lane.letters_stored())
        if not gives_up:
            self._check_nothing_is_left()
        return gives_up

    def _gives_up(self, stopped: Deferred[None]) -> bool:
        """Wait for the end of a part; or give it up, and return whether that was necessary."""
        if self._wait_for(stopped):
            return False
        stopped.cancel()
        return True

    def check_idle(self) -> None:
        """See that every lane has got all that is in the spool, and that all of it is settled."""
        if self.spooling is None or self._spool is None:
            return
        if behind := [sink for sink, feed in self.spooling.feeds.items() if not feed.is_live]:
            raise self._oracle.violated(f"{behind} are behind, though nothing is to be done")
        end, cursors = self._spool.state().next_position, self._spool._cursors
        if unsettled := {sink: cursors[sink] for sink in self.spooling.feeds if cursors[sink] < end}:
            raise self._oracle.violated(f"the cursors are {unsettled}, though everything up to {end} is settled")

    def _wait(self, patience_s: float) -> None:
        end_s = self.clock.seconds() + patience_s
        while self.held_records and self.clock.seconds() < end_s:
            self.pass_time(0.1)

    def _check_nothing_is_left(self) -> None:
        if self.held_records or any(lane._backlog.held_bytes or lane.share.memory_bytes for lane in self.lanes.values()):
            raise self._oracle.violated(f"after the stop {self.held_records} records are held")
        if self._budget.unclaimed_bytes != self._unclaimed_bytes:
            raise self._oracle.violated("memory is claimed after the stop")
        if calls := self.clock.getDelayedCalls():
            raise self._oracle.violated(f"after the stop {calls} are due")

    def crash(self) -> None:
        """Lose everything in memory."""
        for sink in self.sinks:
            sink.die()
