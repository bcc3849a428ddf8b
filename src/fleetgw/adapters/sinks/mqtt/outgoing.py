"""The bytes on their way to the broker: handed to the connection in slices, and counted as they leave."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import ITCPTransport

SLICE_BYTES = 65_536
"""Handed over at once; also what Twisted's connections buffer before they say that they are full."""

_SIOCOUTQ = 0x5411
"""Linux: bytes in a socket's send queue that the peer's TCP has not acknowledged."""


def socket_of(transport: ITCPTransport) -> socket.socket | None:
    """The socket below a transport, also below TLS and WebSocket; None where there is none."""
    below: Any = transport  # Any: no interface tells of what is below, or of handles
    while (lower := getattr(below, "transport", None)) is not None:
        below = lower
    handle = below.getHandle()
    return handle if isinstance(handle, socket.socket) else None


def _queue_size(handle: socket.socket | None) -> Callable[[], int] | None:
    if handle is None or sys.platform != "linux":
        return None
    from fcntl import ioctl

    def size_bytes() -> int:
        return int.from_bytes(ioctl(handle, _SIOCOUTQ, bytes(4)), sys.byteorder)

    return size_bytes


class Outgoing:
    """What is to be sent over one connection. Nothing of it stays once the connection has gone and this is dropped.

    Whole packets come in, but slices cut them: whatever is to be sent goes through here.

    :ivar written_bytes: how many bytes came in.
    """

    def __init__(self, transport: ITCPTransport) -> None:
        self._transport = transport
        self._queue_size = _queue_size(socket_of(transport))
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
        if self._queue_size is None:
            self._left_bytes = self._handed_bytes
        self._hand_over()

    def left_bytes(self) -> int:
        """How much has left this machine at least; without a socket, what the connection has taken."""
        if self._queue_size is None:
            if not self._paused:
                self._left_bytes = self._handed_bytes
            return self._left_bytes
        try:
            queued = self._queue_size()
        except (OSError, ValueError):  # the connection has just gone
            return self._left_bytes
        buffered = 2 * SLICE_BYTES if self._paused else SLICE_BYTES if queued else 0
        self._left_bytes = max(self._left_bytes, self._handed_bytes - queued - buffered)
        return self._left_bytes
