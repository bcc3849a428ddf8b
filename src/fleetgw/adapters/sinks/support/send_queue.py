"""The kernel's send queue of a socket: written bytes that the peer's host has not acknowledged."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


def unacknowledged_bytes(connected: socket.socket) -> int | None:
    """Number of bytes in the send queue; None where the system does not report it, or the socket is closed."""
    try:
        from fcntl import ioctl
        from termios import TIOCOUTQ

        return int.from_bytes(ioctl(connected, TIOCOUTQ, bytes(4)), sys.byteorder)
    except (ImportError, OSError, ValueError):  # ValueError: closed
        return None
