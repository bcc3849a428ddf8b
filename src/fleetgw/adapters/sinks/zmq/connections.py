"""Which subscribers read too slowly, and cutting them: the library does neither."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import zmq

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
"""What of the socket's monitor is needed here."""


class Connections:
    """The connections to a bound socket, by the library's own descriptors."""

    def __init__(self) -> None:
        self._descriptors: set[int] = set()

    def hear(self, event: Mapping[str, object]) -> None:
        """Take an event of the socket's monitor."""
        if event["event"] == zmq.EVENT_ACCEPTED:
            self._descriptors.add(int(event["value"]))  # type: ignore[call-overload]  # a descriptor, for these events
        elif event["event"] == zmq.EVENT_DISCONNECTED:
            self._descriptors.discard(int(event["value"]))  # type: ignore[call-overload]  # as above

    def cut_slowest(self, endpoint: str) -> int:
        """Cut those for which most is waiting to be read; how many.

        The library drops what it holds for one that is cut; it connects again by itself.
        """
        with ExitStack() as stack:
            waiting = []
            for descriptor in self._descriptors:
                connection = _connection(descriptor, endpoint)
                if connection is not None:
                    waiting.append((_unread_bytes(stack.enter_context(connection)), connection))
            most_bytes = max([unread_bytes for unread_bytes, _ in waiting], default=0)
            slow = [connection for unread_bytes, connection in waiting if unread_bytes and unread_bytes >= most_bytes // 2]
            for connection in slow:
                connection.shutdown(socket.SHUT_RDWR)
            return len(slow)


def _connection(descriptor: int, endpoint: str) -> socket.socket | None:
    """A descriptor of our own for a connection to ``endpoint``; None when that is gone and its number another's by now."""
    with ExitStack() as stack, suppress(OSError):
        own = os.dup(descriptor)
        stack.callback(os.close, own)
        connection = socket.socket(fileno=own)
        stack.pop_all()
        stack.enter_context(connection)
        connection.getpeername()
        if endpoint.endswith(_end(connection.getsockname())):
            stack.pop_all()
            return connection
    return None


def _end(name: object) -> str:
    match name:
        case (_, int(port), *_):
            return f":{port}"
        case bytes():
            return f"//@{name[1:].decode(errors='replace')}"
        case _:
            return f"//{name}"


def _unread_bytes(connection: socket.socket) -> int:
    """What the subscriber's side has not taken from the kernel yet."""
    try:
        answer = fcntl.ioctl(connection, termios.TIOCOUTQ, struct.pack("i", 0))
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
