"""Two connected ends of TLS in memory, for tests of ``tls_records``."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from fleetgw.adapters.ingress.tls_records import Functions, take
from fleetgw.domain.records import Envelope
from fleetgw.simulator.certificates import make_authority, make_server

if TYPE_CHECKING:
    import socket

NOW = datetime.now(UTC)
SERVER = make_server(make_authority(NOW, 30), ["localhost"], NOW, 30)


def move(sender: Any, receiver: Any) -> None:
    """Hand over the encrypted bytes of a pyOpenSSL connection."""
    if encrypted := take(sender._from_ssl):
        receiver.bio_write(encrypted)


class Connected:
    """Two connected ends of TLS in memory; the functions are called with the server's.

    :ivar client: the other end, of pyOpenSSL.
    """

    def __init__(self, functions: Functions, *, handshake: bool = True) -> None:
        of_server, of_client = SSL.Context(SSL.TLS_METHOD), SSL.Context(SSL.TLS_METHOD)
        of_server.use_certificate(SERVER.certificate)
        of_server.use_privatekey(SERVER.key)
        self.server, self.client = SSL.Connection(of_server, None), SSL.Connection(of_client, None)
        self.server.set_accept_state()
        self.client.set_connect_state()
        for _ in range(3 if handshake else 0):
            for end, other in ((self.client, self.server), (self.server, self.client)):
                with contextlib.suppress(SSL.WantReadError):
                    end.do_handshake()
                move(end, other)
        self._functions = functions
        server: Any = self.server
        self.ssl, self.into_ssl, self.from_ssl = map(functions.handle, (server._ssl, server._into_ssl, server._from_ssl))

    def encrypted(self, *plaintexts: bytes) -> bytes:
        """TLS records of the client."""
        for plaintext in plaintexts:
            self.client.send(plaintext)
        return take(self.client._from_ssl)

    def receive(self, source: socket.socket | bytes, max_message_bytes: int = 1_000_000) -> Any:
        """The server receives."""
        return self._functions.receive(source, self.ssl, self.into_ssl, max_message_bytes, Envelope)

    def send(self, data: bytes, target: socket.socket | None = None) -> bytes | None:
        """The server sends."""
        return self._functions.send(target, self.ssl, self.from_ssl, data)

    def decrypted(self, data: bytes) -> bytes:
        """Plaintext of records of the server, whole in the end."""
        self.client.bio_write(data)
        chunks = []
        while True:
            try:
                chunks.append(self.client.recv(1 << 20))
            except SSL.WantReadError:
                return b"".join(chunks)
