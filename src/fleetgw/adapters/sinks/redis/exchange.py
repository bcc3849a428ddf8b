"""One connection in use: sends what is due and takes the answers, until it ends or is due for replacement."""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.redis.command_stream import Conversation
from fleetgw.adapters.sinks.redis.poison_records import Progress
from fleetgw.adapters.sinks.support.send_queue import unacknowledged_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.redis.connectors import ServerConnection
    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.adapters.sinks.redis.settings import RedisSettings

_READ_BYTES = 262_144
_WRITE_BYTES = 262_144
"""So much is encoded ahead, and offered to the socket at a time: TLS wants the same bytes again after a full buffer."""

_LOOKS = 4
"""How often in one time-out it is looked at how much of a question the server's host has taken."""

_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Lost(Exception):
    """The connection has ended. ``str()`` says how."""


class TimedOut(Lost):
    """Nothing moved for too long."""


class Waking:
    """Wakes a thread that waits for a socket."""

    def __init__(self) -> None:
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0)
        self._waker.settimeout(0)

    def fileno(self) -> int:
        """Readable when the thread was woken."""
        return self._woken.fileno()

    def wake(self) -> None:
        """From any thread."""
        with suppress(OSError):  # it has been woken often enough, or has ended
            self._waker.send(b"\0")

    def clear(self) -> None:
        """Forget it, before looking what there is to do."""
        with suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass

    def close(self) -> None:
        """Let go."""
        self._woken.close()
        self._waker.close()


class Clocks:
    """The time, and waiting; a test has its own."""

    def epoch_s(self) -> float:
        """The wall clock: leases of subscribers are given by it."""
        return time.time()

    def monotonic_s(self) -> float:
        """For everything else."""
        return time.monotonic()

    def wait(self, waking: Waking, server: socket.socket | None, *, writable: bool, timeout_s: float | None) -> bool:
        """Wait until the thread is woken, or the server's socket can be read or written; returns whether it can.

        :param writable: whether to wait for that too.
        """
        poll = select.poll()
        poll.register(waking, select.POLLIN)
        if server is not None:
            poll.register(server, select.POLLIN | select.POLLOUT if writable else select.POLLIN)
        ready = poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000 + 1)
        return any(descriptor != waking.fileno() for descriptor, _ in ready)


class Talk:
    """A conversation over a connection.

    :param timeout_s: how long nothing may move while answers are due.
    :ivar conversation: what is said and heard.
    """

    def __init__(
        self,
        connection: ServerConnection,
        names: Names,
        settings: RedisSettings,
        timeout_s: float,
        clocks: Clocks,
        waking: Waking,
    ) -> None:
        self.conversation = Conversation(names)
        self._connection = connection
        self._settings = settings
        self._timeout_s = timeout_s
        self._clocks = clocks
        self._waking = waking
        self._progress = Progress(timeout_s)
        self._unsent = bytearray()
        self._written_bytes = 0

    def begin(self) -> None:
        """:raises NotConnected: the connection was lost before."""
        self._socket = self._connection.take_socket()
        self._socket.settimeout(0)
        self._opened_at = self._used_at = self._clocks.monotonic_s()

    def say(self, parts: Sequence[Part]) -> None:
        """Publish records as soon as the socket takes them."""
        self._used_at = self._clocks.monotonic_s()
        self.conversation.say(parts, int(self._clocks.epoch_s()))

    def go_on(self, *, may_end: bool) -> bool:
        """Send and hear what can be, after waiting for it; False when the connection is due for replacement.

        :param may_end: nothing waits to be said.
        :raises Lost, NotConnected, OSError: the connection is of no more use.
        """
        conversation, progress = self.conversation, self._progress
        self._write()
        if conversation.has_finished:  # without asking the server anything
            return True
        now = self._clocks.monotonic_s()
        renew_at = None if progress.deadline else self._renew_at()
        until = progress.deadline or renew_at
        if until is not None and progress.is_sending:
            until = min(until, now + self._timeout_s / _LOOKS)
        wait_s = None if until is None else until - now
        if self._clocks.wait(self._waking, self._socket, writable=bool(self._unsent), timeout_s=wait_s):
            conversation.hear(read(self._socket))
        if progress.deadline is None:
            return renew_at is None or renew_at > self._clocks.monotonic_s() or not may_end
        now = self._clocks.monotonic_s()
        progress.seen(conversation.replies_heard, self._written_bytes - (unacknowledged_bytes(self._socket) or 0), now)
        if progress.deadline is not None and progress.deadline <= now:
            raise TimedOut(f"no answer within {self._timeout_s:g} s")
        return True

    def _renew_at(self) -> float | None:
        limits = ((self._opened_at, self._settings.max_age_s), (self._used_at, self._settings.max_idle_s))
        return min((since + limit_s for since, limit_s in limits if limit_s is not None), default=None)

    def _write(self) -> None:
        """As much as the socket takes; no more is encoded than it may take next."""
        unsent, conversation = self._unsent, self.conversation
        try:
            while unsent or self._encode():
                with memoryview(unsent) as view:
                    sent = self._socket.send(view[:_WRITE_BYTES])
                del unsent[:sent]
                self._written_bytes += sent
        except _LATER:
            pass
        except OSError:
            conversation.hear(read(self._socket))  # before it closed it may have said which record it refuses
            raise

    def _encode(self) -> bool:
        said = self.conversation.said(_WRITE_BYTES)
        if said:
            self._unsent += said
            self._progress.said(self.conversation.commands_said, self._written_bytes + len(said), self._clocks.monotonic_s())
        return bool(said)


def read(server: socket.socket) -> bytes:
    """Everything that is there.

    :raises Lost: nothing is, and nothing will come any more.
    """
    data = b""
    try:
        while True:
            data += (read := server.recv(_READ_BYTES))
            if not (isinstance(server, ssl.SSLSocket) and server.pending()):
                break
    except _LATER:
        return data
    if not read and not data:
        raise Lost("it closed the connection")
    return data
