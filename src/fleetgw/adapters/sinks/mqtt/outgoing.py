"""The bytes on their way to the broker: handed to the connection in slices, and counted as they leave."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from fleetgw.adapters.sinks.support.send_queue import unacknowledged_bytes

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITCPTransport

SLICE_BYTES = 65_536
"""Handed over at once; also what Twisted's connections buffer before they say that they are full."""


def socket_of(transport: ITCPTransport) -> socket.socket | None:
    """The socket below a transport, also below TLS and WebSocket; None where there is none."""
    below: Any = transport  # Any: no interface tells of what is below, or of handles
    while (lower := getattr(below, "transport", None)) is not None:
        below = lower
    handle = below.getHandle()
    return handle if isinstance(handle, socket.socket) else None


class Outgoing:
    """The bytes to be sent over one connection. They are freed with it.

    Whole packets come in, but slices cut them: whatever is to be sent goes through here.

    :ivar written_bytes: how many bytes came in.
    """

    def __init__(self, transport: ITCPTransport) -> None:
        self._transport = transport
        handle = socket_of(transport)
        self._socket = None if handle is None or unacknowledged_bytes(handle) is None else handle
        self._waiting: list[bytes] = []  # the first last
        self._paused = False
        self.written_bytes = 0
        self._handed_bytes = 0
        self._left_bytes = 0

    @property
    def full(self) -> bool:
        """Whether to write nothing more for now."""
        return self._paused or bool(self._waiting)

    def write(self, data: bytes) -> None:
        """Send, after all that was written before."""
        self.written_bytes += len(data)
        if len(data) > SLICE_BYTES or self._waiting:
            slices = [data[at : at + SLICE_BYTES] for at in range(0, len(data), SLICE_BYTES)]
            self._waiting = slices[::-1] + self._waiting
            self._hand_over()
        else:
            self._handed_bytes += len(data)
            self._transport.write(data)

    def flush(self) -> None:
        """Hand over all, full or not: nothing comes after it."""
        self._paused = False
        while self._waiting:
            self._hand_over()
            self._paused = False

    def _hand_over(self) -> None:
        while self._waiting and not self._paused:
            data = self._waiting.pop()
            self._handed_bytes += len(data)
            self._transport.write(data)

    def pause(self) -> None:
        """The connection is full."""
        self._paused = True

    def resume(self) -> None:
        """The connection has handed all to the system."""
        self._paused = False
        if self._socket is None:
            self._left_bytes = self._handed_bytes
        self._hand_over()

    def left_bytes(self) -> int:
        """How much has left this machine at least; without a socket, what the connection has taken."""
        if self._socket is None:
            if not self._paused:
                self._left_bytes = self._handed_bytes
            return self._left_bytes
        queued = unacknowledged_bytes(self._socket)
        if queued is None:  # the connection has just gone
            return self._left_bytes
        buffered = 2 * SLICE_BYTES if self._paused else SLICE_BYTES if queued else 0
        self._left_bytes = max(self._left_bytes, self._handed_bytes - queued - buffered)
        return self._left_bytes
