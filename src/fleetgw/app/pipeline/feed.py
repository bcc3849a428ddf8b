"""A feed: the way of spooled records into one lane. It reads from the spool the records for which the lane had no room."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING

from attrs import define

from fleetgw.domain.errors import StorageError
from fleetgw.domain.line_limit import LineLimit
from fleetgw.domain.metrics import LANE_UNREAD_POSITIONS
from fleetgw.domain.records import ordering_key
from fleetgw.domain.spool import Cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.app.pipeline.confirmations import AwaitsConfirmation
    from fleetgw.app.pipeline.lane import Lane
    from fleetgw.domain.ports import ILog, IMetrics, ISpool, Page
    from fleetgw.domain.records import Record

PAGE_RECORDS = 256
PAGE_BYTES = 1024 * 1024
"""Bounds of what is read from the spool at once, and kept until the lane has room for it."""

NOT_STORED = 0
"""In place of the position of a record that is not in the spool, and that its vehicle sends again. It settles nothing."""

READ_AGAIN_S = 1.0
"""Pause after an error of reading."""

LINE_INTERVAL_S = 60.0
"""At most one log line about each kind of change in so many seconds."""


@define
class Progress:
    """The progress of the spool, shared by all feeds.

    :ivar appended: position of the next record that is appended.
    :ivar synced: position before which every record is synced, or could not be.
    """

    appended: int = 0
    synced: int = 0


class _State(Enum):
    """The source of the next record for the lane.

    ``LIVE``: the next append. ``FOLLOWING``: the next sync. ``READING``: the spool is read. ``FULL``: none until the lane
    has room. ``PAUSED``: none any more, as the gateway stops.
    """

    LIVE = "live"
    FOLLOWING = "following"
    READING = "reading"
    FULL = "full"
    PAUSED = "paused"


@define(eq=False)
class _Run:
    """Records of one vehicle and record type that wait for the lane, with their positions."""

    records: Sequence[Record]
    positions: Sequence[int]


class Feed:
    """Feeds one lane with spooled records, in the order of their positions.

    A feed is *live* while the lane takes records as they are appended. It falls *behind* when the lane has no room, and
    begins behind: the lane then gets records as they are read from the spool and, once it has got all that are synced, as
    they are synced. It is live again when the lane has got all that were appended.

    The feed is the origin of the lane's records: it settles their positions.
    """

    def __init__(
        self, lane: Lane, spool: ISpool, progress: Progress, clock: IReactorTime, metrics: IMetrics, log: ILog
    ) -> None:
        self.lane = lane
        self._sink = lane.sink.name
        self._spool = spool
        self._progress = progress
        self._clock = clock
        self._log = log
        self._lines = LineLimit(interval_s=LINE_INTERVAL_S)
        unread = metrics.gauge(LANE_UNREAD_POSITIONS, dispatcher=self._sink)
        unread.measured_by(lambda: self._progress.appended - self._cursor.next_position)
        self._state = _State.READING
        self._cursor = Cursor(0)
        self._begun_at = 0  # position of the first record of this process
        self._left: Counter[str] = Counter()  # by record type: records that the lane is to read
        self._held: dict[Record, int] = {}
        self._runs: deque[_Run] = deque()
        self._runs_end = 0  # where to read on behind them
        self._read_position: int | None = None  # of the read that is under way
        self._next_read: IDelayedCall | None = None
        self._behind_since_s: float | None = None
        self._stops = self._is_closed = False

    @property
    def is_live(self) -> bool:
        """Whether the lane takes records as they are appended."""
        return self._state is _State.LIVE

    def begin(self, position: int) -> None:
        """Begin to feed the lane. ``position`` is the sink's cursor."""
        self._cursor = Cursor(position)
        self._begun_at = self._progress.appended
        self._find_next()
        if not self.is_live:
            self._log_behind()

    def pause(self) -> None:
        """Read no more, as the gateway stops: the spool keeps what the lane has not got. A live lane goes on."""
        self._stops = True
        if not self.is_live:
            self._state = _State.PAUSED
        if self._next_read is not None:
            self._next_read.cancel()
            self._next_read = None

    def close(self) -> None:
        """Settle nothing more: the spool keeps what the lane holds."""
        self._is_closed = True

    # Records as they are appended and synced

    def offer(
        self,
        records: Sequence[Record],
        size_bytes: int,
        positions: range | None,
        origin: AwaitsConfirmation | None,
        *,
        are_resent: bool,
    ) -> int:
        """Let the lane take records that have just been appended, if the feed is live.

        :param records: of one vehicle and record type, in order.
        :param size_bytes: the sum of their ``Record.cost_bytes``.
        :param positions: of the records; None when the spool has not taken them, and keeps them for nobody.
        :param origin: receives the sink's confirmations of the records that the lane takes now; made by ``origin``.
        :param are_resent: vehicles send records again that the spool does not take.
        :return: the number of records that the lane has taken, from the first on.
        """
        if not self.is_live:
            if positions is None:
                self.lane.count_refused(records[0].record_type, len(records))
            else:
                self._leave(records)
            return 0
        if positions is None:
            taken = self.lane.offer(records, size_bytes, origin or self)
            if are_resent:
                self._held.update(dict.fromkeys(records[:taken], NOT_STORED))
            return taken
        taken = self._take(records, size_bytes, positions, origin)
        if taken < len(records):
            self._leave(records[taken:])
            self._state = _State.FOLLOWING
            self._runs.append(_Run(records[taken:], positions[taken:]))
            self._runs_end = positions.stop
            self._go_on()
        return taken

    def origin(self, waiter: AwaitsConfirmation) -> AwaitsConfirmation:
        """An origin that settles positions here, and has ``waiter`` hear as well."""
        return _WaitedFor(self, waiter)

    def pass_over(self, positions: range) -> None:
        """Records have been appended that are not for this lane."""
        if self.is_live:
            self._go_to(positions.stop)

    def synced(self, positions: range, records: Sequence[Record]) -> None:
        """Records are synced. Those for the lane are in ``records``, all or none."""
        if self._state not in (_State.FOLLOWING, _State.READING):
            return
        if self._cursor.next_position == positions.start and not self._runs:
            if records:
                self._runs.append(_Run(records, positions))
            self._runs_end = positions.stop
        self._go_on()

    def not_stored(self, positions: range, records: Sequence[Record], *, are_resent: bool) -> None:
        """Records could not be synced: the spool keeps them for nobody, and reads on behind them."""
        held = [record for record in records if record in self._held]
        self.confirmed(held)
        if are_resent:
            self._held.update(dict.fromkeys(held, NOT_STORED))
        waits_here = bool(self._runs) and positions.start < self._runs_end
        if records and not self.is_live and not waits_here and self._cursor.next_position <= positions.start:
            self._skip(records[0].record_type, len(records))
        if positions.start <= self._cursor.next_position < positions.stop and not self._runs:
            self._runs_end = positions.stop
            self._go_on()

    # Records that wait for the lane, and those that are read

    def _go_on(self) -> None:
        """Give the lane the records that wait for it; then see to the next ones."""
        if self._state not in (_State.FOLLOWING, _State.READING):
            return
        while self._runs:
            run = self._runs[0]
            taken = self._take(run.records, sum([record.cost_bytes for record in run.records]), run.positions, None)
            self._count_read(run.records[0].record_type, run.positions[:taken])
            if taken == len(run.records):
                self._runs.popleft()
                continue
            run.records, run.positions = run.records[taken:], run.positions[taken:]
            if taken or self.lane.held_records or self._stops:
                self._wait_for_room(run.records[0].record_type)
                return
            self._give_up(run.records[0], run.positions[0])
            run.records, run.positions = run.records[1:], run.positions[1:]
            if not run.records:
                self._runs.popleft()
        if self._runs_end > self._cursor.next_position:
            self._go_to(self._runs_end)
        self._find_next()

    def _find_next(self) -> None:
        """Decide on the source of the next record."""
        next_position, progress = self._cursor.next_position, self._progress
        if next_position >= progress.appended:
            self._state = _State.LIVE
            for record_type, count in self._left.items():
                self._skip(record_type, count)
            self._log_caught_up()
        elif next_position >= progress.synced:
            self._state = _State.FOLLOWING
        else:
            self._state = _State.READING
            if self._read_position is None and self._next_read is None:
                self._read_in(0)

    def _wait_for_room(self, record_type: str) -> None:
        if self._stops:
            self._state = _State.PAUSED
            self._runs.clear()
            return
        self._state = _State.FULL
        self._log_behind()
        self.lane.when_room(record_type, self._have_room)

    def _have_room(self) -> None:
        if self._state is _State.FULL:
            self._state = _State.FOLLOWING
            self._go_on()

    def _give_up(self, record: Record, position: int) -> None:
        """Give up a record for which a lane that holds nothing has no room: it would hold up all others for ever."""
        self._held[record] = position
        self._cursor.hand_out((position,), position + 1)
        self._count_read(record.record_type, (position,))
        self.lane.give_up(record, self, f"it takes {record.cost_bytes} bytes, more than the sink's queue may hold")

    def _read_in(self, delay_s: float) -> None:
        self._next_read = self._clock.callLater(delay_s, self._read)

    def _read(self) -> None:
        self._next_read = None
        if self._state is _State.READING:
            position = self._read_position = self._cursor.next_position
            page = self._spool.read(self._sink, position, PAGE_RECORDS, PAGE_BYTES)
            page.addCallback(self._have_read, position, self._progress.synced)

    def _have_read(self, page: Page | StorageError, position: int, synced: int) -> None:
        self._read_position = None
        if self._state is not _State.READING:
            return
        if isinstance(page, StorageError):
            if self._lines.admit("read", "", self._clock.seconds(), 1) is not None:
                self._log.error("spool_not_read", dispatcher=self._sink, error=str(page))
            if self._next_read is None:
                self._read_in(READ_AGAIN_S)
            return
        if self._cursor.next_position == position and not self._runs:
            read = zip(page.positions, page.records, strict=True)
            for _, group in groupby(read, lambda pair: ordering_key(pair[1])):
                positions, records = zip(*group, strict=True)
                self._runs.append(_Run(records, positions))
            # a page without progress: of the records before ``synced`` none could be stored
            self._runs_end = page.next_position if page.next_position > position else synced
        self._go_on()

    # The lane's records

    def _take(
        self, records: Sequence[Record], size_bytes: int, positions: Sequence[int], origin: AwaitsConfirmation | None
    ) -> int:
        """Let the lane take records; returns the number taken."""
        taken = self.lane.take(records, size_bytes, origin or self)
        if taken:
            positions = positions[:taken]
            self._held.update(zip(records, positions, strict=False))
            self._cursor.hand_out(positions, positions[-1] + 1)
        return taken

    def confirmed(self, records: Sequence[Record]) -> None:
        """See ``AwaitsConfirmation``: the positions of these records are settled."""
        self._settle([position for record in records if (position := self._held.pop(record, None)) is not None])

    def refused(self, record: Record) -> bool:
        """See ``AwaitsConfirmation``: a dead letter settles its position, and an end of the gateway does not."""
        if self._is_closed:
            return self._held.get(record, self._progress.synced) < self._progress.synced
        self.confirmed((record,))
        return False

    def _settle(self, positions: Sequence[int]) -> None:
        moved = self._cursor.settle(positions)
        if moved is not None:
            self._spool.settle(self._sink, moved)

    def _go_to(self, next_position: int) -> None:
        """Go on to a position, past records that are not for the lane."""
        self._cursor.hand_out((), next_position)
        if not self._cursor.held_records:
            self._spool.settle(self._sink, next_position)

    # The ledger and the log

    def _leave(self, records: Sequence[Record]) -> None:
        """Count records of one type that the lane is to get later."""
        record_type, count = records[0].record_type, len(records)
        self._left[record_type] += count
        self.lane.accounts[record_type].leave(count)

    def _count_read(self, record_type: str, positions: Sequence[int]) -> None:
        """Count records that the lane has taken from the spool: those of this process, and older ones."""
        older = bisect_left(positions, self._begun_at)
        own = min(len(positions) - older, self._left[record_type])  # some are read although their sync has failed
        account = self.lane.accounts[record_type]
        account.replay(older)
        account.read(own)
        self._left[record_type] -= own

    def _skip(self, record_type: str, count: int) -> None:
        """Count records that were to be read, and are not in the spool: dropped, damaged or never stored."""
        self.lane.accounts[record_type].skip(count)
        self._left[record_type] -= count

    def _log_behind(self) -> None:
        if self._behind_since_s is None:
            now_s = self._behind_since_s = self._clock.seconds()
            if self._lines.admit("behind", "", now_s, 1) is not None:
                records = self._progress.appended - self._cursor.next_position
                self._log.warn("sink_behind", dispatcher=self._sink, records=records)

    def _log_caught_up(self) -> None:
        if self._behind_since_s is not None:
            now_s, since_s, self._behind_since_s = self._clock.seconds(), self._behind_since_s, None
            if self._lines.admit("caught up", "", now_s, 1) is not None:
                self._log.info("sink_caught_up", dispatcher=self._sink, after_s=now_s - since_s)


class _WaitedFor:
    """The origin of records for whose confirmation a vehicle waits, too."""

    __slots__ = ("_feed", "_waiter")

    def __init__(self, feed: Feed, waiter: AwaitsConfirmation) -> None:
        self._feed = feed
        self._waiter = waiter

    def confirmed(self, records: Sequence[Record]) -> None:
        """See ``AwaitsConfirmation``."""
        self._feed.confirmed(records)
        self._waiter.confirmed(records)

    def refused(self, record: Record) -> bool:
        """See ``AwaitsConfirmation``."""
        is_kept = self._feed.refused(record)
        return self._waiter.refused(record) or is_kept
