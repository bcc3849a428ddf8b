"""A vehicle's connection over a blocking socket: TLS, the upgrade, the gateway's frames."""

from __future__ import annotations

import select
import socket
import ssl
from typing import TYPE_CHECKING

from tests.support.deadline import DEADLINE_S
from tests.support.faults.records import frame
from tests.support.raw_vehicle import UPGRADE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


class NotUpgraded(OSError):
    """The gateway answered the upgrade with another status."""


def vehicle_tls(certificate: Path | None, authority: Path) -> ssl.SSLContext:
    """The TLS of a vehicle, its key beside its certificate.

    :param certificate: None for a client without one.
    :param authority: that of the gateway's certificate.
    """
    context = ssl.create_default_context(cafile=authority)
    if certificate is not None:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def upgrade_request(txid: str = "") -> bytes:
    """An upgrade request; with an ``X-TXID`` where one is given."""
    return UPGRADE if not txid else UPGRADE[:-2] + f"X-TXID: {txid}\r\n\r\n".encode()


class Connection:
    """Connected when made; each call blocks for ``DEADLINE_S`` at most. For use in a ``with`` statement.

    :param address: the gateway's; its certificate must name ``localhost``.
    :param tls: None for plain TCP.
    :param receive_buffer_bytes: ``SO_RCVBUF``; None for the system's choice.
    :raises OSError: it cannot be connected; ``ssl.SSLError`` where the handshake fails.
    """

    def __init__(
        self, address: tuple[str, int], tls: ssl.SSLContext | None, *, receive_buffer_bytes: int | None = None
    ) -> None:
        plain = socket.socket()
        plain.settimeout(DEADLINE_S)
        try:
            if receive_buffer_bytes is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            plain.connect(address)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket: socket.socket = plain if tls is None else tls.wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def upgrade(self, request: bytes = UPGRADE) -> None:
        """Send the upgrade request and wait for the answer.

        :raises NotUpgraded: the answer is no WebSocket.
        """
        self.send(request)
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise NotUpgraded(head.decode(errors="replace"))
        self._received = bytearray(rest)

    def send(self, data: bytes) -> None:
        """Write all bytes."""
        self.socket.sendall(data)

    def is_readable(self, wait_s: float) -> bool:
        """Whether there is something to read, waiting for it at most ``wait_s``."""
        if self._received or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
            return True
        return bool(select.select([self.socket], [], [], wait_s)[0])

    def receive(self) -> bytes:
        """The next bytes, as they are; none at the end."""
        try:
            return self.socket.recv(65536)
        except ssl.SSLError as error:
            if isinstance(error, TimeoutError):
                raise
            return b""
        except ConnectionError:
            return b""

    def receive_all(self) -> bytes:
        """All bytes until the gateway ends the connection."""
        received = b""
        while data := self.receive():
            received += data
        return bytes(self._received) + received

    def frames(self) -> list[tuple[int, bytes]]:
        """The next whole frames: opcode and content. Reads once where there is none yet; pings are answered.

        :raises ConnectionError: the gateway has ended the connection without a close frame.
        """
        frames = list(self._split())
        if not frames:
            self._receive()
            frames = list(self._split())
        for opcode, content in frames:
            if opcode == PING:
                self.send(frame(content, 0x80 | PONG))
        return frames

    def wait_for_close(self) -> int:
        """Read until the gateway closes; the code of its close frame, 1006 without one."""
        try:
            while True:
                for opcode, content in self.frames():
                    if opcode == CLOSE:
                        return int.from_bytes(content[:2]) if content else 1005
        except ConnectionError:
            return 1006

    def close(self) -> None:
        """Close without any handshake."""
        self.socket.close()

    def _receive(self) -> None:
        data = self.receive()
        if not data:
            raise ConnectionResetError("the gateway has ended the connection")
        self._received += data

    def _split(self) -> Iterator[tuple[int, bytes]]:
        received, at = self._received, 0
        while len(received) - at >= 2:
            size, begin = received[at + 1], at + 2
            if size == 126:
                size, begin = int.from_bytes(received[begin : begin + 2]), begin + 2
            elif size == 127:
                size, begin = int.from_bytes(received[begin : begin + 8]), begin + 8
            if begin + size > len(received):
                break
            yield received[at] & 0x0F, bytes(received[begin : begin + size])
            at = begin + size
        del received[:at]
