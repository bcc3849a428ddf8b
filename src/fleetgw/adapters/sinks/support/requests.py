"""Requests of many records each: batching, retries with backoff, bisection of rejected batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from fleetgw.adapters.sinks.support.request_errors import BatchRejected, Busy
from fleetgw.adapters.sinks.support.vehicle_queues import Entry, VehicleQueues
from fleetgw.domain.batch_estimate import BatchEstimate
from fleetgw.domain.errors import Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.adapters.sinks.support.failure_log import FailureLog
    from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits
    from fleetgw.domain.records import Record

    TakeOutcomes: TypeAlias = Callable[[Sequence[Outcome]], None]

LINGER_S = 0.005
"""Longest wait of a request, in seconds, for as many records as were just confirmed: their vehicles send the next ones."""

BACKOFF_INITIAL_S = 0.05
BACKOFF_MAX_S = 2.0


class _DestinationRequests:
    """The requests to one destination.

    :ivar in_flight: number of requests in flight.
    :ivar linger: the timer of the next request; None where none may leave.
    :ivar estimate: of the number of records that the next request lingers for.
    """

    def __init__(self, name: str, limits: RequestLimits) -> None:
        self.name = name
        self.queues = VehicleQueues(limits)
        self.in_flight = 0
        self.linger: IDelayedCall | None = None
        self.estimate = BatchEstimate()


class Requests:
    """Makes requests of the records of dispatches, and settles the records with the outcomes of requests.

    A request leaves at the next turn of the reactor when none is in flight to its destination, or at once when it is full.
    Records that come while one is in flight leave together, once it is answered and its vehicles have sent as many again:
    the slower the service, the larger the requests.
    A vehicle has one request in flight at a time, so that its records stay in order. A record that the destination was too
    busy for goes before later ones of its vehicle. Where a request holds records of one vehicle only, requests of several
    vehicles are in flight together.

    :param destinations: destination by record type.
    :param send: sends records to a destination in one request, in order. Its third argument must be called once, on the
        reactor's thread and after ``send`` has returned, with one outcome per record.
    :param finish: called with each dispatch whose last record was settled.
    """

    def __init__(
        self,
        clock: IReactorTime,
        destinations: Mapping[str, str],
        limits: RequestLimits,
        *,
        send: Callable[[str, Sequence[Record], TakeOutcomes], None],
        finish: Callable[[Dispatch], None],
        failures: FailureLog,
        random: Random,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._send_request = send
        self._finish = finish
        self._failures = failures
        self._random = random
        self._by_name: dict[str, _DestinationRequests] = {}
        self._destinations: dict[str, _DestinationRequests] = {}
        self.add_destinations(destinations)
        self._backoffs: set[IDelayedCall] = set()
        self._sends = False

    def add_destinations(self, destinations: Mapping[str, str]) -> None:
        """Take records of these types, too.

        :param destinations: destination by record type.
        """
        for record_type, name in destinations.items():
            destination = self._by_name.setdefault(name, _DestinationRequests(name, self._limits))
            self._destinations[record_type] = destination

    def begin(self) -> None:
        """Send waiting records from now on. May be called again."""
        if not self._sends:
            self._sends = True
            for destination in {*self._destinations.values()}:
                self._send_due(destination)

    def add(self, dispatch: Dispatch) -> None:
        """Queue the records of a dispatch. Before ``begin`` they wait."""
        touched: dict[_DestinationRequests, None] = {}
        batch_limit = self._limits.records
        largest = self._limits.payload_bytes
        for index, record in enumerate(dispatch.batch):
            if len(record.payload) > largest:
                reason = f"a record of {len(record.payload)} bytes; {largest} is the most that is taken"
                if dispatch.settle(index, Rejected(reason)):
                    self._finish(dispatch)
                continue
            destination = self._destinations[record.record_type]
            destination.queues.add(Entry(dispatch, index, record, batch_limit))
            touched[destination] = None
        for destination in touched:
            self._send_due(destination)

    def drop(self, dispatch: Dispatch) -> None:
        """Send no further record of a dispatch."""
        for destination in {*self._destinations.values()}:
            destination.queues.drop(dispatch)

    def stop(self) -> None:
        """Send nothing any more."""
        self._sends = False
        for backoff in self._backoffs:
            backoff.cancel()
        self._backoffs.clear()
        for destination in self._destinations.values():
            if destination.linger is not None:
                destination.linger.cancel()
                destination.linger = None

    def _send_due(self, destination: _DestinationRequests) -> None:
        """Send full requests, as far as there is room, and have the rest linger."""
        if not self._sends:
            return
        while destination.queues.fills_request and destination.in_flight < self._limits.requests:
            self._send(destination)
        if not self._may_send(destination):
            return
        enough = destination.queues.free_records >= destination.estimate.records
        if destination.linger is None:
            destination.linger = self._clock.callLater(0 if enough else LINGER_S, self._flush, destination)
        elif enough:
            destination.linger.reset(0)

    def _flush(self, destination: _DestinationRequests) -> None:
        destination.linger = None
        while self._may_send(destination):
            self._send(destination)

    def _may_send(self, destination: _DestinationRequests) -> bool:
        """Whether records and room are there for a request that is not full."""
        room = self._limits.requests if self._limits.one_vehicle else 1
        return destination.queues.has_free and destination.in_flight < room

    def _send(self, destination: _DestinationRequests) -> None:
        entries = destination.queues.take()
        destination.in_flight += 1
        destination.estimate.reset()

        def done(outcomes: Sequence[Outcome]) -> None:
            self._take_outcomes(destination, entries, outcomes)

        self._send_request(destination.name, [entry.record for entry in entries], done)

    def _take_outcomes(self, destination: _DestinationRequests, entries: list[Entry], outcomes: Sequence[Outcome]) -> None:
        destination.in_flight -= 1
        settled: list[Dispatch] = []
        again: list[Entry] = []
        confirmed = 0
        for entry, outcome in zip(entries, outcomes, strict=True):
            dispatch = entry.dispatch
            if not dispatch.unsettled:
                continue  # timed out, or given up
            if outcome is RECEIPT:
                confirmed += 1
            elif self._goes_again(entry, outcome, len(entries)):
                again.append(entry)
                continue
            else:
                outcome = _final(outcome)
            if dispatch.settle(entry.index, outcome):
                settled.append(dispatch)
        self._put_back(destination, entries, again)
        destination.estimate.confirmed(confirmed, destination.queues.free_records)
        self._send_due(destination)
        for dispatch in settled:
            self._finish(dispatch)

    def _goes_again(self, entry: Entry, outcome: Outcome, batch_records: int) -> bool:
        if isinstance(outcome, BatchRejected) and batch_records > 1:
            entry.batch_limit = batch_records // 2
            return True
        if isinstance(outcome, Busy) and entry.attempts < self._limits.retries:
            entry.attempts += 1
            self._failures.add("busy", str(outcome))
            return True
        return False

    def _put_back(self, destination: _DestinationRequests, entries: list[Entry], again: list[Entry]) -> None:
        """Queue the records of a request that go again, and free its vehicles: throttled ones after a backoff."""
        destination.queues.put_back(again)
        throttled = {entry.record.vehicle.vin: None for entry in again if entry.attempts}
        destination.queues.free({entry.record.vehicle.vin for entry in entries} - throttled.keys())
        if not throttled:
            return
        attempts = max(entry.attempts for entry in again)
        pause_s: float = min(BACKOFF_MAX_S, BACKOFF_INITIAL_S * 2 ** (attempts - 1)) * self._random.uniform(0.5, 1)

        def go_on() -> None:
            self._backoffs.discard(backoff)
            destination.queues.free(throttled)
            self._send_due(destination)

        backoff = self._clock.callLater(pause_s, go_on)
        self._backoffs.add(backoff)


def _final(outcome: Outcome) -> Outcome:
    """The outcome as the domain knows it."""
    match outcome:
        case BatchRejected():
            return Rejected(str(outcome))
        case Busy():
            return Retryable(str(outcome))
        case _:
            return outcome
