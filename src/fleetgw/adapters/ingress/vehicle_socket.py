"""The TCP side of one connection: reads into one buffer shared by all, writes at once when nothing is queued before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

from fleetgw.adapters.listening.port import AcceptedSocket

if TYPE_CHECKING:
    from twisted.internet.error import ConnectionDone, ConnectionLost

READ_BYTES = 1 << 16
read_buffer = bytearray(READ_BYTES)
"""The bytes of the last read of any socket; valid only while ``bytes_read`` runs."""


class ReadsFromBuffer(Protocol):
    """The protocol above a ``VehicleSocket``."""

    def bytes_read(self, size: int) -> None:
        """``size`` bytes have come; they stand at the front of ``read_buffer``."""


class VehicleSocket(AcceptedSocket):
    """A server's socket to a vehicle. A fresh 64 KiB object for each read, as Twisted makes, costs more than the read."""

    def __init__(self, *args: Any) -> None:  # those of Twisted's ``Server``, which a ``Port`` makes
        super().__init__(*args)
        self.setTcpNoDelay(True)
        self.setTcpKeepAlive(True)

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]  # Twisted's mixin says Any
        """The socket is readable."""
        try:
            size = self.socket.recv_into(read_buffer)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not size:
            return CONNECTION_DONE
        reader: ReadsFromBuffer = self.protocol  # type: ignore[assignment]  # the door's factory makes no other
        reader.bytes_read(size)
        return None

    def send_now(self, data: bytes) -> bool:
        """Write at once as many bytes as the socket takes; the others, or all behind unsent bytes, by Twisted's buffer.

        :return: whether the socket has taken all of them.
        """
        if not self._tempDataBuffer and not self.dataBuffer and self.connected and not self.disconnecting:
            try:
                sent = self.socket.send(data)
            except OSError:  # full, or broken: Twisted's own way finds out which
                pass
            else:
                if sent == len(data):
                    return True
                data = data[sent:]
        self.write(data)
        return False

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for the socket."""
        unsent: int = self._tempDataLen + len(self.dataBuffer) - self.offset
        return unsent
