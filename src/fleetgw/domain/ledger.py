"""The ledger: accounts of every record since the start of the process, and the equations that they satisfy.

For each record type, towards the vehicles::

    received = acked + duplicates + unacked + awaiting

For each record type and sink, in the sink's queue (``refused`` and ``retried`` stand beside it)::

    taken = delivered + dead letters + unheard + given up + held

For each record type and sink, in the spool, of records that were stored since the start::

    left = read + skipped + spooled

For each sink, over all record types::

    sum of held = the records that the queue counts by itself
    sum of spooled <= the positions of the spool that the queue has not read

Each term is counted by itself, at the place where it happens; none is computed from the others. The equations hold
between any two turns of the reactor.

Counters begin at 0 with the process. The spool's backlog at that time is the opening balance: its records enter the books
as they are read (``replayed``, a part of ``taken``), because counting them at the start would mean to read them all. So
the books of a process balance by themselves, also after ``kill -9``: records that were held then were either acknowledged
on the strength of the spool, and are replayed, or are sent again by their vehicles. Records under the policy ``accepted``
that are not spooled are lost with the process, and only its last scrape (``held``) tells their number.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from attrs import Factory, define, field, frozen

from fleetgw.domain.errors import SpoolFull, StorageError
from fleetgw.domain.metrics import (
    LANE_HELD_RECORDS,
    LANE_UNREAD_POSITIONS,
    LEDGER_ACKED_TOTAL,
    LEDGER_AWAITING_RECORDS,
    LEDGER_DEAD_LETTERS_TOTAL,
    LEDGER_DELIVERED_TOTAL,
    LEDGER_DUPLICATES_TOTAL,
    LEDGER_GIVEN_UP_TOTAL,
    LEDGER_HELD_RECORDS,
    LEDGER_LEFT_TOTAL,
    LEDGER_READ_TOTAL,
    LEDGER_REFUSED_TOTAL,
    LEDGER_REPLAYED_TOTAL,
    LEDGER_RETRIED_TOTAL,
    LEDGER_SKIPPED_TOTAL,
    LEDGER_SPOOLED_RECORDS,
    LEDGER_TAKEN_TOTAL,
    LEDGER_UNACKED_TOTAL,
    LEDGER_UNHEARD_TOTAL,
    LOST_RECORDS_TOTAL,
    RECORD_TOTAL,
    Metric,
)


class Unacked(StrEnum):
    """The reason for which a record that was received is never acknowledged; its vehicle sends it again.

    ``FULL``: a queue, or the spool, had no room. ``NOT_STORED``: the spool could not sync it. ``UNCONFIRMED``: sinks
    rejected it, had no subscriber for it or stopped, so that its ack policy can no longer hold. ``DISCONNECTED``: its
    vehicle was gone when it could have been acknowledged, or before it found room.
    """

    FULL = "full"
    NOT_STORED = "not_stored"
    UNCONFIRMED = "unconfirmed"
    DISCONNECTED = "disconnected"


def not_stored(failure: StorageError) -> Unacked:
    """The reason for which a record that waits for the spool is never acknowledged."""
    return Unacked.FULL if isinstance(failure, SpoolFull) else Unacked.NOT_STORED


class Kept(StrEnum):
    """The place of a dead letter: the ``STORE`` on disk, the ``LOG``, or the ``VEHICLE``, which sends the record again."""

    STORE = "store"
    LOG = "log"
    VEHICLE = "vehicle"


class Loss(StrEnum):
    """The reason for which an acknowledged record is lost.

    ``STOPPED``: a queue held it when the gateway stopped, and no disk had it; the log has it. ``SPOOL_LIMIT``: the
    spool removed it for its size or age. ``DAMAGED``: it could not be read from the disk as it was written.
    """

    STOPPED = "stopped"
    SPOOL_LIMIT = "spool_limit"
    DAMAGED = "damaged"


class Sample(NamedTuple):
    """The value of one time series."""

    name: str
    labels: Mapping[str, str]
    value: float


@define
class TypeAccounts:
    """The accounts of one record type towards the vehicles, in records.

    :ivar received: read and decoded; without messages that make no record, and those above the rate limit.
    :ivar acked: acknowledged, as their ack policy says; those of types without a route as well.
    :ivar duplicates: acknowledged again without being handed on, as the same record was taken before.
    :ivar unacked: never acknowledged, by the reason, see ``Unacked``.
    :ivar awaiting: not acknowledged yet: they wait for room, for a sync of the spool, for the confirmations of sinks.
    """

    record_type: str
    received: int = 0
    acked: int = 0
    duplicates: int = 0
    unacked: Counter[str] = field(factory=Counter)
    awaiting: int = 0


@define
class SinkAccounts:
    """The accounts of one record type at one sink, in records.

    :ivar taken: taken by the queue, from vehicles, from the gateway (connectivity records) and from the spool.
    :ivar refused: not taken, as the queue was full. Beside the equations: a vehicle sends them again.
    :ivar delivered: confirmed by the sink, as strongly as it can.
    :ivar dead_letters: refused by the sink for good, by the place of the last copy, see ``Kept``.
    :ivar unheard: the destination stores no records, and had no subscriber.
    :ivar given_up: still held when the gateway stopped; they are in the spool, with the vehicle, or lost.
    :ivar retried: outcomes after which the record was tried again. Beside the equations: a record may have many.
    :ivar held: waiting, in flight, in the retry queue, or waiting for their dead letter to be stored.
    :ivar replayed: taken from the spool, stored before the start; the part of ``taken`` that is the opening balance.
    :ivar left: stored in the spool since the start, while the queue did not take them.
    :ivar read: those of ``left`` that the queue took from the spool later.
    :ivar skipped: those of ``left`` that the spool does not have any more: not stored in the end, dropped or damaged.
    :ivar spooled: those of ``left`` that wait in the spool.
    :ivar lost: acknowledged, and neither delivered nor kept, by the reason, see ``Loss``.
    """

    record_type: str
    sink: str
    taken: int = 0
    refused: int = 0
    delivered: int = 0
    dead_letters: Counter[str] = field(factory=Counter)
    unheard: int = 0
    given_up: int = 0
    retried: int = 0
    held: int = 0
    replayed: int = 0
    left: int = 0
    read: int = 0
    skipped: int = 0
    spooled: int = 0
    lost: Counter[str] = field(factory=Counter)


@define
class QueueFigures:
    """The figures of one sink's queue, counted without regard to record types.

    :ivar held: records held.
    :ivar unread: positions of the spool between the queue's next one and the end; other types' records count as well.
    """

    held: int = 0
    unread: int = 0


@frozen
class Ledger:
    """The accounts at one moment.

    :ivar types: by record type.
    :ivar sinks: by record type and sink.
    :ivar queues: by sink.
    """

    types: Mapping[str, TypeAccounts]
    sinks: Mapping[tuple[str, str], SinkAccounts]
    queues: Mapping[str, QueueFigures]

    @property
    def lost(self) -> int:
        """Number of acknowledged records that were neither delivered nor kept."""
        return sum(accounts.lost.total() for accounts in self.sinks.values())


@frozen
class Imbalance:
    """An equation that does not hold.

    :ivar account: the place: a record type, a record type and a sink, or a sink.
    :ivar equation: the two sides, with their numbers.
    :ivar off_by: the left side less the right side, in records.
    """

    account: str
    equation: str
    off_by: int

    def __str__(self) -> str:
        return f"{self.account}: {self.equation} is off by {self.off_by:+d}"


def imbalances(ledger: Ledger) -> Sequence[Imbalance]:
    """Check every equation; returns those that do not hold, none when the books balance."""
    found: list[Imbalance] = []
    for record_type, vehicles in ledger.types.items():
        found += _unequal(
            record_type,
            ("received", vehicles.received),
            ("acked", vehicles.acked),
            ("duplicates", vehicles.duplicates),
            ("unacked", vehicles.unacked.total()),
            ("awaiting", vehicles.awaiting),
        )
    held: Counter[str] = Counter()
    spooled: Counter[str] = Counter()
    for (record_type, sink), queue in ledger.sinks.items():
        held[sink] += queue.held
        spooled[sink] += queue.spooled
        account = f"{record_type} to {sink}"
        found += _unequal(
            account,
            ("taken", queue.taken),
            ("delivered", queue.delivered),
            ("dead letters", queue.dead_letters.total()),
            ("unheard", queue.unheard),
            ("given up", queue.given_up),
            ("held", queue.held),
        )
        found += _unequal(
            account, ("left", queue.left), ("read", queue.read), ("skipped", queue.skipped), ("spooled", queue.spooled)
        )
    for sink, figures in ledger.queues.items():
        found += _unequal(f"all to {sink}", ("the queue's records", figures.held), ("held", held[sink]))
        excess = spooled[sink] - figures.unread
        if excess > 0:
            equation = f"spooled {spooled[sink]} <= unread positions {figures.unread}"
            found.append(Imbalance(f"all to {sink}", equation, excess))
    return found


def _unequal(account: str, total: tuple[str, int], *parts: tuple[str, int]) -> list[Imbalance]:
    """The equation, if its sides differ; and each term that is negative."""
    name, number = total
    off_by = number - sum(value for _, value in parts)
    found = [Imbalance(account, f"{term} {value} >= 0", value) for term, value in (total, *parts) if value < 0]
    if off_by:
        sides = " + ".join(f"{term} {value}" for term, value in parts)
        found.append(Imbalance(account, f"{name} {number} = {sides}", off_by))
    return found


class NoLedger(LookupError):
    """The samples have no ledger: they are another program's, or those of a gateway from before there was one."""


