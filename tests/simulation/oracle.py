"""The oracle: what a history must never show, and what must hold at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, define, frozen

from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.acks import Accepted, AckPolicy, holds
from fleetgw.domain.errors import Unheard
from fleetgw.domain.ports import Receipt
from fleetgw.domain.records import ordering_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record
    from tests.simulation.brokers import Broker, SimulatedSink
    from tests.simulation.setup import Setup

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

    :ivar note: adds a line to the trace.
    :ivar issued: every record made.
    :ivar lost_processes: numbers of the processes that crashed.
    """

    setup: Setup
    note: Callable[[str], None]
    issued: dict[Key, Issued] = Factory(dict)
    process: int = 0
    lost_processes: set[int] = Factory(set)
    _policies: dict[str, AckPolicy] = Factory(dict)
    _receipts: dict[int, set[str]] = Factory(dict)  # by arrival
    _acked_arrivals: set[int] = Factory(set)
    _acked: dict[Key, set[int]] = Factory(dict)  # the processes that acknowledged a record
    _first: Violation | None = None
    _given_up: dict[str, set[Key]] = Factory(dict)  # by sink: dead letters, and records without a subscriber

    def __attrs_post_init__(self) -> None:
        records = self.setup.records
        self._policies = {each: read_policy(text, records[each]) for each, text in self.setup.policies.items()}

    def violated(self, text: str) -> Violation:
        """Make the error for a promise that was broken."""
        violation = Violation(text)
        self._first = self._first or violation
        return violation

    def check(self) -> None:
        """Raise the first violation, wherever it was raised before."""
        if self._first is not None:
            raise self._first

    # What happens

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
        if name not in self.setup.records[record.record_type]:
            raise self.violated(f"{name} gets a record of type {record.record_type}")

    def answered(self, name: str, record: Record, outcome: Outcome) -> None:
        """A sink answers."""
        self.note(f"{name} answers {record.received_at_ms}: {outcome!r}")
        if isinstance(outcome, Receipt):
            self._receipts.setdefault(record.received_at_ms, set()).add(name)
        elif isinstance(outcome, Unheard):
            self._given_up.setdefault(name, set()).add((record.vin, record.txid))

    def dead_letter(self, name: str, vin: str, txid: bytes) -> None:
        """A dead letter is logged with its payload."""
        self._given_up.setdefault(name, set()).add((vin, txid))

    def acknowledged(self, record: Record) -> None:
        """A record is acknowledged on its own connection: once, and when its policy allows it."""
        arrival, record_type = record.received_at_ms, record.record_type
        if arrival in self._acked_arrivals:
            raise self.violated(f"arrival {arrival} is acknowledged twice")
        self._acked_arrivals.add(arrival)
        self.note(f"arrival {arrival} is acknowledged")
        policy = self._policies.get(record_type)
        if policy is None:
            return
        self._acked.setdefault((record.vin, record.txid), set()).add(self.process)
        receipts = self._receipts.get(arrival, set())
        if not isinstance(policy, Accepted) and not holds(policy, receipts):
            raise self.violated(f"arrival {arrival} is acknowledged with receipts of {sorted(receipts)} under {policy}")

    # The end

    def check_delivered(self, brokers: Iterable[Broker]) -> None:
        """Every acknowledged record is where its policy says: called when no record is held any more."""
        received = {broker.name: broker.received for broker in brokers}
        for key, processes in self._acked.items():
            record_type = self.issued[key].record_type
            policy = self._policies[record_type]
            has_it = {name for name, records in received.items() if key in records}
            if isinstance(policy, Accepted):
                settled = has_it | {name for name, given_up in self._given_up.items() if key in given_up}
                missing = [name for name in self.setup.records[record_type] if name not in settled]
                if missing and not processes <= self.lost_processes:
                    raise self.violated(f"{key} was accepted, and {missing} never got it")
            elif not holds(policy, has_it):
                raise self.violated(f"{key} was acknowledged; only {sorted(has_it)} have it; the policy is {policy}")
