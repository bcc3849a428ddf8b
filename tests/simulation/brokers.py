"""Simulated brokers, which outlive the gateway's process, and the sinks that deliver to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, define, frozen
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable, Unheard
from fleetgw.domain.ports import RECEIPT, IDispatcher, NotReady, Ready
from fleetgw.domain.records import ordering_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.domain.ports import Outcome, Readiness
    from fleetgw.domain.records import OrderingKey, Record
    from tests.simulation.oracle import Oracle

DELIVERY_TIMEOUT_S = 5.0
"""The longest time in which a sink answers."""

RECORD_FAULTS = ("retryable", "duplicate", "rejected", "unheard")
BATCH_FAULTS = ("not_connected", "raises", "fails", "malformed", "hangs")


@frozen
class Behaviour:
    """The answers of a broker.

    :ivar record_faults: chance of each of ``RECORD_FAULTS``, for a record.
    :ivar batch_faults: chance of each of ``BATCH_FAULTS``, for a batch.
    :ivar refused_types: record types that are retryable, all of them.
    :ivar delay_s: longest time for an answer; 0 for one at once.
    """

    record_faults: tuple[tuple[str, float], ...] = ()
    batch_faults: tuple[tuple[str, float], ...] = ()
    refused_types: tuple[str, ...] = ()
    delay_s: float = 0.002

    @property
    def is_down(self) -> bool:
        """Whether nothing can be reached."""
        return ("not_connected", 1.0) in self.batch_faults


HEALTHY = Behaviour()


def random_behaviour(random: Random, faults: Sequence[str], record_types: Sequence[str]) -> Behaviour:
    """Draw a behaviour with some of these faults."""
    if random.random() < 0.25:
        return HEALTHY
    chances = [0.1, 0.5, 1.0]
    return Behaviour(
        tuple((fault, random.choice(chances)) for fault in RECORD_FAULTS if fault in faults and random.random() < 0.4),
        tuple((fault, random.choice(chances)) for fault in BATCH_FAULTS if fault in faults and random.random() < 0.3),
        (random.choice(record_types),) if "retryable" in faults and random.random() < 0.2 else (),
        random.choice([0.0, 0.002, 0.5, 4.0] if "slow" in faults else [0.0, 0.002]),
    )


@define(eq=False)
class Broker:
    """A destination. It keeps what it has got, whatever the sink hears of it.

    :ivar received: how often it has got each record, by VIN and txid.
    """

    name: str
    behaviour: Behaviour = HEALTHY
    received: dict[tuple[str, bytes], int] = Factory(dict)

    def receive(self, record: Record) -> None:
        """Keep a record."""
        key = record.vin, record.txid
        self.received[key] = self.received.get(key, 0) + 1


@define(eq=False)
class _Dispatch:
    """A batch without an answer yet."""

    batch: Sequence[Record]
    outcomes: list[Outcome]
    arriving: list[Record]  # with the answer; the others have arrived
    answer: Deferred[Sequence[Outcome]] = Factory(Deferred)
    due: IDelayedCall | None = None


@implementer(IDispatcher)
class SimulatedSink:
    """The sink of one process for a broker; it breaks the port's contract when its behaviour says so."""

    def __init__(self, broker: Broker, clock: IReactorTime, random: Random, oracle: Oracle) -> None:
        self.name = broker.name
        self._broker = broker
        self._clock = clock
        self._random = random
        self._oracle = oracle
        self._open: list[_Dispatch] = []
        self._has_stopped = False
        self.to_retry: dict[OrderingKey, set[int]] = {}  # arrival numbers of records that the lane is to retry
        self.highest: dict[OrderingKey, int] = {}

    def start(self) -> Deferred[None]:
        """See ``IDispatcher``."""
        return succeed(None)

    def readiness(self) -> Readiness:
        """See ``IDispatcher``."""
        return NotReady("down") if self._broker.behaviour.is_down else Ready()

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """See ``IDispatcher``."""
        self._oracle.dispatched(self, batch)
        random, behaviour = self._random, self._broker.behaviour
        if self._has_stopped:
            return succeed([NotConnected("stopped")] * len(batch))
        fault = next((fault for fault, chance in behaviour.batch_faults if random.random() < chance), "")
        if fault == "raises":
            self._note_outcomes(batch, [Retryable("raised")] * len(batch))
            raise RuntimeError("dispatch raises")
        dispatch = _Dispatch(batch, [], [])
        for record in batch:
            outcome, arrives = self._outcome(record, fault)
            dispatch.outcomes.append(outcome)
            if not arrives:
                continue
            if random.random() < 0.5:
                self._broker.receive(record)
            else:
                dispatch.arriving.append(record)
        self._open.append(dispatch)
        delay_s = DELIVERY_TIMEOUT_S if fault == "hangs" else random.random() * behaviour.delay_s
        if delay_s:
            dispatch.due = self._clock.callLater(delay_s, self._answer, dispatch, fault)
        else:
            self._answer(dispatch, fault)
        return dispatch.answer

    def _outcome(self, record: Record, batch_fault: str) -> tuple[Outcome, bool]:
        """The outcome of a record, and whether the broker gets it."""
        random, behaviour = self._random, self._broker.behaviour
        if batch_fault == "not_connected":
            return NotConnected("down"), False
        if batch_fault:
            return Retryable(batch_fault), random.random() < 0.5
        if record.record_type in behaviour.refused_types:
            return Retryable("no such topic"), False
        match next((fault for fault, chance in behaviour.record_faults if random.random() < chance), ""):
            case "retryable":
                return Retryable("throttled"), False
            case "duplicate":
                return Retryable("confirmed, and then failed"), True
            case "rejected":
                return Rejected("too large"), False
            case "unheard":
                return Unheard("no subscriber"), False
        return RECEIPT, True

    def _answer(self, dispatch: _Dispatch, fault: str = "") -> None:
        self._open.remove(dispatch)
        for record in dispatch.arriving:
            self._broker.receive(record)
        self._note_outcomes(dispatch.batch, dispatch.outcomes)
        match fault:
            case "fails":
                dispatch.answer.errback(RuntimeError("the Deferred fails"))
            case "malformed":
                count = len(dispatch.batch)
                answer: object = self._random.choice([None, [], [None] * count, [RECEIPT] * (count + 1)])
                dispatch.answer.callback(answer)  # type: ignore[arg-type]  # the contract is broken on purpose
            case _:
                dispatch.answer.callback(dispatch.outcomes)

    def _note_outcomes(self, batch: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        for record, outcome in zip(batch, outcomes, strict=True):
            self._oracle.answered(self.name, record, outcome)
            if isinstance(outcome, DeliveryError) and not isinstance(outcome, Rejected):
                self.to_retry.setdefault(ordering_key(record), set()).add(record.received_at_ms)

    def stop(self) -> Deferred[None]:
        """See ``IDispatcher``. Settles what is in flight."""
        self._has_stopped = True
        for dispatch in [*self._open]:
            if dispatch.due is not None:
                dispatch.due.cancel()
            self._answer(dispatch)
        return succeed(None)

    def die(self) -> None:
        """The process ends: records on their way may still arrive."""
        for dispatch in self._open:
            for record in dispatch.arriving:
                if self._random.random() < 0.5:
                    self._broker.receive(record)
        self._open.clear()
