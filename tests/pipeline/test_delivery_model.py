"""Sessions with their lanes and tickets, against a model: acknowledged is what the policy allows, at once and once."""

from collections.abc import Sequence
from functools import partial
from unittest import TestCase

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from fleetgw.app.pipeline.confirmations import AwaitsConfirmation
from fleetgw.app.pipeline.gateway import Gateway, GatewaySettings
from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.app.pipeline.routes import TypeRoutes
from fleetgw.app.pipeline.session import Session
from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.acks import Accepted, holds
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import NotConnected, Rejected, Retryable, Unheard
from fleetgw.domain.ports import RECEIPT, IDispatcher, IVehicleLink, Outcome, Receipt
from fleetgw.domain.records import Record
from fleetgw.domain.routing import build_routes
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.books import assert_balanced
from tests.support.lane_sink import LaneSink
from tests.support.session_case import CODEC, message, vehicle

SINKS = ("a", "b", "c")
VINS = ("ONE", "TWO", "TWO", "THREE")
"""Of the connections: one vehicle has two of them."""

POLICIES = ("accepted", "a", "all", "any", "a and (b or c)", "(a and b) or c", "a or (b and c)")
OUTCOMES = (RECEIPT, RECEIPT, Retryable("later"), NotConnected("down"), Rejected("never"), Unheard("nobody"))


@implementer(IDispatcher)
class ModelSink(LaneSink):
    def __init__(self, name: str) -> None:
        self.name = name
        self.in_flight: list[tuple[list[bytes], Deferred[Sequence[Outcome]]]] = []

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        answer: Deferred[Sequence[Outcome]] = Deferred()
        self.in_flight.append(([record.txid for record in batch], answer))
        return answer


class ModelLane(Lane):
    """Notes what it takes: what it holds, and all that it has taken, in order."""

    held: list[bytes]
    taken: list[Record]

    def take(self, records: Sequence[Record], size_bytes: int, origin: AwaitsConfirmation | None) -> int:
        taken = super().take(records, size_bytes, origin)
        self.held += [record.txid for record in records[:taken]]
        self.taken += records[:taken]
        return taken


@implementer(IVehicleLink)
class ModelLink:
    """One connection.

    :ivar received: the txids of its records.
    """

    session: Session

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.acknowledged: list[bytes] = []
        self.is_closed = self.is_paused = False

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def acknowledge(self, records: Sequence[Record]) -> None:
        assert records
        self.acknowledged += [record.txid for record in records]

    def acknowledge_unknown(self, txid: bytes) -> None:
        raise AssertionError(txid)

    def reply_error(self, txid: bytes) -> None:
        raise AssertionError(txid)

    def close(self, reason: str) -> None:
        self.is_closed = True


