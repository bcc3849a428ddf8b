"""The ledger of a whole pipeline under random offers, outcomes, disconnects and stops: balanced and true after each step."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred
from zope.interface import implementer

from fleetgw.domain.errors import NotConnected, Rejected, Retryable, Unheard
from fleetgw.domain.ports import RECEIPT, IDispatcher, IVehicleLink
from tests.support.books import assert_balanced
from tests.support.lane_sink import LaneSink
from tests.support.session_case import SessionCase, message, vehicle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.app.pipeline.session import Session
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

SINKS = ("kafka", "mqtt", "redis")
ROUTES = {"V": SINKS, "alerts": ("kafka", "redis"), "custom": SINKS, "connectivity": ("kafka",)}
POLICIES = {"alerts": "kafka", "custom": "kafka and (mqtt or redis)"}
VINS = ("vin-a", "vin-b")
OUTCOMES = (RECEIPT, Retryable("busy"), NotConnected("gone"), Rejected("too large"), Unheard("nobody"))
ROOM = 12
"""Records that each queue takes: few, so that queues fill up."""


@implementer(IVehicleLink)
class CountingLink:
    """A link that counts the records acknowledged, by type."""

    def __init__(self, acked: Counter[str]) -> None:
        self.is_paused = False
        self._acked = acked

    def pause_reading(self) -> None:
        """See ``IVehicleLink``."""
        self.is_paused = True

    def resume_reading(self) -> None:
        """See ``IVehicleLink``."""
        self.is_paused = False

    def acknowledge(self, records: Sequence[Record]) -> None:
        """See ``IVehicleLink``."""
        self._acked.update(record.record_type for record in records)

    def acknowledge_unknown(self, txid: bytes) -> None:
        """See ``IVehicleLink``."""
        raise AssertionError(txid)

    def reply_error(self, txid: bytes) -> None:
        """See ``IVehicleLink``."""

    def close(self, reason: str) -> None:
        """See ``IVehicleLink``."""


@implementer(IDispatcher)
class CountingSink(LaneSink):
    """A sink that counts the receipts that it gives, by record type."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.batches: list[tuple[Sequence[Record], Deferred[Sequence[Outcome]]]] = []
        self.delivered: Counter[str] = Counter()

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Keep the records until ``answer``."""
        answer: Deferred[Sequence[Outcome]] = Deferred()
        self.batches.append((batch, answer))
        return answer

    def answer(self, index: int, outcomes: Sequence[Outcome], *, counts: bool) -> None:
        """Answer a batch with outcomes that are repeated as needed."""
        records, answer = self.batches.pop(index)
        each = [outcomes[number % len(outcomes)] for number in range(len(records))]
        if counts:
            self.delivered.update(
                record.record_type for record, outcome in zip(records, each, strict=True) if outcome is RECEIPT
            )
        answer.callback(each)


class LedgerMachine(RuleBasedStateMachine):
    """Vehicles send, sinks answer, connections end, queues are given up."""

    @initialize()
    def begin(self) -> None:
        case = SessionCase()
        case.setUp()
        self.sinks = {name: CountingSink(name) for name in SINKS}
        case.sinks, case.room, case.records = self.sinks, dict.fromkeys(SINKS, ROOM), ROUTES  # type: ignore[assignment]  # of another class
        self.gateway = case.make(POLICIES)
        for lane in case.lanes.values():
            lane._random.seed(0)  # of the jitter: the steps must be the same each time
        self.case = case
        self.sessions: list[Session] = []
        self.links: dict[Session, CountingLink] = {}
        self.received: Counter[str] = Counter()
        self.acked: Counter[str] = Counter()
        self.closed: set[str] = set()
        self.abandoned: set[str] = set()

        self.connect(VINS[0])

    @rule(vin=st.sampled_from(VINS))
    def connect(self, vin: str) -> None:
        link = CountingLink(self.acked)
        session = self.gateway.connected(vehicle(vin), link)
        self.sessions.append(session)
        self.links[session] = link

    def read_sessions(self) -> list[Session]:
        """The sessions whose link reads."""
        return [session for session in self.sessions if not self.links[session].is_paused]

    @precondition(lambda self: self.read_sessions())
    @rule(
        types=st.lists(st.sampled_from(["V", "V", "alerts", "custom", "unrouted", "broken"]), min_size=1, max_size=8),
        data=st.data(),
    )
    def send(self, types: list[str], data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.read_sessions()))
        messages = []
        for each in types:
            if each == "broken":
                messages.append(b"broken")
            else:
                self.received[each] += 1
                messages.append(message(each, b"txid", sender_id=f"vehicle_device.{session.vehicle.vin}"))
        session.received(messages)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.sessions))
        self.sessions.remove(session)
        session.disconnected()

    @rule(seconds=st.sampled_from([0.0, 0.005, 1.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.case.clock.advance(seconds)

    @precondition(lambda self: any(sink.batches for sink in self.sinks.values()))
    @rule(data=st.data(), outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=4))
    def answer(self, data: st.DataObject, outcomes: list[Outcome]) -> None:
        sink = data.draw(st.sampled_from([each for each in self.sinks.values() if each.batches]), "sink")
        index = data.draw(st.integers(0, len(sink.batches) - 1), "batch")
        sink.answer(index, outcomes, counts=sink.name not in self.abandoned)

    @rule()
    def everything_is_confirmed(self) -> None:
        for sink in self.sinks.values():
            while sink.batches:
                sink.answer(0, [RECEIPT], counts=sink.name not in self.abandoned)

    @rule(name=st.sampled_from(SINKS), chance=st.integers(1, 10))
    def close_or_give_up(self, name: str, chance: int) -> None:
        if chance < 10:
            return
        if name in self.closed:
            self.case.lanes[name].abandon()
            self.abandoned.add(name)
        else:
            self.case.lanes[name].close()
            self.closed.add(name)

    @invariant()
    def the_books_balance_and_are_true(self) -> None:
        ledger = assert_balanced(self.case.metrics, lost=self.lost())
        for record_type, accounts in ledger.types.items():
            assert accounts.received == self.received[record_type]
            assert accounts.acked == self.acked[record_type], record_type
        for (record_type, name), sink_accounts in ledger.sinks.items():
            assert sink_accounts.delivered == self.sinks[name].delivered[record_type]
        if len(self.read_sessions()) < len(self.sessions):
            return  # some records wait for room
        assert ledger.types["V"].awaiting == 0, "nothing waits under the policy accepted"
        alerts = ledger.sinks.get(("alerts", "kafka"))
        assert ledger.types["alerts"].awaiting == (alerts.held if alerts is not None else 0)

    def teardown(self) -> None:
        """Give up what is held: nothing waits any more."""
        if not hasattr(self, "case"):
            return
        for lane in self.case.lanes.values():
            lane.close()
            lane.abandon()
        ledger = assert_balanced(self.case.metrics, lost=self.lost())
        assert not any(accounts.awaiting for accounts in ledger.types.values()), ledger.types
        assert not any(accounts.held for accounts in ledger.sinks.values()), ledger.sinks

    def lost(self) -> int:
        """Number of dead letters of given-up queues: each names the stop."""
        letters = self.case.log.fields_of("dead_letter")
        return sum("the gateway stopped" in letter["error"] for letter in letters)


LedgerMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=50)
LedgerTests = LedgerMachine.TestCase
