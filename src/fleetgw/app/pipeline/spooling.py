"""Spooling: appends records to the spool, and lets lanes and vehicles know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred, succeed

from fleetgw.app.pipeline.feed import Feed, Progress
from fleetgw.app.pipeline.tickets import TicketPolicy
from fleetgw.domain.errors import ConfigurationError, StorageError
from fleetgw.domain.ledger import Unacked, not_stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from fleetgw.app.pipeline.accounts import VehicleAccount
    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.app.pipeline.tickets import ConfirmationMetrics, Tickets
    from fleetgw.domain.ports import Appended, ILog, IMetrics, ISpool
    from fleetgw.domain.records import Record
    from fleetgw.domain.routing import Route


class Acknowledges(Protocol):
    """The session of the vehicle that has sent records."""

    def acknowledge(self, records: Sequence[Record]) -> None:
        """Acknowledge records, in order."""

    def acknowledge_stored(self, records: Sequence[Record], account: VehicleAccount) -> None:
        """Acknowledge records, in order, that are stored now, in place of a queue; counts them in these accounts."""

    def acknowledge_due(self, records: Sequence[Record], metrics: ConfirmationMetrics) -> None:
        """Acknowledge records, in order, that a confirmation with these metrics has made due."""

    def not_acknowledged(self, records: Sequence[Record], reason: Unacked) -> None:
        """Note that records are never acknowledged."""

    def awaits(self, change: int) -> None:
        """Change the number of records that wait to be synced by ``change``."""

    def tickets_of(self, policy: TicketPolicy) -> Tickets:
        """The session's tickets for a policy."""


