"""Waits of a connection's thread: for its socket, or until another thread wakes it."""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress


class Waker:
    """Wakes a thread that waits for a socket."""

    def __init__(self) -> None:
        self._receiving, self._sending = socket.socketpair()
        self._receiving.settimeout(0)
        self._sending.settimeout(0)

    def fileno(self) -> int:
        """A descriptor that is readable from ``wake`` until ``clear``."""
        return self._receiving.fileno()

    def wake(self) -> None:
        """Wake the thread; may be called from any thread."""
        with suppress(OSError):  # the socket is full of earlier calls, or closed
            self._sending.send(b"\0")

    def clear(self) -> None:
        """Reset the descriptor; to be called before the thread looks for work."""
        with suppress(BlockingIOError):
            while self._receiving.recv(4096):
                pass

    def close(self) -> None:
        """Close the sockets."""
        self._receiving.close()
        self._sending.close()


class Clocks:
    """The clocks, and waiting; a test has its own."""

    def epoch_s(self) -> float:
        """The wall clock, in which subscriptions expire."""
        return time.time()

    def monotonic_s(self) -> float:
        """The clock for everything else."""
        return time.monotonic()

    def wait(self, waker: Waker, server: socket.socket | None, *, writable: bool, timeout_s: float | None) -> bool:
        """Wait for the waker or the server's socket; returns whether the socket is ready.

        :param writable: also wait until the socket can be written.
        """
        poll = select.poll()
        poll.register(waker, select.POLLIN)
        if server is not None:
            poll.register(server, select.POLLIN | select.POLLOUT if writable else select.POLLIN)
        ready = poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000 + 1)
        return any(descriptor != waker.fileno() for descriptor, _ in ready)
