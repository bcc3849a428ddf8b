"""Tickets: the confirmations that a record still waits for, where its ack policy names several sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from fleetgw.app.pipeline.shortfall import Shortfall
from fleetgw.domain.acks import holds, names_spool
from fleetgw.domain.errors import StorageError
from fleetgw.domain.ledger import Unacked, not_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from fleetgw.app.pipeline.accounts import VehicleAccount
    from fleetgw.app.pipeline.feed import Feed
    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.acks import Condition
    from fleetgw.domain.ports import Appended, ICounter
    from fleetgw.domain.records import Record


@define(eq=False)
class ConfirmationMetrics:
    """The metrics of a record type that a sink's confirmation acknowledges, and the ledger's accounts of the type."""

    reliable_ack: ICounter
    reliable_ack_miss: ICounter
    sink_total: ICounter
    account: VehicleAccount


class TicketPolicy:
    """The condition of one record type, ready for the hot path: a set of sinks is an int with a bit for each.

    The spool, where the condition names it, counts as one more sink, the last one.

    :ivar lanes: of the sinks that the condition names, each once; lane ``i`` has the bit ``1 << i``.
    :ivar metrics: the metrics of the acknowledgements that each of these sinks' confirmations made due.
    :ivar account: the ledger's accounts of the record type.
    :ivar feeds: of the same sinks, where the record type is spooled.
    :ivar names_spool: whether the condition names the spool.
    :ivar needs_spool: whether the condition cannot hold without the spool.
    """

    def __init__(
        self,
        condition: Condition,
        lanes: Sequence[Lane],
        metrics: Sequence[ConfirmationMetrics],
        account: VehicleAccount,
        feeds: Sequence[Feed] = (),
    ) -> None:
        self._condition = condition
        self._all = (1 << len(metrics)) - 1
        self._truth: dict[int, bool] = {}
        self.lanes = lanes
        self.metrics = metrics
        self.account = account
        self.feeds = feeds
        self.names_spool = names_spool(condition)
        self.needs_spool = not self.can_hold(1 << len(lanes))

    def holds(self, confirmed: int) -> bool:
        """Whether the condition holds once these sinks have confirmed a record."""
        truth = self._truth.get(confirmed)
        if truth is None:
            names = frozenset(lane.sink.name for index, lane in enumerate(self.lanes) if confirmed >> index & 1)
            is_spooled = bool(confirmed >> len(self.lanes))
            truth = self._truth[confirmed] = holds(self._condition, names, is_spooled=is_spooled)
        return truth

    def can_hold_without(self, feeds: Collection[Feed]) -> bool:
        """Whether the condition can hold although the sinks of these feeds never confirm the record."""
        return self.can_hold(sum(1 << index for index, feed in enumerate(self.feeds) if feed in feeds))

    def is_settled(self, settled: int) -> bool:
        """Whether these are all sinks of the condition."""
        return settled == self._all

    def can_hold(self, refused: int) -> bool:
        """Whether the condition can hold although these sinks never confirm the record; so it does once it has held."""
        return self.holds(self._all & ~refused)


@define(eq=False)
class _Ticket:
    """The sinks that have settled one record, as sets of bits."""

    confirmed: int = 0
    refused: int = 0
    is_acknowledged: bool = False


class Tickets:
    """The tickets of one session and record type.

    A ticket is kept until every sink of the condition has settled its record. The bounds of the lanes bound the number
    of tickets.
    """

    def __init__(
        self,
        policy: TicketPolicy,
        acknowledge: Callable[[Sequence[Record], ConfirmationMetrics], None],
        refused: Callable[[], None],
        unacked: Callable[[Sequence[Record], Unacked], None],
    ) -> None:
        """Begin without tickets.

        :param acknowledge: takes records that are due, in order, and the metrics of the sink that made them so.
        :param refused: called when a sink has refused a record.
        :param unacked: called with records that can be acknowledged no more, and the reason.
        """
        self._policy = policy
        self._acknowledge = acknowledge
        self._refused = refused
        self._unacked = unacked
        self._tickets: dict[Record, _Ticket] = {}
        self._waiters = tuple(_Waiter(self, metrics, 1 << index) for index, metrics in enumerate(policy.metrics))
        self._origins = tuple(feed.origin(waiter) for feed, waiter in zip(policy.feeds, self._waiters, strict=False))

    @property
    def is_empty(self) -> bool:
        """Whether every record is settled."""
        return not self._tickets

    @property
    def are_awaited(self) -> bool:
        """Whether a record is not acknowledged yet and still can be."""
        can_hold = self._policy.can_hold
        return any(not each.is_acknowledged and can_hold(each.refused) for each in self._tickets.values())

    def offer(self, records: Sequence[Record], cost_bytes: int) -> list[Shortfall]:
        """Make a ticket for each record, then offer the records to every lane of the condition.

        :param cost_bytes: the sum of their ``Record.cost_bytes``.
        :return: the lanes that have not taken all of them. The caller offers them the others again, or refuses these.
        """
        self._make(records)
        shortfalls = []
        for lane, waiter in zip(self._policy.lanes, self._waiters, strict=True):
            taken = lane.take(records, cost_bytes, waiter)
            if taken < len(records):
                shortfalls.append(Shortfall(lane, waiter, waiter.bit, taken))
        return shortfalls

    def offer_spooled(self, records: Sequence[Record], cost_bytes: int, appended: Appended | StorageError) -> int:
        """Make a ticket for each record of a spooled type, then offer the records to every feed of the condition.

        :param appended: the spool's answer.
        """
        self._make(records)
        self._policy.account.awaiting.add(len(records))
        policy, waiters = self._policy, self._waiters
        positions = None if isinstance(appended, StorageError) else appended.positions
        fewest = len(records)
        for feed, waiter, origin in zip(policy.feeds, waiters, self._origins, strict=False):
            taken = feed.offer(records, cost_bytes, positions, origin, are_resent=policy.needs_spool)
            waiter.refused_all(records[taken:], Unacked.FULL)
            fewest = min(fewest, taken)
        if policy.names_spool:
            if isinstance(appended, StorageError):
                waiters[-1].refused_all(records, not_stored(appended))
            else:
                appended.synced.addCallback(waiters[-1].synced, records)
        return fewest

    def _make(self, records: Sequence[Record]) -> None:
        for record in records:
            self._tickets[record] = _Ticket()

    def close(self) -> None:
        """Nothing more is offered: drop the waiters, as no reference cycle may keep a session that has ended in memory."""
        self._waiters = self._origins = ()

    def confirmed(self, records: Sequence[Record], metrics: ConfirmationMetrics, bit: int) -> None:
        """A sink has confirmed these records."""
        due = []
        for record in records:
            ticket = self._tickets[record]
            ticket.confirmed |= bit
            if not ticket.is_acknowledged and self._policy.holds(ticket.confirmed):
                ticket.is_acknowledged = True
                due.append(record)
            self._forget_if_settled(record, ticket)
        if due:
            self._acknowledge(due, metrics)

    def refused(self, record: Record, bit: int, reason: Unacked) -> bool:
        """A sink never confirms this record. Returns whether the vehicle resends it, as it is never acknowledged."""
        ticket, can_hold = self._tickets[record], self._policy.can_hold
        could_hold = can_hold(ticket.refused)
        ticket.refused |= bit
        resends = not can_hold(ticket.refused)
        if resends and could_hold:
            self._policy.account.refuse(1, reason)
            self._unacked([record], reason)
        self._forget_if_settled(record, ticket)
        self._refused()
        return resends

    def _forget_if_settled(self, record: Record, ticket: _Ticket) -> None:
        if self._policy.is_settled(ticket.confirmed | ticket.refused):
            del self._tickets[record]


class _Waiter:
    """Receives one sink's confirmations and refusals for ``Tickets``."""

    __slots__ = ("_metrics", "_tickets", "bit")

    def __init__(self, tickets: Tickets, metrics: ConfirmationMetrics, bit: int) -> None:
        self._tickets = tickets
        self._metrics = metrics
        self.bit = bit

    def confirmed(self, records: Sequence[Record]) -> None:
        """See ``AwaitsConfirmation``."""
        self._tickets.confirmed(records, self._metrics, self.bit)

    def refused(self, record: Record, reason: Unacked = Unacked.UNCONFIRMED) -> bool:
        """See ``Refusable``."""
        return self._tickets.refused(record, self.bit, reason)

    def refused_all(self, records: Sequence[Record], reason: Unacked) -> None:
        """The sink never confirms these records."""
        for record in records:
            self._tickets.refused(record, self.bit, reason)

    def synced(self, failure: StorageError | None, records: Sequence[Record]) -> None:
        """The spool has synced these records, or could not."""
        if failure is None:
            self.confirmed(records)
        else:
            self.refused_all(records, not_stored(failure))