class Spooling:
    """The spool with a feed for each sink that a spooled record type is routed to.

    The life: ``start``; ``begin`` once the sinks have started; ``pause`` when the gateway begins to stop; ``stop`` once the
    sinks have stopped, before the lanes are abandoned.

    :ivar spool: the spool.
    :ivar feeds: by sink name.
    """

    def __init__(
        self,
        spool: ISpool,
        routes: Mapping[str, Route],
        lanes: Mapping[str, Lane],
        clock: IReactorTime,
        metrics: IMetrics,
        log: ILog,
    ) -> None:
        """Make the feeds.

        :param routes: by record type; those that are spooled count.
        :param lanes: by sink name; one for every sink named in ``routes``.
        """
        self.spool = spool
        self._log = log
        self._types: dict[str, list[str]] = {}
        for route in routes.values():
            for sink in route.sinks if route.is_spooled else ():
                self._types.setdefault(sink, []).append(route.record_type)
        self._progress = Progress()
        self.feeds = {sink: Feed(lanes[sink], spool, self._progress, clock, metrics, log) for sink in self._types}
        self._opening: Deferred[None] | None = None
        self._cursors: Mapping[str, int] | None = None

    def start(self) -> Deferred[None]:
        """Open the spool. Fails with ``ConfigurationError``, which is logged, and no other. Cancelling changes nothing."""
        started: Deferred[None] = Deferred()

        def opened(cursors: Mapping[str, int]) -> None:
            self._cursors = cursors
            self._progress.appended = self._progress.synced = self.spool.state().next_position
            started.callback(None)

        def failed(failure: Failure) -> None:
            if isinstance(failure.value, ConfigurationError):
                for problem in failure.value.problems:
                    self._log.error("spool_start_failed", key=problem.path, error=problem.what, fix=problem.fix)
            started.errback(failure)

        self._opening = self.spool.start(self._types).addCallbacks(opened, failed)
        return started

    def begin(self) -> None:
        """Begin to feed the lanes with what the spool holds."""
        for sink, position in (self._cursors or {}).items():
            self.feeds[sink].begin(position)

    def pause(self) -> None:
        """Read no more from the spool: it keeps what the lanes have not got."""
        for feed in self.feeds.values():
            feed.pause()

    def stop(self) -> Deferred[None]:
        """Sync what was appended, and close the spool; it keeps what the lanes hold. Cancelling it gives up on the sync."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await (self._opening or succeed(None))
        if self._cursors is not None:
            await self.spool.stop()
        for feed in self.feeds.values():
            feed.close()

    def append(self, records: Sequence[Record], feeds: Sequence[Feed], *, are_resent: bool) -> Appended | StorageError:
        """Append the records of one read and type. See ``ISpool.append``.

        :param feeds: those that the records are for.
        :param are_resent: vehicles send records again that are not stored.
        """
        appended = self.spool.append(records)
        if isinstance(appended, StorageError):
            return appended
        positions = appended.positions
        self._progress.appended = positions.stop
        if len(feeds) < len(self.feeds):
            for feed in self.feeds.values():
                if feed not in feeds:
                    feed.pass_over(positions)
        appended.synced.addCallback(self._synced, positions, records, feeds, are_resent)
        return appended

    def _synced(
        self,
        failure: StorageError | None,
        positions: range,
        records: Sequence[Record],
        feeds: Sequence[Feed],
        are_resent: bool,  # noqa: FBT001  callbacks take no keywords
    ) -> StorageError | None:
        self._progress.synced = positions.stop
        for feed in self.feeds.values():
            its = records if feed in feeds else ()
            if failure is not None:
                feed.not_stored(positions, its, are_resent=are_resent)
            elif not feed.is_live:
                feed.synced(positions, its)
        return failure


class SpooledRoute:
    """The route of a record type that is spooled.

    :param feeds: of the sinks that the ack policy does not name.
    :param awaits: the condition of the acknowledgement; the metrics of acknowledgements that wait for the sync alone; None
        when the queues of the sinks must have taken a record, or the spool for them.
    :param account: the ledger's accounts of the record type.
    """

    def __init__(
        self,
        spooling: Spooling,
        feeds: Sequence[Feed],
        awaits: TicketPolicy | ConfirmationMetrics | None,
        account: VehicleAccount,
        record_type: str,
    ) -> None:
        self._record_type = record_type
        self.spooling = spooling
        self._feeds = feeds
        self._policy = awaits if isinstance(awaits, TicketPolicy) else None
        self._metrics = None if isinstance(awaits, TicketPolicy) else awaits
        self._all_feeds = (*feeds, *self._policy.feeds) if self._policy is not None else feeds
        self._needs_spool = self._policy.needs_spool if self._policy is not None else self._metrics is not None
        self._account = account

    def accept(self, records: Sequence[Record], cost_bytes: int, session: Acknowledges) -> int:
        """Take the records of one read, and acknowledge them when they are due.

        :param cost_bytes: the sum of their ``Record.cost_bytes``.
        :return: the number of records that the spool or every lane has taken, from the first on.
        """
        count = len(records)
        if self._policy is not None and not self._can_hold(self._policy, count):
            self._account.unacked[Unacked.FULL].add(count)
            session.not_acknowledged(records, Unacked.FULL)
            return 0
        appended, fewest = self._place(records, cost_bytes)
        if self._policy is not None:
            taken = session.tickets_of(self._policy).offer_spooled(records, cost_bytes, appended)
            fewest = min(fewest, taken)
        elif not isinstance(appended, StorageError) and (self._metrics is not None or fewest < count):
            session.awaits(count)
            self._account.awaiting.add(count)
            appended.synced.addCallback(self._synced, records, session)
        elif self._metrics is None:
            if fewest:
                self._account.ack_at_once(fewest)
                session.acknowledge(records[:fewest])
            if fewest < count:
                self._account.unacked[Unacked.FULL].add(count - fewest)
                session.not_acknowledged(records[fewest:], Unacked.FULL)
        elif isinstance(appended, StorageError):
            self._account.unacked[not_stored(appended)].add(count)
            session.not_acknowledged(records, not_stored(appended))
        return fewest if isinstance(appended, StorageError) else count

    def accept_own(self, record: Record) -> bool:
        """Take a record of the gateway itself, which nobody acknowledges; returns whether it is kept for all sinks."""
        appended, fewest = self._place([record], record.cost_bytes)
        return bool(fewest) or not isinstance(appended, StorageError)

    def _place(self, records: Sequence[Record], cost_bytes: int) -> tuple[Appended | StorageError, int]:
        """Append records and offer them to the feeds that need not confirm them; returns the fewest taken by a lane, too."""
        appended = self.spooling.append(records, self._all_feeds, are_resent=self._needs_spool)
        positions = None if isinstance(appended, StorageError) else appended.positions
        fewest = len(records)
        for feed in self._feeds:
            fewest = min(fewest, feed.offer(records, cost_bytes, positions, None, are_resent=self._needs_spool))
        return appended, fewest

    def _can_hold(self, policy: TicketPolicy, count: int) -> bool:
        """Whether the policy can hold for records that a feed takes only once it is live: not while it is behind."""
        behind = [feed for feed in policy.feeds if not feed.is_live]
        if not behind or policy.can_hold_without(behind):
            return True
        for feed in behind:
            feed.lane.count_refused(self._record_type, count)
        return False

    def _synced(self, failure: StorageError | None, records: Sequence[Record], session: Acknowledges) -> None:
        count = len(records)
        if failure is not None:
            self._account.refuse(count, not_stored(failure))
            session.not_acknowledged(records, not_stored(failure))
        elif self._metrics is not None:
            session.acknowledge_due(records, self._metrics)
        else:
            session.acknowledge_stored(records, self._account)
        session.awaits(-count)
