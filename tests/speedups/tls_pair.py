"""Two ends of TLS: a client in memory, and a server's end that the functions of one path read and write."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from fleetgw.domain.records import Envelope
from fleetgw.simulator.certificates import make_authority, make_server

if TYPE_CHECKING:
    from socket import socket

    from fleetgw.adapters.ingress.tls_records import Functions

BUFFER_BYTES = 1 << 14
VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)

GARBAGE = (
    *(b"\x17\x03\x03\x00\x05hello", b"\x17\x03\x03\x00\x00", b"\x17\x03\x03\xff\xff", b"\x17\x03\x03\x00\x11" + bytes(17)),
    *(
        b"\x16\x03\x03\x00\x01\x00",
        b"\x14\x03\x03\x00\x01\x01",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"GET / HTTP/1.1\r\n",
        b"\x00",
    ),
)
"""Bytes between records: records of no connection, a part of one, an alert that is not encrypted, another protocol."""


def clear_errors() -> None:
    """Clear OpenSSL's queue of errors, which all connections share."""
    SSL._lib.ERR_clear_error()  # type: ignore[attr-defined]  # the cffi library behind pyOpenSSL, not typed


@cache
def _contexts(version: int) -> tuple[SSL.Context, SSL.Context]:
    now = datetime.now(UTC)
    credential = make_server(make_authority(now, 1), ["localhost"], now, 1)
    client, server = SSL.Context(SSL.TLS_CLIENT_METHOD), SSL.Context(SSL.TLS_SERVER_METHOD)
    server.use_certificate(credential.certificate)
    server.use_privatekey(credential.key)
    for context in (client, server):
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    server.set_options(SSL.OP_NO_RENEGOTIATION)
    return client, server


class TlsPair:
    """A client and a server's end after their handshake.

    :param functions: of the server's path.
    """

    def __init__(self, functions: Functions, version: int = SSL.TLS1_3_VERSION) -> None:
        self.functions, self.version = functions, version
        client, server = _contexts(version)
        self.client = SSL.Connection(client, None)
        self.server: Any = SSL.Connection(server, None)  # for its pointers
        self.client.set_connect_state()
        self.server.set_accept_state()
        for _ in range(3):
            self._shake_hands(self.client, self.server)
            self._shake_hands(self.server, self.client)
        self._ssl, self._into_ssl, self._from_ssl = (
            functions.handle(pointer) for pointer in (self.server._ssl, self.server._into_ssl, self.server._from_ssl)
        )

    @staticmethod
    def _shake_hands(end: SSL.Connection, other: SSL.Connection) -> None:
        with suppress(SSL.WantReadError):
            end.do_handshake()
        with suppress(SSL.WantReadError):
            other.bio_write(end.bio_read(BUFFER_BYTES))

    def encrypted(self) -> bytes:
        """Bytes for the server."""
        encrypted = b""
        with suppress(SSL.WantReadError):
            while True:
                encrypted += self.client.bio_read(BUFFER_BYTES)
        return encrypted

    def record(self, plaintext: bytes) -> bytes:
        """A record for the server."""
        self.client.send(plaintext)
        return self.encrypted()

    def receive(self, source: socket | bytes, max_message_bytes: int = -1) -> tuple[int, list[Envelope | bytes], bytes]:
        """See ``tls_records.receive_in_python``."""
        return self.functions.receive(source, self._ssl, self._into_ssl, max_message_bytes, Envelope)

    def send(self, target: socket | None, data: bytes) -> bytes | None:
        """See ``tls_records.send_in_python``."""
        return self.functions.send(target, self._ssl, self._from_ssl, data)

    def decrypted(self, data: bytes) -> bytes:
        """Bytes of the server as the client sees them."""
        if data:
            self.client.bio_write(data)
        plaintext = b""
        with suppress(SSL.WantReadError):
            while True:
                plaintext += self.client.recv(BUFFER_BYTES)
        return plaintext
