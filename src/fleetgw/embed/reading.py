"""``async for`` over records."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from attrs import frozen
from twisted.internet.defer import Deferred

from fleetgw.domain.errors import Retryable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from fleetgw.domain.ports import ILog
    from fleetgw.embed.listening import Filter, Listeners
    from fleetgw.embed.record import Record

    WhenSlow = Literal["wait", "drop_oldest"]

_LEFT = Retryable("the reader has gone")


@frozen
class Surroundings:
    """What a reader needs of its gateway.

    :ivar awaiting: makes of a Deferred what the program's coroutines can await.
    :ivar soon: calls a function on the reactor's thread; may itself be called on any.
    """

    listeners: Listeners
    awaiting: Callable[[Deferred[None]], Awaitable[None]]
    soon: Callable[[Callable[[], None]], object]
    log: ILog


class Unread:
    """What a reader has not dealt with. Apart from ``Records``, so that a reader from which nobody reads can go.

    :ivar dropped: how many records were dropped because the reader was slow.
    :ivar records: those not read yet, each with what fires when it has been dealt with.
    """

    def __init__(self, chosen: Filter, buffer_records: int, when_slow: WhenSlow, surroundings: Surroundings) -> None:
        self.filter = chosen
        self.dropped = 0
        self.stopped = False
        self.waker: Deferred[None] | None = None
        self.records: deque[tuple[Record, Deferred[object] | None]] = deque()
        self._current: Deferred[object] | None = None
        self._limit = buffer_records if when_slow == "drop_oldest" else None
        self._log = surroundings.log
        self._listeners = surroundings.listeners
        self._listeners.add(self)

    def take(self, record: Record) -> Deferred[object] | None:
        """Keep a record; what is returned fires when the reader has dealt with it."""
        answer: Deferred[object] | None = None
        if self._limit is None:
            answer = Deferred(self._withdraw)
        elif len(self.records) >= self._limit:
            if not self.dropped:
                self._log.warn("reader_slow", buffer_records=self._limit, error="the oldest records are dropped from now on")
            self.records.popleft()
            self.dropped += 1
        self.records.append((record, answer))
        self._wake()
        return answer

    def next(self) -> Record:
        """The oldest record that has not been read."""
        record, self._current = self.records.popleft()
        return record

    def done(self) -> None:
        """The record that was read last has been dealt with."""
        answer, self._current = self._current, None
        if answer is not None and not answer.called:
            answer.callback(None)

    def _withdraw(self, answer: Deferred[object]) -> None:
        """It has waited for too long, and will come again."""
        self.records = deque(entry for entry in self.records if entry[1] is not answer)

    def stop(self) -> None:
        """Get no more; what is unread, or not dealt with, goes back."""
        if self.stopped:
            return
        self.stopped = True
        self._listeners.remove(self)
        answers = [self._current, *(answer for _, answer in self.records)]
        self._current, self.records = None, deque()
        for answer in answers:
            if answer is not None and not answer.called:
                answer.errback(_LEFT)
        self._wake()

    def _wake(self) -> None:
        waker, self.waker = self.waker, None
        if waker is not None:
            waker.callback(None)


class Records:
    """Records as they come, for ``async for``; ends when it is stopped, and when the gateway has stopped.

    A record is done with when the loop asks for the next one. One reader at a time.
    """

    def __init__(self, unread: Unread, surroundings: Surroundings) -> None:
        self._unread = unread
        self._surroundings = surroundings

    @property
    def dropped(self) -> int:
        """How many records were dropped because the reader was slow (with ``when_slow="drop_oldest"``)."""
        return self._unread.dropped

    def stop(self) -> None:
        """Get no more records. Those that are unread, and the one that the loop is at, count as not delivered."""
        self._unread.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        unread = self._unread
        if unread.waker is not None:
            raise RuntimeError("somebody else waits for the next record; call records() for each reader")
        unread.done()
        while not unread.records:
            if unread.stopped:
                raise StopAsyncIteration
            waker: Deferred[None] = Deferred()
            unread.waker = waker
            try:
                await self._surroundings.awaiting(waker)
            finally:
                unread.waker = None
        return unread.next()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __del__(self) -> None:
        # a loop that was left: without this its records would wait for a reader that never comes
        if not self._unread.stopped:
            self._surroundings.soon(self._unread.stop)