@define
class _Reading:
    types: dict[str, TypeAccounts] = Factory(dict)
    sinks: dict[tuple[str, str], SinkAccounts] = Factory(dict)
    queues: defaultdict[str, QueueFigures] = Factory(lambda: defaultdict(QueueFigures))

    def of_type(self, labels: Mapping[str, str]) -> TypeAccounts:
        record_type = labels["record_type"]
        return self.types.setdefault(record_type, TypeAccounts(record_type))

    def at_sink(self, labels: Mapping[str, str]) -> SinkAccounts:
        key = labels["record_type"], labels["dispatcher"]
        return self.sinks.setdefault(key, SinkAccounts(*key))


def read_ledger(samples: Iterable[Sample]) -> Ledger:
    """Read the ledger from the samples of a gateway's metrics, in any order; others are ignored.

    :raises NoLedger: there is none.
    """
    reading = _Reading()
    has_ledger = False
    for name, labels, value in samples:
        has_ledger = has_ledger or name in (LEDGER_ACKED_TOTAL.name, LEDGER_TAKEN_TOTAL.name)
        post = _POSTS.get(name)
        if post is not None:
            post(reading, labels, round(value))
    if not has_ledger:
        raise NoLedger(f"there are no {LEDGER_ACKED_TOTAL.name} and {LEDGER_TAKEN_TOTAL.name}")
    return Ledger(
        dict(sorted(reading.types.items())), dict(sorted(reading.sinks.items())), dict(sorted(reading.queues.items()))
    )


