"""Delivery by requests that hold many records each: what waits, what is under way, what is sent again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred, succeed

from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.adapters.sinks.support.vehicle_queues import Entry, VehicleQueues
from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.expectation import Expectation
from fleetgw.domain.ports import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.adapters.sinks.support.failure_log import FailureLog
    from fleetgw.adapters.sinks.support.numbers import PublishNumbers
    from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

GATHER_S = 0.005
"""How long at most a request waits for as many records as were confirmed: their vehicles send their next ones then."""

PAUSE_INITIAL_S = 0.05
PAUSE_MAX_S = 2.0


class Busy(Retryable):
    """The destination takes no more just now: the record is sent again after a pause, as often as the sink may."""


class BatchRejected(Rejected):
    """The destination rejects a request for one of its records. Bisect the batch to isolate the bad record."""


class Courier(Protocol):
    """Takes one request to a destination."""

    def send(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """Send records in one request, in order.

        :param done: to be called once, on the reactor's thread and not before ``send`` has returned, with one outcome per
            record. Not calling it holds up the records' vehicles.
        """


class _Destination:
    """One destination's records.

    :ivar requests: how many are under way to it.
    :ivar gathering: when what waits leaves, None when nothing may.
    :ivar expectation: how many records its next request is worth waiting for.
    """

    def __init__(self, name: str, limits: RequestLimits) -> None:
        self.name = name
        self.queues = VehicleQueues(limits)
        self.requests = 0
        self.gathering: IDelayedCall | None = None
        self.expectation = Expectation()


class Requests:
    """Takes batches apart into requests and puts outcomes together again.

    A request leaves at the next turn of the reactor when none is under way to its destination, or at once when it is full.
    What comes meanwhile leaves together once that one is back and its vehicles have sent as many again: the slower the
    service, the fuller the requests.
    A vehicle has one request under way at a time, so that its records stay in order. What the destination was too busy for
    goes before what came later. Where a request holds one vehicle's records only, requests of several vehicles are under way
    together.

    :param destinations: destination by record type.
    """

    def __init__(
        self,
        clock: IReactorTime,
        courier: Courier,
        destinations: Mapping[str, str],
        limits: RequestLimits,
        *,
        numbers: PublishNumbers,
        failures: FailureLog,
        random: Random,
    ) -> None:
        self._clock = clock
        self._courier = courier
        self._limits = limits
        self._numbers = numbers
        self._failures = failures
        self._random = random
        names = dict.fromkeys(destinations.values())
        by_name = {name: _Destination(name, limits) for name in names}
        self._destinations = {record_type: by_name[name] for record_type, name in destinations.items()}
        self._confirmed_at_s = -math.inf
        self._open: dict[Dispatch, tuple[IDelayedCall, list[Entry]]] = {}
        self._pauses: set[IDelayedCall] = set()
        self._idle: Deferred[None] | None = None
        self._begun = False

    def begin(self) -> None:
        """The courier can work: send what waits. May be called again."""
        if not self._begun:
            self._begun = True
            for destination in {*self._destinations.values()}:
                self._pump(destination)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """See ``IDispatcher.dispatch``. Before ``begin`` records wait."""
        under_way = Dispatch(batch)
        entries: list[Entry] = []
        touched: dict[_Destination, None] = {}
        company = self._limits.records
        largest = self._limits.payload_bytes
        for index, record in enumerate(batch):
            destination = self._destinations.get(record.record_type)
            if destination is None:
                what = f"{record.record_type[:64]!r} is not routed to this sink"
                self._fail(under_way, index, record, Rejected(what))
            elif len(record.payload) > largest:
                what = f"a record of {len(record.payload)} bytes; {largest} is the most that is taken"
                self._fail(under_way, index, record, Rejected(what))
            else:
                entry = Entry(under_way, index, record, company)
                entries.append(entry)
                destination.queues.add(entry)
                touched[destination] = None
        if not entries:
            return succeed(under_way.outcomes())
        self._open[under_way] = (self._clock.callLater(self._limits.timeout_s, self._expire, under_way), entries)
        for destination in touched:
            self._pump(destination)
        return under_way.answer

    def settled(self) -> Deferred[None]:
        """Fires once nothing is under way. Nothing may be dispatched any more. Not to be cancelled."""
        if not self._open:
            self._let_go()
            return succeed(None)
        self._idle = Deferred()
        return self._idle

    def give_up(self, outcome: Retryable) -> None:
        """Settle everything that is under way at once."""
        for under_way in list(self._open):
            timer, entries = self._open[under_way]
            timer.cancel()
            self._abandon(under_way, entries, outcome)

    def _pump(self, destination: _Destination) -> None:
        """Send what fills requests now, and the rest once it is as much as is to be expected, as far as there is room."""
        if not self._begun:
            return
        while destination.queues.fills_request and destination.requests < self._limits.requests:
            self._send(destination)
        if not self._may_send(destination):
            return
        enough = destination.queues.free_records >= destination.expectation.records
        if destination.gathering is None:
            destination.gathering = self._clock.callLater(0 if enough else GATHER_S, self._gathered, destination)
        elif enough:
            destination.gathering.reset(0)

    def _gathered(self, destination: _Destination) -> None:
        destination.gathering = None
        while self._may_send(destination):
            self._send(destination)

    def _may_send(self, destination: _Destination) -> bool:
        """Whether a request that is not full can be made, and has room."""
        room = self._limits.requests if self._limits.one_vehicle else 1
        return destination.queues.has_free and destination.requests < room

    def _send(self, destination: _Destination) -> None:
        entries = destination.queues.take()
        destination.requests += 1
        destination.expectation.left()

        def done(outcomes: Sequence[Outcome]) -> None:
            self._take_outcomes(destination, entries, outcomes)

        self._courier.send(destination.name, [entry.record for entry in entries], done)

    def _take_outcomes(self, destination: _Destination, entries: list[Entry], outcomes: Sequence[Outcome]) -> None:
        destination.requests -= 1
        finished: list[Dispatch] = []
        published: dict[str, list[int]] = {}
        again: list[Entry] = []
        for entry, outcome in zip(entries, outcomes, strict=True):
            batch = entry.batch
            if batch not in self._open or batch.is_settled(entry.index):
                continue  # given up
            if outcome is RECEIPT:
                record = entry.record
                published.setdefault(record.record_type, []).append(len(record.payload))
            elif self._goes_again(entry, outcome, len(entries)):
                again.append(entry)
                continue
            else:
                outcome = _final(outcome)
                self._count_failure(entry.record, outcome)
            if batch.settle(entry.index, outcome):
                finished.append(batch)
        if published:
            self._confirmed_at_s = self._clock.seconds()
        for record_type, sizes in published.items():
            self._numbers.published(record_type, len(sizes), sum(sizes))
        self._rest(destination, entries, again)
        destination.expectation.confirmed(sum(map(len, published.values())), destination.queues.free_records)
        self._pump(destination)
        for batch in finished:
            self._finish(batch)

    def _goes_again(self, entry: Entry, outcome: Outcome, company: int) -> bool:
        if isinstance(outcome, BatchRejected) and company > 1:
            entry.company = company // 2
            return True
        if isinstance(outcome, Busy) and entry.attempts < self._limits.retries:
            entry.attempts += 1
            self._failures.add("busy", str(outcome))
            return True
        return False

    def _rest(self, destination: _Destination, entries: list[Entry], again: list[Entry]) -> None:
        """Free a request's vehicles: those with records that the destination was too busy for after a pause."""
        destination.queues.put_back(again)
        resting = {entry.record.vehicle.vin: None for entry in again if entry.attempts}
        destination.queues.free({entry.record.vehicle.vin for entry in entries} - resting.keys())
        if not resting:
            return
        attempts = max(entry.attempts for entry in again)
        pause_s: float = min(PAUSE_MAX_S, PAUSE_INITIAL_S * 2 ** (attempts - 1)) * self._random.uniform(0.5, 1)

        def rested() -> None:
            self._pauses.discard(pause)
            destination.queues.free(resting)
            self._pump(destination)

        pause = self._clock.callLater(pause_s, rested)
        self._pauses.add(pause)

    def _expire(self, under_way: Dispatch) -> None:
        _, entries = self._open[under_way]
        timeout_s = self._limits.timeout_s
        outcome: Retryable = NotConnected(f"no answer within {timeout_s:g} s")
        if self._confirmed_at_s > self._clock.seconds() - timeout_s / 2:  # it is this one that does not pass
            outcome = Retryable(f"no answer within {timeout_s:g} s, while others were confirmed")
        self._abandon(under_way, entries, outcome)

    def _abandon(self, under_way: Dispatch, entries: list[Entry], outcome: Retryable) -> None:
        for entry in entries:
            if not under_way.is_settled(entry.index):
                self._destinations[entry.record.record_type].queues.forget(entry)
                self._fail(under_way, entry.index, entry.record, outcome)
        self._close(under_way)

    def _finish(self, under_way: Dispatch) -> None:
        self._open[under_way][0].cancel()
        self._close(under_way)

    def _close(self, under_way: Dispatch) -> None:
        del self._open[under_way]
        under_way.answer_now()
        if self._idle is not None and not self._open and not self._idle.called:
            self._let_go()
            self._idle.callback(None)

    def _let_go(self) -> None:
        for pause in self._pauses:
            pause.cancel()
        self._pauses.clear()
        for destination in self._destinations.values():
            if destination.gathering is not None:
                destination.gathering.cancel()
                destination.gathering = None

    def _fail(self, under_way: Dispatch, index: int, record: Record, outcome: Retryable | Rejected) -> None:
        self._count_failure(record, outcome)
        under_way.settle(index, outcome)

    def _count_failure(self, record: Record, outcome: Outcome) -> None:
        self._numbers.failed(record.record_type)
        self._failures.add(type(outcome).__name__, str(outcome), record_type=record.record_type)


def _final(outcome: Outcome) -> Outcome:
    """What the caller gets to know of it."""
    match outcome:
        case BatchRejected():
            return Rejected(str(outcome))
        case Busy():
            return Retryable(str(outcome))
        case _:
            return outcome
