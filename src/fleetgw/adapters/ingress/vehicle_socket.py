"""TCP side of one connection: the protocol above reads the socket, and writes go to it directly when nothing is queued."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Protocol

from fleetgw.adapters.listening.port import AcceptedSocket

if TYPE_CHECKING:
    from twisted.internet.error import ConnectionDone, ConnectionLost

    from fleetgw.adapters.ingress.poller import Poller


class ReadsSocket(Protocol):
    """The protocol above a ``VehicleSocket``."""

    def read(self, source: socket.socket) -> ConnectionLost | ConnectionDone | None:
        """Read the socket; returns the reason for which its connection has ended, as ``doRead`` does."""


class VehicleSocket(AcceptedSocket):
    """A socket to a vehicle. Twisted's own creates a 64 KiB object for each read, which costs more than the read.

    :param poller: reads it while open; else the reactor does.
    """

    def __init__(self, poller: Poller, *args: Any) -> None:  # those of Twisted's ``Server``, which a ``Port`` makes
        self._poller = poller  # first, as Twisted starts to read
        super().__init__(*args)
        self.setTcpNoDelay(True)
        self.setTcpKeepAlive(True)

    def startReading(self) -> None:
        """Read from now on."""
        if not self._poller.add(self):
            super().startReading()

    def stopReading(self) -> None:
        """Read no more."""
        if not self._poller.remove(self):
            super().stopReading()

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]  # Twisted's mixin says Any
        """Have the protocol read the socket."""
        reader: ReadsSocket = self.protocol  # type: ignore[assignment]  # ``VehicleTransport``: ports with this socket have no other
        return reader.read(self.socket)

    @property
    def if_empty(self) -> socket.socket | None:
        """The socket, if bytes may be sent at once: none wait for it in Twisted's buffer."""
        is_empty = not self._tempDataBuffer and not self.dataBuffer and self.connected and not self.disconnecting
        return self.socket if is_empty else None

    def send_now(self, data: bytes) -> bool:
        """Write as many bytes as the socket accepts; the rest, or everything after unsent bytes, goes to Twisted's buffer.

        :return: whether the socket has accepted all bytes.
        """
        target = self.if_empty
        if target is not None:
            try:
                sent = target.send(data)
            except OSError:  # full or broken: Twisted's own write finds out
                pass
            else:
                if sent == len(data):
                    return True
                data = data[sent:]
        self.write(data)
        return False

    def limit_unacknowledged(self, seconds: float) -> None:
        """Have the kernel end the connection once sent bytes were not acknowledged for so long, where it can (Linux).

        A later write meets the error.

        :param seconds: 0 for the kernel's own limit, a quarter of an hour.
        """
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))

    @property
    def unsent_bytes(self) -> int:
        """Number of bytes that wait for the socket."""
        unsent: int = self._tempDataLen + len(self.dataBuffer) - self.offset
        return unsent
