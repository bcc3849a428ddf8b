"""Finds and disconnects subscribers that read too slowly, which the library does not do."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import zmq

from fleetgw.adapters.sinks.support.send_queue import unacknowledged_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
"""The events of the socket's monitor that this module needs."""


class Connections:
    """The connections to a bound socket, by the library's descriptors."""

    def __init__(self) -> None:
        self._descriptors: set[int] = set()

    def note(self, event: Mapping[str, object]) -> None:
        """Note an event of the socket's monitor."""
        if event["event"] == zmq.EVENT_ACCEPTED:
            self._descriptors.add(int(event["value"]))  # type: ignore[call-overload]  # a descriptor, for these events
        elif event["event"] == zmq.EVENT_DISCONNECTED:
            self._descriptors.discard(int(event["value"]))  # type: ignore[call-overload]  # as above

    def disconnect_slowest(self, endpoint: str) -> int:
        """Disconnect the subscribers with most unread bytes; returns their number.

        The library then drops the records that it holds for them. They connect again by themselves.
        """
        with ExitStack() as stack:
            waiting = []
            for descriptor in self._descriptors:
                connection = _connection(descriptor, endpoint)
                if connection is not None:
                    waiting.append((unacknowledged_bytes(stack.enter_context(connection)) or 0, connection))
            most_bytes = max([unread_bytes for unread_bytes, _ in waiting], default=0)
            slow = [connection for unread_bytes, connection in waiting if unread_bytes and unread_bytes >= most_bytes // 2]
            for connection in slow:
                connection.shutdown(socket.SHUT_RDWR)
            return len(slow)


def _connection(descriptor: int, endpoint: str) -> socket.socket | None:
    """A duplicate of the descriptor of a connection to ``endpoint``; None if the number belongs to another socket by now."""
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
