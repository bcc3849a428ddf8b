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

_STOPPED = Retryable("the reader has stopped")


@frozen
class ReaderContext:
    """The parts of a gateway that a reader uses.

    :ivar awaiting: makes an awaitable for the program's coroutines from a Deferred.
    :ivar call_on_reactor: calls a function on the reactor's thread; may be called on any thread.
    """

    listeners: Listeners
    awaiting: Callable[[Deferred[None]], Awaitable[None]]
    call_on_reactor: Callable[[Callable[[], None]], object]
    log: ILog


class ReadBuffer:
    """The records that a reader has not handled. Apart from ``Records``, so that an unused ``Records`` can be collected.

    :ivar dropped: number of records that were dropped because the reader was slow.
    :ivar records: unread records, each with the Deferred that fires when it has been handled.
    """

    def __init__(self, chosen: Filter, buffer_records: int, when_slow: WhenSlow, context: ReaderContext) -> None:
        self.filter = chosen
        self.dropped = 0
        self.stopped = False
        self.waker: Deferred[None] | None = None
        self.records: deque[tuple[Record, Deferred[object] | None]] = deque()
        self._current: Deferred[object] | None = None
        self._limit = buffer_records if when_slow == "drop_oldest" else None
        self._log = context.log
        self._listeners = context.listeners
        self._listeners.add(self)

    def take(self, record: Record) -> Deferred[object] | None:
        """Keep a record; the Deferred fires when the reader has handled it."""
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
        """The oldest unread record."""
        record, self._current = self.records.popleft()
        return record

    def done(self) -> None:
        """The record that was read last has been handled."""
        answer, self._current = self._current, None
        if answer is not None and not answer.called:
            answer.callback(None)

    def _withdraw(self, answer: Deferred[object]) -> None:
        """Drop a record whose delivery timed out; it will be delivered again."""
        self.records = deque(entry for entry in self.records if entry[1] is not answer)

    def stop(self) -> None:
        """Get no more records; unread ones, and the one being handled, will be retried."""
        if self.stopped:
            return
        self.stopped = True
        self._listeners.remove(self)
        answers = [self._current, *(answer for _, answer in self.records)]
        self._current, self.records = None, deque()
        for answer in answers:
            if answer is not None and not answer.called:
                answer.errback(_STOPPED)
        self._wake()

    def _wake(self) -> None:
        waker, self.waker = self.waker, None
        if waker is not None:
            waker.callback(None)


class Records:
    """Records as they come, for ``async for``; ends when it is stopped, and when the gateway has stopped.

    A record is handled when the loop asks for the next one. One reader at a time.
    """

    def __init__(self, buffer: ReadBuffer, context: ReaderContext) -> None:
        self._buffer = buffer
        self._context = context

    @property
    def dropped(self) -> int:
        """Number of records that were dropped because the reader was slow (with ``when_slow="drop_oldest"``)."""
        return self._buffer.dropped

    def stop(self) -> None:
        """Get no more records. Unread records, and the one that the loop is handling, count as not delivered."""
        self._buffer.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        buffer = self._buffer
        if buffer.waker is not None:
            raise RuntimeError("another reader waits for the next record; call records() for each reader")
        buffer.done()
        while not buffer.records:
            if buffer.stopped:
                raise StopAsyncIteration
            waker: Deferred[None] = Deferred()
            buffer.waker = waker
            try:
                await self._context.awaiting(waker)
            finally:
                buffer.waker = None
        return buffer.next()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __del__(self) -> None:
        # after a break out of ``async for``, records would wait for a reader for ever
        if not self._buffer.stopped:
            self._context.call_on_reactor(self._buffer.stop)
