"""The floor: a server that does only the work that every gateway has to do.

It checks certificates, upgrades, decrypts, counts frames and acknowledges them, with the standard library's ssl and epoll.
"""

import argparse
import select
import socket
import ssl
from pathlib import Path

from frames import read_frames

SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
READ_BYTES = 65_536
HEADER_BYTES = 8


class Connection:
    """One vehicle."""

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self.stream = stream
        self.proceed = self._shake_hands
        self._rest = b""

    def _shake_hands(self, _ack: bytes) -> None:
        self.stream.do_handshake()
        self.proceed = self._upgrade

    def _upgrade(self, _ack: bytes) -> None:
        while not self._rest.endswith(b"\r\n\r\n"):
            self._rest += self._read()
        self._rest = b""
        self.stream.send(SWITCHING)
        self.proceed = self._acknowledge

    def _acknowledge(self, ack: bytes) -> None:
        frames = 0
        try:
            while True:
                data = self._rest + self._read()
                at, size = 0, len(data)
                while size - at >= HEADER_BYTES:
                    end = at + HEADER_BYTES + (data[at + 2] << 8 | data[at + 3])
                    if end > size:
                        break
                    frames += 1
                    at = end
                self._rest = data[at:]
        finally:
            if frames:
                self.stream.send(ack * frames)

    def _read(self) -> bytes:
        data = self.stream.recv(READ_BYTES)
        if not data:
            raise ConnectionError("closed by the vehicle")
        return data


def serve(tls: ssl.SSLContext, ack: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, Connection] = {}
    print(listener.getsockname()[1], flush=True)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                plain = listener.accept()[0]
                plain.setblocking(False)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stream = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
                connections[stream.fileno()] = Connection(stream)
                poll.register(stream, select.EPOLLIN)
                continue
            connection = connections[descriptor]
            try:
                connection.proceed(ack)
            except ssl.SSLWantReadError:
                pass
            except OSError:
                poll.unregister(descriptor)
                del connections[descriptor]
                connection.stream.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="with frames.json, and the certificates in certs/")
    folder: Path = parser.parse_args().folder
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "certs" / "ca.crt")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(folder / "certs" / "server.crt", folder / "certs" / "server.key")
    serve(tls, read_frames(folder / "frames.json")[1])


if __name__ == "__main__":
    main()
