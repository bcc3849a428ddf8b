"""Feeds, lanes and a spool through syncs, faults, kills and stops, against a model: what was acked is never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import TestCase

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from fleetgw.adapters.metrics.ledger import ledger_of
from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.app.pipeline.routes import TypeRoutes
from fleetgw.app.pipeline.spooling import Spooling
from fleetgw.app.pipeline.tickets import TicketPolicy, Tickets
from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import NotConnected, Rejected, Retryable, StorageError
from fleetgw.domain.ledger import Unacked, imbalances
from fleetgw.domain.ports import RECEIPT, IDispatcher, Outcome
from fleetgw.domain.records import OrderingKey, PeerIdentity, Record, Vehicle, ordering_key
from fleetgw.domain.routing import build_routes
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.controlled_spool import ControlledSpool
from tests.support.lane_sink import LaneSink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.app.pipeline.accounts import VehicleAccount
    from fleetgw.app.pipeline.tickets import ConfirmationMetrics

RECORDS = {"V": ("a", "b"), "alerts": ("a", "b"), "errors": ("a",), "custom": ("b",)}
POLICIES = {"V": "spooled", "alerts": "spooled and a", "errors": "spooled or a"}
"""``custom`` is accepted, and spooled all the same: it is not promised to outlive the process."""

LIMITS = BacklogLimits(queue_records=6, queue_bytes=10_000, in_flight_records=4, batch_records=2)
TIMING = LaneTiming(linger_s=0.005, retry_initial_s=0.1, retry_max_s=0.4, drain_s=10.0)
VEHICLES = [Vehicle(PeerIdentity("vehicle_device", vin), vin, vin) for vin in ("A", "B")]
FAILURES = st.none() | st.just(StorageError("the disk fails"))
OUTCOMES = st.just(RECEIPT) | st.sampled_from([Retryable("later"), NotConnected("down"), Rejected("too large")])


@implementer(IDispatcher)
class Sink(LaneSink):
    """Outlives the gateway's process, as a broker does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.delivered: list[Record] = []
        self.open: list[tuple[Sequence[Record], Deferred[Sequence[Outcome]], set[OrderingKey]]] = []

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        answer: Deferred[Sequence[Outcome]] = Deferred()
        self.open.append((batch, answer, set()))
        return answer

    def answer(self, outcomes: list[Outcome]) -> None:
        """Answer the oldest batch; a receipt delivers a record. A record does not overtake one with its ordering key."""
        batch, answer, retried = self.open.pop(0)
        answers: list[Outcome] = []
        for record, chosen in zip(batch, outcomes * len(batch), strict=False):
            key = ordering_key(record)
            outcome = Retryable("behind another one") if key in retried else chosen
            if isinstance(outcome, Retryable):
                for keys in (retried, *(each for _, _, each in self.open)):
                    keys.add(key)
            elif outcome is RECEIPT:
                self.delivered.append(record)
            answers.append(outcome)
        answer.callback(answers)


