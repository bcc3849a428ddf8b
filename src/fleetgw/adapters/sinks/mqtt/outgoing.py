"""Send buffer: hands bytes to the connection in slices, and counts the bytes that have left this machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from fleetgw.adapters.sinks.support.send_queue import unacknowledged_bytes

if TYPE_CHECKING:
    from twisted.internet.interfaces import ITCPTransport

SLICE_BYTES = 65_536
"""Size of a slice; also the buffer size at which Twisted's connections pause their producer."""


def socket_of(transport: ITCPTransport) -> socket.socket | None:
    """The socket below a transport, also below TLS and WebSocket; None where there is none."""
    below: Any = transport  # Any: no interface has the transport below, or its handle
    while (lower := getattr(below, "transport", None)) is not None:
        below = lower
    handle = below.getHandle()
    return handle if isinstance(handle, socket.socket) else None


class Outgoing:
    """The bytes to be sent over one connection, which are freed with it.

    Slices do not end with packets, so every write to the connection has to pass through here.

    :ivar written_bytes: number of bytes written.
    """

    def __init__(self, transport: ITCPTransport) -> None:
        self._transport = transport
        handle = socket_of(transport)
        self._socket = None if handle is None or unacknowledged_bytes(handle) is None else handle
        self._waiting: list[bytes] = []  # in reverse order
        self._paused = False
        self.written_bytes = 0
        self._handed_bytes = 0
        self._left_bytes = 0

    @property
    def full(self) -> bool:
        """Backpressure: whether to write nothing more for now."""
        return self._paused or bool(self._waiting)

    def write(self, data: bytes) -> None:
        """Send bytes, after all earlier ones."""
        self.written_bytes += len(data)
        if len(data) > SLICE_BYTES or self._waiting:
            slices = [data[at : at + SLICE_BYTES] for at in range(0, len(data), SLICE_BYTES)]
            self._waiting = slices[::-1] + self._waiting
            self._hand_over()
        else:
            self._handed_bytes += len(data)
            self._transport.write(data)

    def flush(self) -> None:
        """Hand over all bytes, even to a full connection; nothing may be written afterwards."""
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
        """The connection has handed all bytes to the system."""
        self._paused = False
        if self._socket is None:
            self._left_bytes = self._handed_bytes
        self._hand_over()

    def left_bytes(self) -> int:
        """Bytes that have left this machine at least; without a socket, the bytes that the connection has taken."""
        if self._socket is None:
            if not self._paused:
                self._left_bytes = self._handed_bytes
            return self._left_bytes
        queued = unacknowledged_bytes(self._socket)
        if queued is None:  # the connection was just lost
            return self._left_bytes
        buffered = 2 * SLICE_BYTES if self._paused else SLICE_BYTES if queued else 0
        self._left_bytes = max(self._left_bytes, self._handed_bytes - queued - buffered)
        return self._left_bytes
