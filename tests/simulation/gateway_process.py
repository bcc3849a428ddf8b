"""One process of the gateway, from its start to its stop or crash."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.task import Clock
from zope.interface import implementer

from fleetgw.adapters.metrics.ledger import ledger_of
from fleetgw.app.pipeline.gateway import Gateway, GatewaySettings
from fleetgw.app.pipeline.lane import Lane
from fleetgw.app.pipeline.routes import TypeRoutes
from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.ledger import imbalances
from fleetgw.domain.memory_budget import MemoryBudget
from fleetgw.domain.ports import ILog
from fleetgw.domain.routing import build_routes
from fleetgw.testing.sink_doubles import ReadableMetrics
from tests.simulation.brokers import SimulatedSink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.simulation.brokers import Broker
    from tests.simulation.oracle import Oracle
    from tests.simulation.setup import Setup
    from tests.simulation.vehicles import SimulatedLink
    from tests.simulation.wire import SimulatedCodec

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
        if event == "dead_letter" and not fields["vehicle_resends"]:
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
    ) -> None:
        self._oracle = oracle
        self.clock = Clock()
        self.metrics = ReadableMetrics()
        log = SimulatedLog(oracle)
        self._budget = MemoryBudget(setup.memory_bytes, len(brokers))
        self._unclaimed_bytes = self._budget.unclaimed_bytes
        self.sinks = [SimulatedSink(broker, self.clock, random, oracle) for broker in brokers]
        self.lanes = {
            sink.name: Lane(sink, setup.limits, setup.timing, self.clock, self.metrics, log, self._budget.share(2.0))
            for sink in self.sinks
        }
        for lane in self.lanes.values():
            lane._random = random
        policies = {each: read_policy(text, setup.records[each]) for each, text in setup.policies.items()}
        self.gateway = Gateway(
            settings=GatewaySettings(
                codec, 10_000, setup.rate_limit, refuse_unrouted=setup.refuse_unrouted, debounce_s=setup.debounce_s
            ),
            routes=TypeRoutes(build_routes(setup.records, policies), self.lanes, self.metrics),
            metrics=self.metrics,
            log=log,
            clock=self.clock,
            wall_ns=lambda: int(wall_s() * 1e9),
        )

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

    def stop(self, links: Sequence[SimulatedLink], patience_s: float) -> None:
        """Stop in order, as ``GatewayLife`` does, within so many seconds."""
        lanes = self.lanes.values()
        for lane in lanes:
            lane.drain()
        for link in links:
            link.session.when_settled(partial(link.close, "stop"))
        self._wait(patience_s)
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
        for lane in lanes:
            lane.abandon()
        self._check_nothing_is_left()

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
