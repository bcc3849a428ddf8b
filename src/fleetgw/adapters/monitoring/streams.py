"""Responses without an end: a stream writes chunks to each of its readers until the reader or the gateway goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from fleetgw.domain.ports import IStreamReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.web.http import Request

EVENTS = b"text/event-stream; charset=utf-8"
"""Content type of server-sent events."""

JSON_LINES = b"application/x-ndjson"
"""Content type of one JSON value a line."""

BUFFER_BYTES = 256 * 1024
"""Maximum number of bytes that wait for a reader; further chunks are dropped."""

STALLED_S = 30.0
"""Time after which a reader that has not emptied its buffer is closed."""

Unsubscribe: TypeAlias = "Callable[[], None]"
"""Ends a subscription."""


@frozen
class Stream:
    """A response that goes on until the client or the source ends it.

    :ivar subscribe: called once for each request, with its reader. Its result is called once, when the stream has ended.
    """

    content_type: bytes
    subscribe: Callable[[IStreamReader], Unsubscribe]


@implementer(IStreamReader, IPushProducer)
class StreamReader:
    """A client over HTTP.

    :ivar dropped: number of chunks that were dropped.
    """

    def __init__(self, request: Request, clock: IReactorTime, count_dropped: Callable[[], None]) -> None:
        """:param count_dropped: called for each dropped chunk."""
        self.dropped = 0
        self._request = request
        self._clock = clock
        self._count_dropped = count_dropped
        self._unsubscribe: Unsubscribe | None = None
        self._ended = False
        self._waiting_bytes = 0
        self._stalled: IDelayedCall | None = None

    def begin(self, subscribe: Callable[[IStreamReader], Unsubscribe]) -> None:
        """Write the headers, and subscribe. The stream ends with the client."""
        self._request.notifyFinish().addBoth(lambda _: self._gone())
        self._request.registerProducer(self, True)  # noqa: FBT003  Twisted's signature
        self._request.write(b"")
        unsubscribe = subscribe(self)
        if self._ended:
            unsubscribe()
        else:
            self._unsubscribe = unsubscribe

    def write(self, chunk: bytes) -> bool:
        """See ``IStreamReader``."""
        if self._ended:
            return False
        if self._stalled is not None:
            if self._waiting_bytes + len(chunk) > BUFFER_BYTES:
                self.dropped += 1
                self._count_dropped()
                return False
            self._waiting_bytes += len(chunk)
        self._request.write(chunk)
        return True

    def end(self) -> None:
        """See ``IStreamReader``."""
        if not self._ended:
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        """The transport's buffer is full; Twisted says so again at each write."""
        if self._stalled is None:
            self._waiting_bytes = 0
            self._stalled = self._clock.callLater(STALLED_S, self.stopProducing)

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def stopProducing(self) -> None:
        """Cut the client off."""
        self._request.channel.forceAbortClient()

    def _gone(self) -> None:
        self._ended = True
        if self._stalled is not None and self._stalled.active():
            self._stalled.cancel()
        self._stalled = None
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()