class Session:
    """Notes what is acknowledged, in ``acked``."""

    def __init__(self, acked: set[bytes]) -> None:
        self._acked = acked
        self._tickets: dict[TicketPolicy, Tickets] = {}
        self.waiting = 0

    def acknowledge(self, records: Sequence[Record]) -> None:
        self._acked.update(record.txid for record in records)

    def acknowledge_stored(self, records: Sequence[Record], account: VehicleAccount) -> None:
        account.ack(records, 0)
        self.acknowledge(records)

    def acknowledge_due(self, records: Sequence[Record], metrics: ConfirmationMetrics) -> None:
        self.acknowledge_stored(records, metrics.account)

    def awaits(self, change: int) -> None:
        self.waiting += change

    def not_acknowledged(self, records: Sequence[Record], reason: Unacked) -> None:
        """Do nothing."""

    def tickets_of(self, policy: TicketPolicy) -> Tickets:
        return self._tickets.setdefault(policy, Tickets(policy, self.acknowledge_due, lambda: None, lambda *_: None))


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.disk = ControlledSpool()
        self.sinks = {name: Sink(name) for name in ("a", "b")}
        self.acked: set[bytes] = set()
        self.types: dict[bytes, str] = {}
        self.dead: set[tuple[str, bytes]] = set()
        self.number = 0

    @initialize()
    def begin(self) -> None:
        """Begin a process."""
        self.clock = Clock()
        self.log = ReadableLog()
        self.metrics = metrics = ReadableMetrics()
        for sink in self.sinks.values():
            sink.open.clear()
        self.lanes = {name: Lane(sink, LIMITS, TIMING, self.clock, metrics, self.log) for name, sink in self.sinks.items()}
        policies = {record_type: read_policy(text, RECORDS[record_type]) for record_type, text in POLICIES.items()}
        routes = build_routes(RECORDS, policies, spools_all=True)
        self.spooling = Spooling(self.disk, routes, self.lanes, self.clock, metrics, self.log)
        self.routes = TypeRoutes(routes, self.lanes, metrics, self.spooling)
        self.session = Session(self.acked)
        self.spooling.start()
        self.spooling.begin()
        self.cursors = [dict(self.disk.cursors)]

    @rule(record_type=st.sampled_from([*RECORDS]), vehicle=st.sampled_from(VEHICLES), count=st.integers(1, 4))
    def send(self, record_type: str, vehicle: Vehicle, count: int) -> None:
        records = []
        for _ in range(count):
            self.number += 1
            records.append(Record(record_type, b"%06d" % self.number, vehicle, b"12345", 0, None, 0))
            self.types[records[-1].txid] = record_type
        route = self.routes.find(record_type.encode())
        assert route is not None
        assert route.spooled is not None
        route.metrics.record_total.add(count)
        route.spooled.accept(records, 5 * count, self.session)

    @rule(refusal=FAILURES)
    def refuse_appends(self, refusal: StorageError | None) -> None:
        self.disk.refusal = refusal

    @precondition(lambda self: self.disk.appends)
    @rule(failure=FAILURES)
    def sync(self, failure: StorageError | None) -> None:
        self.disk.sync(failure)

    @precondition(lambda self: self.disk.reads)
    @rule(failure=FAILURES)
    def answer_read(self, failure: StorageError | None) -> None:
        self.disk.answer_read(failure)

    @rule(seconds=st.sampled_from([0.0, 0.005, 1.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.cursors.append(dict(self.disk.cursors))

    @rule(name=st.sampled_from(["a", "b"]), outcomes=st.lists(OUTCOMES, min_size=1, max_size=2))
    def answer(self, name: str, outcomes: list[Outcome]) -> None:
        if self.sinks[name].open:
            self.sinks[name].answer(outcomes)

    @rule(lag=st.integers(0, 3))
    def kill(self, lag: int) -> None:
        """Kill the process; the cursors on disk may lag behind."""
        self.note_dead_letters()
        self.disk = self.disk.killed()
        self.disk.cursors.update(self.cursors[-1 - min(lag, len(self.cursors) - 1)])
        stored = {record.txid for record in self.disk.synced.values()}
        self.acked -= {txid for txid in self.acked if self.types[txid] == "custom" and txid not in stored}
        self.begin()

    @rule()
    def stop(self) -> None:
        """Stop the process in order."""
        self.spooling.pause()
        for lane in self.lanes.values():
            lane.close()
        for sink in self.sinks.values():
            while sink.open:
                sink.answer([RECEIPT])
        self.spooling.stop()
        for lane in self.lanes.values():
            lane.abandon()
        self.note_dead_letters()
        self.lost_nothing()
        self.books_balance()
        self.disk = self.disk.killed()
        self.begin()

    def note_dead_letters(self) -> None:
        for letter in self.log.fields_of("dead_letter"):
            metadata = letter["metadata"]
            assert isinstance(metadata, dict)
            self.dead.add((str(letter["dispatcher"]), metadata["txid"].encode()))

    @invariant()
    def lost_nothing(self) -> None:
        """Each acked record is delivered to each of its sinks, a dead letter of it, in its lane or on disk for it."""
        if not hasattr(self, "log"):
            return
        self.note_dead_letters()
        position_of = {record.txid: position for position, record in self.disk.synced.items()}
        for name, sink in self.sinks.items():
            done = {record.txid for record in sink.delivered}
            for txid in self.acked:
                record_type = self.types[txid]
                if name not in RECORDS[record_type] or record_type == "custom":
                    continue
                if record_type == "errors" and name == "a":
                    continue  # either is a promise; one that a confirmed is delivered, one that is synced is checked below
                is_kept = position_of.get(txid, 0) >= self.disk.cursors[name]
                assert txid in done or (name, txid) in self.dead or is_kept, (name, txid)

    @invariant()
    def books_balance(self) -> None:
        if hasattr(self, "metrics"):
            ledger = ledger_of(self.metrics)
            assert imbalances(ledger) == []
            for (record_type, _), account in ledger.sinks.items():
                assert record_type == "custom" or not sum(account.lost.values()), record_type

    @invariant()
    def order_is_kept(self) -> None:
        for sink in self.sinks.values():
            last: dict[tuple[str, str], bytes] = {}
            seen: set[bytes] = set()
            for record in sink.delivered:
                if record.txid not in seen:
                    seen.add(record.txid)
                    key = record.vehicle.vin, record.record_type
                    assert last.get(key, b"") < record.txid, (sink.name, last[key], record.txid)
                    last[key] = record.txid

    def teardown(self) -> None:
        """Once all faults are over, everything arrives, feeds are live, and the spool is settled."""
        if not hasattr(self, "log"):
            return
        self.disk.refusal = None
        for _ in range(200):
            while self.disk.appends:
                self.disk.sync()
            while self.disk.reads:
                self.disk.answer_read()
            for sink in self.sinks.values():
                while sink.open:
                    sink.answer([RECEIPT])
            self.clock.advance(1)
        self.note_dead_letters()
        for name, sink in self.sinks.items():
            assert self.spooling.feeds[name].is_live, name
            assert self.disk.cursors[name] == self.disk.next_position, name
            done = {record.txid for record in sink.delivered}
            missing = {txid for txid in self.acked if name in RECORDS[self.types[txid]] and txid not in done}
            assert all((name, txid) in self.dead for txid in missing), (name, missing)
        assert self.session.waiting == 0


class HistoryTests(TestCase):
    def test_what_was_acked_is_never_lost(self) -> None:
        run_state_machine_as_test(Histories, settings=settings(max_examples=100, stateful_step_count=60))
