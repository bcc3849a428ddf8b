"""The oracle: what a history must never show, and what must hold at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, define, frozen

from fleetgw.domain.acks import Accepted, holds
from fleetgw.domain.errors import Unheard
from fleetgw.domain.ports import Receipt
from fleetgw.domain.records import ordering_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record
    from fleetgw.domain.routing import Route
    from tests.simulation.brokers import Broker, SimulatedSink

Key = tuple[str, bytes]
"""VIN and txid: the record as its vehicle knows it. A copy that arrives has a number of its own (``received_at_ms``)."""


class Violation(AssertionError):
    """The gateway has broken a promise. Its code may catch it; so the oracle keeps the first one (``check``)."""


@frozen
class Issued:
    """A record that a vehicle has made."""

    record_type: str
    payload: bytes


@define(eq=False)
class Oracle:
    """Follows one history.

    :ivar routes: those that hold now, by record type.
    :ivar note: adds a line to the trace.
    :ivar issued: every record made.
    :ivar lost_processes: numbers of the processes that crashed.
    """

    routes: Mapping[str, Route]
    note: Callable[[str], None]
    issued: dict[Key, Issued] = Factory(dict)
    process: int = 0
    lost_processes: set[int] = Factory(set)
    _arrived: dict[int, Route] = Factory(dict)
    _receipts: dict[int, set[str]] = Factory(dict)  # by arrival; those of stored dead letters as well
    _acked_arrivals: set[int] = Factory(set)
    _acked: dict[Key, list[tuple[Route, int]]] = Factory(dict)  # with the processes that acknowledged
    _synced: set[int] = Factory(set)  # arrivals
    _spooled: dict[Key, list[Route]] = Factory(dict)
    _letters: dict[Key, set[str]] = Factory(dict)  # stored
    _given_up: dict[Key, set[str]] = Factory(dict)  # logged, or without a subscriber
    _first: Violation | None = None

    def violated(self, text: str) -> Violation:
        """Make the error for a promise that was broken."""
        violation = Violation(text)
        self._first = self._first or violation
        return violation

    def check(self) -> None:
        """Raise the first violation, wherever it was raised before."""
        if self._first is not None:
            raise self._first

    # Events of the history

    def arrived(self, arrival: int, record_type: str) -> None:
        """A record is read: its route is the one that holds now."""
        route = self.routes.get(record_type)
        if route is not None:
            self._arrived[arrival] = route

    def dispatched(self, sink: SimulatedSink, batch: Sequence[Record]) -> None:
        """A lane hands a batch to its sink: every record is as it was sent, and in order."""
        self.note(f"{sink.name} gets {[record.received_at_ms for record in batch]}")
        if not batch:
            raise self.violated(f"{sink.name}: an empty batch")
        for record in batch:
            self._check_content(sink.name, record)
            key, arrival = ordering_key(record), record.received_at_ms
            to_retry = sink.to_retry.setdefault(key, set())
            if arrival in to_retry:
                to_retry.remove(arrival)
            elif arrival <= sink.highest.get(key, 0):
                raise self.violated(f"{sink.name}: arrival {arrival} of {key} after {sink.highest[key]}")
            else:
                sink.highest[key] = arrival
            if earlier := [each for each in to_retry if each < arrival]:
                raise self.violated(f"{sink.name}: arrival {arrival} of {key} while {earlier} are to be retried")

    def _check_content(self, name: str, record: Record) -> None:
        if record.record_type == "connectivity":
            return
        issued = self.issued.get((record.vin, record.txid))
        if issued is None or issued.payload != record.payload or issued.record_type != record.record_type:
            raise self.violated(f"{name} gets {record}, issued was {issued}")
        if name not in self._arrived[record.received_at_ms].sinks:
            raise self.violated(f"{name} gets a record of type {record.record_type}")

    def answered(self, name: str, record: Record, outcome: Outcome) -> None:
        """A sink answers."""
        self.note(f"{name} answers {record.received_at_ms}: {outcome!r}")
        if isinstance(outcome, Receipt):
            self._receipts.setdefault(record.received_at_ms, set()).add(name)
        elif isinstance(outcome, Unheard):
            self.dead_letter(name, record.vin, record.txid)

    def dead_letter(self, name: str, vin: str, txid: bytes) -> None:
        """A dead letter is logged with its payload."""
        self._given_up.setdefault((vin, txid), set()).add(name)

    def letter_stored(self, name: str, record: Record) -> None:
        """A dead letter is stored: it counts as a receipt."""
        self.note(f"the dead letter {record.received_at_ms} of {name} is stored")
        self._receipts.setdefault(record.received_at_ms, set()).add(name)
        self._letters.setdefault((record.vin, record.txid), set()).add(name)

    def synced(self, records: Sequence[Record]) -> None:
        """The spool reports records as synced."""
        self.note(f"arrivals {[record.received_at_ms for record in records]} are synced")
        for record in records:
            self._synced.add(record.received_at_ms)
            self._spooled.setdefault((record.vin, record.txid), []).append(self._arrived[record.received_at_ms])

    def acknowledged(self, record: Record) -> None:
        """A record is acknowledged on its own connection: once, and when its policy allows it."""
        arrival = record.received_at_ms
        if arrival in self._acked_arrivals:
            raise self.violated(f"arrival {arrival} is acknowledged twice")
        self._acked_arrivals.add(arrival)
        self.note(f"arrival {arrival} is acknowledged")
        route = self._arrived.get(arrival)
        if route is None:
            return
        self._acked.setdefault((record.vin, record.txid), []).append((route, self.process))
        receipts, is_spooled = self._receipts.get(arrival, set()), arrival in self._synced
        if not _holds(route, receipts, is_spooled=is_spooled):
            raise self.violated(f"arrival {arrival} is acknowledged with {sorted(receipts)}, {is_spooled=}, under {route}")

    # The end

    def check_delivered(self, brokers: Iterable[Broker]) -> None:
        """Every acknowledged record is where its policy says: called when no record is held any more."""
        received = {broker.name: broker.received for broker in brokers}
        for key in self.issued:
            kept = {name for name, records in received.items() if key in records} | self._letters.get(key, set())
            settled = kept | self._given_up.get(key, set())
            for route in self._spooled.get(key, ()):
                if missing := {*route.sinks} - settled:
                    raise self.violated(f"{key} was spooled, and {sorted(missing)} never got it")
            for route, process in self._acked.get(key, ()):
                missing = {*route.sinks} - settled
                if isinstance(route.ack_policy, Accepted) and missing and process not in self.lost_processes:
                    raise self.violated(f"{key} was accepted, and {sorted(missing)} never got it")
                if not _holds(route, kept, is_spooled=key in self._spooled):
                    raise self.violated(f"{key} was acknowledged; only {sorted(kept)} have it; its route was {route}")


def _holds(route: Route, kept: AbstractSet[str], *, is_spooled: bool) -> bool:
    """Whether the ack policy of a route holds."""
    return isinstance(route.ack_policy, Accepted) or holds(route.ack_policy, kept, is_spooled=is_spooled)