class DeliveryMachine(RuleBasedStateMachine):
    """The model: for each record the sinks that have taken it, that have confirmed it, and that never will.

    A record *waits for room* while its policy cannot hold by the sinks that have taken it, and then its vehicle is not read.
    """

    @initialize(policy=st.sampled_from(POLICIES), rooms=st.tuples(*[st.integers(1, 8)] * 3), window=st.integers(1, 4))
    def begin(self, policy: str, rooms: tuple[int, ...], window: int) -> None:
        self.policy = read_policy(policy, SINKS)
        self.clock = Clock()
        self.metrics, self.log = ReadableMetrics(), ReadableLog()
        self.sinks = {name: ModelSink(name) for name in SINKS}
        timing = LaneTiming(0.005, 0.5, 2.0, 10.0)
        self.lanes = {}
        for sink, room in zip(self.sinks.values(), rooms, strict=True):
            limits = BacklogLimits(room, 1_000_000, window, window)
            self.lanes[sink.name] = lane = ModelLane(sink, limits, timing, self.clock, self.metrics, self.log)
            lane.held, lane.taken = [], []
            lane._random.seed(0)  # of the jitter: the steps must be the same each time
        routes = TypeRoutes(build_routes({"custom": SINKS}, {"custom": self.policy}), self.lanes, self.metrics)
        self.gateway = Gateway(GatewaySettings(CODEC, 10_000), routes, self.metrics, self.log, self.clock, lambda: 0)
        self.sent = 0
        self.confirmed: dict[bytes, set[str]] = {}
        self.rejected: dict[bytes, set[str]] = {}
        self.links = [self.connected(vin) for vin in VINS]

    def connected(self, vin: str) -> ModelLink:
        link = ModelLink()
        link.session = self.gateway.connected(vehicle(vin), link)
        return link

    @rule(index=st.integers(0, len(VINS) - 1))
    def reconnect(self, index: int) -> None:
        self.links[index].session.disconnected()
        self.links[index] = self.connected(VINS[index])

    @precondition(lambda self: not all(link.is_paused for link in self.links))
    @rule(count=st.integers(1, 5), data=st.data())
    def receive(self, count: int, data: st.DataObject) -> None:
        link = data.draw(st.sampled_from([link for link in self.links if not link.is_paused]))
        txids = [b"%d" % number for number in range(self.sent, self.sent + count)]
        self.sent += count
        link.received += txids
        for txid in txids:
            self.confirmed[txid], self.rejected[txid] = set(), set()
        link.session.received([message("custom", txid) for txid in txids])

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.5, 3.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: any(sink.in_flight for sink in self.sinks.values()))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        sink = self.sinks[data.draw(st.sampled_from([name for name, sink in self.sinks.items() if sink.in_flight]))]
        index = data.draw(st.integers(0, len(sink.in_flight) - 1))
        count = len(sink.in_flight[index][0])
        self.settle(sink, index, data.draw(st.lists(st.sampled_from(OUTCOMES), min_size=count, max_size=count)))

    def settle(self, sink: ModelSink, index: int, outcomes: Sequence[Outcome]) -> None:
        txids, answer = sink.in_flight.pop(index)
        for txid, outcome in zip(txids, outcomes, strict=True):
            if isinstance(outcome, Receipt):
                self.confirmed[txid].add(sink.name)
            elif isinstance(outcome, Rejected):
                self.rejected[txid].add(sink.name)
            else:
                continue
            self.lanes[sink.name].held.remove(txid)
        answer.callback(outcomes)

    def sinks_that_took(self, txid: bytes) -> set[str]:
        return {name for name, lane in self.lanes.items() if any(record.txid == txid for record in lane.taken)}

    def can_hold(self, sinks: set[str]) -> bool:
        return sinks == set(SINKS) if isinstance(self.policy, Accepted) else holds(self.policy, sinks)

    def waits_for_room(self, txid: bytes) -> bool:
        return not self.can_hold(self.sinks_that_took(txid))

    def is_due(self, txid: bytes) -> bool:
        return self.can_hold(self.sinks_that_took(txid) if isinstance(self.policy, Accepted) else self.confirmed[txid])

    @invariant()
    def acknowledged_is_what_is_due(self) -> None:
        for link in self.links:
            assert len(link.acknowledged) == len(set(link.acknowledged)), link.acknowledged
            assert set(link.acknowledged) == {txid for txid in link.received if self.is_due(txid)}

    @invariant()
    def paused_is_what_waits_for_room(self) -> None:
        for link in self.links:
            assert link.is_paused == any(map(self.waits_for_room, link.received))
        paused = {vin for vin, link in zip(VINS, self.links, strict=True) if link.is_paused}
        assert self.metrics.value("vehicles_paused") == len(paused)

    @invariant()
    def each_vehicle_is_in_order(self) -> None:
        for lane in self.lanes.values():
            for vin in VINS:
                numbers = [int(record.txid) for record in lane.taken if record.vin == vin]
                assert numbers == sorted(set(numbers))

    @invariant()
    def lanes_hold_what_has_no_final_outcome(self) -> None:
        for lane in self.lanes.values():
            assert lane.held_records == len(lane.held)

    def waits(self, link: ModelLink) -> bool:
        """Whether a record of a connection waits for room, or may still become due."""
        if link.is_paused:
            return True
        possible = {txid: self.sinks_that_took(txid) - self.rejected[txid] for txid in link.received}
        return any(not self.is_due(txid) and self.can_hold(sinks) for txid, sinks in possible.items())

    def teardown(self) -> None:
        """Confirm everything: nothing is left, and a session that leaves is closed as soon as no record waits."""
        closed: list[ModelLink] = []
        for link in self.links:
            link.session.when_settled(partial(closed.append, link))
        for _ in range(200):
            for link in self.links:
                assert (link in closed) == (not self.waits(link))
            for sink in self.sinks.values():
                while sink.in_flight:
                    self.settle(sink, 0, [RECEIPT] * len(sink.in_flight[0][0]))
            self.acknowledged_is_what_is_due()
            self.clock.advance(0.5)
            self.paused_is_what_waits_for_room()
        self.each_vehicle_is_in_order()
        assert len(closed) == len(self.links)
        assert not any(lane.held_records for lane in self.lanes.values())
        assert not any(tickets._tickets for link in self.links for tickets in link.session._tickets.values())
        assert not self.log.fields_of("confirmation_failed")
        assert not self.log.fields_of("room_failed")
        assert_balanced(self.metrics)


DeliveryMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
DeliveryTests: type[TestCase] = DeliveryMachine.TestCase
