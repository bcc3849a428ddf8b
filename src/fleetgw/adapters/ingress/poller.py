"""Reads the sockets of vehicles by an epoll of their own, which the reactor watches as one descriptor.

So the reading of all vehicles is bounded in each turn of the reactor, and can pause as a whole; bursts cost less than with
Twisted's own dispatch. Each look for bytes reads a socket at most once; the kernel reports those that are ready in turn.
Writing stays with the reactor.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, cast

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.abstract import FileDescriptor
    from twisted.internet.interfaces import IDelayedCall

    class IPollingReactor(IReactorFDSet, IReactorTime):
        """The reactor interfaces that a poller uses."""


EVENTS_PER_LOOK = 128
"""Maximum number of sockets that are read before the reactor serves its other descriptors. With one record each, that takes
about as long as the turn of one vehicle."""

_USUAL_ENDS = {each: Failure(each()) for each in (ConnectionDone, ConnectionLost)}


@implementer(IReadDescriptor)
class Poller:
    """Calls ``doRead`` of sockets from ``open`` to ``close``. At other times the reactor does so itself.

    :ivar interval_s: least number of seconds from one look to the next; 0: none. Bytes that arrive later than that after a
        look are read at once. A look that meets ``EVENTS_PER_LOOK`` is followed by the next one in the reactor's next turn.
    """

    # of all sockets; and of that one alone, which the reactor watches
    _epoll: select.epoll | None = None
    _watched: select.epoll | None = None

    def __init__(self, reactor: object) -> None:
        """:param reactor: of any kind; sockets are read by the poller if it can watch descriptors."""
        self.interval_s = 0.0
        self._reactor = cast("IPollingReactor", reactor)
        self._sockets: dict[int, FileDescriptor] = {}
        self._pause: IDelayedCall | None = None
        self._read_in_round = 0

    @property
    def is_open(self) -> bool:
        """Whether sockets are read by this poller."""
        return self._epoll is not None

    def open(self) -> None:
        """Have the reactor watch the poller; do nothing without epoll, or where the reactor cannot watch it."""
        try:
            self._epoll, self._watched = select.epoll(), select.epoll()
            self._watched.register(self._epoll, select.EPOLLIN)
            self._reactor.addReader(self)
        except Exception:  # no epoll, no descriptor left, or a reactor without descriptors; asyncio's loops raise anything
            self._close_epolls()

    def close(self) -> None:
        """End, once no socket is read any more. Does nothing when the poller is not open."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._epoll is not None:
            self._reactor.removeReader(self)
        self._close_epolls()

    def _close_epolls(self) -> None:
        for each in (self._watched, self._epoll):
            if each is not None:
                each.close()
        self._watched = self._epoll = None

    def add(self, socket: FileDescriptor) -> bool:
        """Read a socket from now on; return false where the reactor must do so itself."""
        if self._epoll is None:
            return False
        descriptor = socket.fileno()
        if self._sockets.get(descriptor) is not socket:
            self._epoll.register(descriptor, select.EPOLLIN)
            self._sockets[descriptor] = socket
        return True

    def remove(self, socket: FileDescriptor) -> bool:
        """Read a socket no more; return false when this poller does not read it."""
        descriptor = socket.fileno()
        if self._epoll is None or self._sockets.get(descriptor) is not socket:
            return False
        del self._sockets[descriptor]
        self._epoll.unregister(descriptor)
        return True

    def has_unread(self) -> bool:
        """Whether sockets have waited since before the last look to be read."""
        return self._read_in_round > 0 and self._epoll is not None and bool(self._epoll.poll(0, 1))

    def doRead(self) -> None:
        """Look for bytes once; see ``IReadDescriptor``.

        A socket whose ``doRead`` returns a reason or raises an error ends alone, as with Twisted's own reactors.
        """
        assert self._epoll is not None  # noqa: S101  the reactor watches an open poller only
        began_s = self._reactor.seconds() if self.interval_s else 0.0
        events = self._epoll.poll(0, EVENTS_PER_LOOK)
        for descriptor, _ in events:
            socket = self._sockets.get(descriptor)
            if socket is None:  # another socket's bytes have ended or paused it
                continue
            try:
                reason = socket.doRead()
            except KeyboardInterrupt:  # asyncio's loop passes it on, Twisted's reactors log it
                self._end(socket, Failure())
                raise
            except BaseException:
                log.err()
                self._end(socket, Failure())
            else:
                if reason is not None:
                    self._end(socket, _USUAL_ENDS.get(type(reason)) or Failure(reason))
        if len(events) == EVENTS_PER_LOOK:
            self._read_in_round += EVENTS_PER_LOOK
            if self._read_in_round >= len(self._sockets):
                self._read_in_round = 0
            return
        self._read_in_round = 0
        if self.interval_s and self._epoll is not None:
            left_s = began_s + self.interval_s - self._reactor.seconds()
            if left_s > 0:
                self._watch(0)
                self._pause = self._reactor.callLater(left_s, self._pause_ended)

    def _pause_ended(self) -> None:
        self._pause = None
        self._watch(select.EPOLLIN)

    def _watch(self, events: int) -> None:
        # for removeReader and addReader in its place, the kernel would go through all sockets
        if self._watched is not None and self._epoll is not None:
            self._watched.modify(self._epoll, events)

    def _end(self, socket: FileDescriptor, failure: Failure) -> None:
        try:
            socket.stopReading()
            if failure.type is ConnectionDone:
                socket.readConnectionLost(failure)
            else:
                socket.connectionLost(failure)
        except Exception:  # the failure of one connection must not affect the others
            log.err()

    def connectionLost(self, reason: Failure) -> None:
        """Called by the reactor: when it ends, so do all sockets; when ``doRead`` was interrupted, none does."""
        if not reason.check(ConnectionLost):
            self._reactor.addReader(self)
            return
        for socket in tuple(self._sockets.values()):
            self._end(socket, reason)
        self.close()

    def fileno(self) -> int:
        """Descriptor that the reactor watches; -1 unless the poller is open."""
        return -1 if self._watched is None else self._watched.fileno()

    def logPrefix(self) -> str:
        """Name in Twisted's log."""
        return "vehicles"
