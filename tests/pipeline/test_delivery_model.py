"""A session with its lanes and tickets, against a model: acknowledged is what the policy allows, at once and once."""

from collections.abc import Sequence
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
from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.acks import Accepted, holds
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import NotConnected, Rejected, Retryable, Unheard
from fleetgw.domain.ports import RECEIPT, IDispatcher, IVehicleLink, Outcome, Receipt
from fleetgw.domain.records import Record
from fleetgw.domain.routing import build_routes
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.lane_sink import LaneSink
from tests.support.session_case import CODEC, message, vehicle

SINKS = ("a", "b", "c")
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
    """Notes what it takes."""

    held: list[bytes]

    def take(self, records: Sequence[Record], size_bytes: int, origin: AwaitsConfirmation | None) -> int:
        taken = super().take(records, size_bytes, origin)
        self.held += [record.txid for record in records[:taken]]
        return taken


@implementer(IVehicleLink)
class ModelLink:
    def __init__(self) -> None:
        self.acknowledged: list[bytes] = []
        self.is_closed = False

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
    """The model: for each record the sinks that hold it, that have confirmed it, and that never will."""

    @initialize(policy=st.sampled_from(POLICIES), room=st.integers(1, 8), window=st.integers(1, 4))
    def begin(self, policy: str, room: int, window: int) -> None:
        self.policy = read_policy(policy, SINKS)
        self.clock = Clock()
        metrics, log = ReadableMetrics(), ReadableLog()
        self.log = log
        self.sinks = {name: ModelSink(name) for name in SINKS}
        timing = LaneTiming(0.005, 0.5, 2.0, 10.0)
        limits = BacklogLimits(room, 1_000_000, window, window)
        self.lanes = {name: ModelLane(sink, limits, timing, self.clock, metrics, log) for name, sink in self.sinks.items()}
        for lane in self.lanes.values():
            lane.held = []
        routes = build_routes({"custom": SINKS}, {"custom": self.policy})
        self.gateway = Gateway(
            GatewaySettings(CODEC, 10_000), TypeRoutes(routes, self.lanes, metrics), metrics, log, self.clock, lambda: 0
        )
        self.sent = 0
        self.confirmed: dict[bytes, set[str]] = {}
        self.never: dict[bytes, set[str]] = {}
        self.taken_by_all: set[bytes] = set()
        self.connect()

    def connect(self) -> None:
        self.link = ModelLink()
        self.session = self.gateway.connected(vehicle(), self.link)
        self.on_this_link: list[bytes] = []

    @rule()
    def reconnect(self) -> None:
        self.session.disconnected()
        self.connect()

    @rule(count=st.integers(1, 5))
    def receive(self, count: int) -> None:
        txids = [b"%d" % number for number in range(self.sent, self.sent + count)]
        self.sent += count
        self.on_this_link += txids
        self.session.received([message("custom", txid) for txid in txids])
        for txid in txids:
            missing = {name for name, lane in self.lanes.items() if txid not in lane.held}
            self.confirmed[txid], self.never[txid] = set(), missing
            if not missing:
                self.taken_by_all.add(txid)

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
                self.never[txid].add(sink.name)
            else:
                continue
            self.lanes[sink.name].held.remove(txid)
        answer.callback(outcomes)

    def is_due(self, txid: bytes) -> bool:
        if isinstance(self.policy, Accepted):
            return txid in self.taken_by_all
        return holds(self.policy, self.confirmed[txid])

    @invariant()
    def acknowledged_is_what_is_due(self) -> None:
        acknowledged = self.link.acknowledged
        assert len(acknowledged) == len(set(acknowledged)), acknowledged
        assert set(acknowledged) == {txid for txid in self.on_this_link if self.is_due(txid)}

    @invariant()
    def lanes_hold_what_has_no_final_outcome(self) -> None:
        for lane in self.lanes.values():
            assert lane.held_records == len(lane.held)

    @property
    def waits(self) -> bool:
        """Whether a record of this connection may still become due."""
        if isinstance(self.policy, Accepted):
            return False
        possible = {txid: set(SINKS) - self.never[txid] for txid in self.on_this_link}
        return any(not self.is_due(txid) and holds(self.policy, sinks) for txid, sinks in possible.items())

    def teardown(self) -> None:
        """Confirm everything: nothing is left, and a session that leaves is closed as soon as no record waits."""
        closed: list[bool] = []
        self.session.when_settled(lambda: closed.append(True))
        for _ in range(200):
            assert bool(closed) == (not self.waits)
            for sink in self.sinks.values():
                while sink.in_flight:
                    self.settle(sink, 0, [RECEIPT] * len(sink.in_flight[0][0]))
            self.acknowledged_is_what_is_due()
            self.clock.advance(0.5)
        assert closed == [True]
        assert not any(lane.held_records for lane in self.lanes.values())
        assert not any(tickets._tickets for tickets in self.session._tickets.values())
        assert not self.log.fields_of("confirmation_failed")


DeliveryMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
DeliveryTests: type[TestCase] = DeliveryMachine.TestCase