_Post = Callable[[_Reading, Mapping[str, str], int], None]


def _type_account(attribute: str) -> _Post:
    return lambda reading, labels, value: setattr(reading.of_type(labels), attribute, value)


def _sink_account(attribute: str) -> _Post:
    return lambda reading, labels, value: setattr(reading.at_sink(labels), attribute, value)


def _queue_figure(attribute: str) -> _Post:
    return lambda reading, labels, value: setattr(reading.queues[labels["dispatcher"]], attribute, value)


def _post_unacked(reading: _Reading, labels: Mapping[str, str], value: int) -> None:
    reading.of_type(labels).unacked[labels["reason"]] = value


def _post_dead_letters(reading: _Reading, labels: Mapping[str, str], value: int) -> None:
    reading.at_sink(labels).dead_letters[labels["kept"]] = value


def _post_lost(reading: _Reading, labels: Mapping[str, str], value: int) -> None:
    reading.at_sink(labels).lost[labels["reason"]] = value


_ACCOUNTS: Mapping[Metric, _Post] = {
    RECORD_TOTAL: _type_account("received"),
    LEDGER_ACKED_TOTAL: _type_account("acked"),
    LEDGER_DUPLICATES_TOTAL: _type_account("duplicates"),
    LEDGER_UNACKED_TOTAL: _post_unacked,
    LEDGER_AWAITING_RECORDS: _type_account("awaiting"),
    LEDGER_TAKEN_TOTAL: _sink_account("taken"),
    LEDGER_REFUSED_TOTAL: _sink_account("refused"),
    LEDGER_DELIVERED_TOTAL: _sink_account("delivered"),
    LEDGER_DEAD_LETTERS_TOTAL: _post_dead_letters,
    LEDGER_UNHEARD_TOTAL: _sink_account("unheard"),
    LEDGER_GIVEN_UP_TOTAL: _sink_account("given_up"),
    LEDGER_RETRIED_TOTAL: _sink_account("retried"),
    LEDGER_HELD_RECORDS: _sink_account("held"),
    LEDGER_REPLAYED_TOTAL: _sink_account("replayed"),
    LEDGER_LEFT_TOTAL: _sink_account("left"),
    LEDGER_READ_TOTAL: _sink_account("read"),
    LEDGER_SKIPPED_TOTAL: _sink_account("skipped"),
    LEDGER_SPOOLED_RECORDS: _sink_account("spooled"),
    LANE_HELD_RECORDS: _queue_figure("held"),
    LANE_UNREAD_POSITIONS: _queue_figure("unread"),
    LOST_RECORDS_TOTAL: _post_lost,
}
LEDGER_METRICS: Collection[Metric] = _ACCOUNTS.keys()
"""The metrics that ``read_ledger`` reads."""

_POSTS: Mapping[str, _Post] = {metric.name: post for metric, post in _ACCOUNTS.items()}
