"""A command stream over a connected socket, until the connection ends or is due for replacement."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.redis.command_stream import CommandStream
from fleetgw.adapters.sinks.redis.progress import Progress
from fleetgw.adapters.sinks.support.send_queue import unacknowledged_bytes

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.adapters.sinks.redis.server_connection import ServerConnection
    from fleetgw.adapters.sinks.redis.settings import RedisSettings
    from fleetgw.adapters.sinks.redis.waiting import Clocks, Waker

_READ_BYTES = 262_144
_WRITE_BYTES = 262_144
"""Bytes encoded ahead, and offered to the socket at a time: after a full buffer TLS must be given the same bytes again."""

_CHECKS_PER_TIMEOUT = 4
"""Checks, within one time-out, of the bytes that the server's host has acknowledged."""

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Lost(Exception):
    """The connection has ended. ``str()`` has the reason."""


class TimedOut(Lost):
    """There was no progress for too long."""


class Exchange:
    """Sends commands and receives replies.

    :param timeout_s: longest time without progress while replies are due.
    :ivar stream: the commands and replies.
    """

    def __init__(
        self,
        connection: ServerConnection,
        names: Names,
        settings: RedisSettings,
        timeout_s: float,
        clocks: Clocks,
        waker: Waker,
    ) -> None:
        self.stream = CommandStream(names)
        self._connection = connection
        self._settings = settings
        self._timeout_s = timeout_s
        self._clocks = clocks
        self._waker = waker
        self._progress = Progress(timeout_s)
        self._unsent = bytearray()
        self._written_bytes = 0

    def begin(self) -> None:
        """Take the connection's socket.

        :raises NotConnected: the connection is lost already.
        """
        self._socket = self._connection.take_socket()
        self._socket.settimeout(0)
        self._opened_at = self._used_at = self._clocks.monotonic_s()

    def publish(self, parts: Sequence[Part]) -> None:
        """Publish records as soon as the socket takes them."""
        self._used_at = self._clocks.monotonic_s()
        self.stream.publish(parts, int(self._clocks.epoch_s()))

    def step(self, *, may_end: bool) -> bool:
        """Send as much as the socket takes, wait, and receive; returns False when the connection is due for replacement.

        :param may_end: no records wait to be published.
        :raises Lost, NotConnected, OSError: the connection is lost.
        """
        stream, progress = self.stream, self._progress
        self._write()
        if stream.has_finished:  # without any command
            return True
        now = self._clocks.monotonic_s()
        replace_at = None if progress.deadline else self._replace_at()
        until = progress.deadline or replace_at
        if until is not None and progress.is_sending:
            until = min(until, now + self._timeout_s / _CHECKS_PER_TIMEOUT)
        wait_s = None if until is None else until - now
        if self._clocks.wait(self._waker, self._socket, writable=bool(self._unsent), timeout_s=wait_s):
            stream.receive(read(self._socket))
        if progress.deadline is None:
            return replace_at is None or replace_at > self._clocks.monotonic_s() or not may_end
        now = self._clocks.monotonic_s()
        progress.update(stream.replies_taken, self._written_bytes - (unacknowledged_bytes(self._socket) or 0), now)
        if progress.deadline is not None and progress.deadline <= now:
            raise TimedOut(f"no answer within {self._timeout_s:g} s")
        return True

    def _replace_at(self) -> float | None:
        limits = ((self._opened_at, self._settings.max_age_s), (self._used_at, self._settings.max_idle_s))
        return min((since + limit_s for since, limit_s in limits if limit_s is not None), default=None)

    def _write(self) -> None:
        """Send as much as the socket takes; no more is encoded than it may take next."""
        unsent, stream = self._unsent, self.stream
        try:
            while unsent or self._encode():
                with memoryview(unsent) as view:
                    sent = self._socket.send(view[:_WRITE_BYTES])
                del unsent[:sent]
                self._written_bytes += sent
        except _WOULD_BLOCK:
            pass
        except OSError:
            stream.receive(read(self._socket))  # the last reply may refuse a record as too large
            raise

    def _encode(self) -> bool:
        encoded = self.stream.encode(_WRITE_BYTES)
        if encoded:
            self._unsent += encoded
            size_bytes = self._written_bytes + len(encoded)
            self._progress.sending(self.stream.commands_encoded, size_bytes, self._clocks.monotonic_s())
        return bool(encoded)


def read(server: socket.socket) -> bytes:
    """Read all bytes that have arrived.

    :raises Lost: there are none, and the server has closed the connection.
    """
    data = b""
    try:
        while True:
            data += (read := server.recv(_READ_BYTES))
            if not (isinstance(server, ssl.SSLSocket) and server.pending()):
                break
    except _WOULD_BLOCK:
        return data
    if not read and not data:
        raise Lost("it closed the connection")
    return data
