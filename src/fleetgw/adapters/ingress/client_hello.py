"""Reads the ClientHello of a TLS handshake (RFC 8446, section 4.1.2), for people: OpenSSL decides on it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_HELLO_BYTES = 16_384
"""Largest size of a ClientHello that is read."""

MAX_EXTENSIONS = MAX_PROTOCOLS = 64
"""Extensions, and protocols of ALPN, that are looked at: a stranger must not have thousands of empty ones read."""

_HANDSHAKE, _CLIENT_HELLO = b"\x16", b"\x01"
_SERVER_NAME, _ALPN, _SESSION_TICKET, _PRE_SHARED_KEY, _SUPPORTED_VERSIONS = 0, 16, 35, 41, 43
_VERSIONS = {0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}


@frozen
class ClientHello:
    """The client's offer.

    :ivar versions: names of the versions that are known, newest first.
    :ivar server_name: the host that the client wants (SNI), other bytes than ASCII replaced; empty without one.
    :ivar protocols: offered by ALPN.
    :ivar ciphers: number of cipher suites.
    :ivar offers_resumption: whether it offers to resume a session: by a pre-shared key, a session ticket or, before TLS 1.3,
        a session id.
    """

    versions: tuple[str, ...]
    server_name: str
    protocols: tuple[str, ...]
    ciphers: int
    offers_resumption: bool


class NoClientHello(ValueError):
    """The bytes are not the beginning of a TLS handshake."""


class HelloReader:
    """Reads the first bytes of one connection as they come. It looks at each byte once: a stranger may send them singly."""

    def __init__(self) -> None:
        self._unread = b""  # the beginning of a record
        self._message = bytearray()  # the handshake message, of the records so far

    def read(self, data: bytes) -> ClientHello | None:
        """Take further bytes; None while more of them are needed. Not to be called after the hello, or a failure.

        :raises NoClientHello: the bytes are no ClientHello, or too long.
        """
        message, data = self._message, self._unread + data
        if len(message) + len(data) > MAX_HELLO_BYTES:
            raise NoClientHello("the ClientHello is too long")
        position = 0
        while not self._is_whole:
            if data[position : position + 1] not in (b"", _HANDSHAKE) or message[:1] not in (b"", _CLIENT_HELLO):
                raise NoClientHello("the first bytes are no ClientHello")
            end = position + 5 + int.from_bytes(data[position + 3 : position + 5], "big")
            if len(data) < max(end, position + 6):
                self._unread = data[position:]
                return None
            message += data[position + 5 : end]
            position = end
        if message[:1] != _CLIENT_HELLO:
            raise NoClientHello("the first bytes are no ClientHello")
        try:
            return _read(bytes(message[4 : 4 + int.from_bytes(message[1:4], "big")]))
        except IndexError as error:
            raise NoClientHello("the ClientHello is cut off") from error

    @property
    def _is_whole(self) -> bool:
        message = self._message
        return len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big")


def _read(message: bytes) -> ClientHello:
    version = int.from_bytes(message[:2], "big")
    position = 34 + 1 + message[34]  # version, random, session id
    ciphers_bytes = int.from_bytes(message[position : position + 2], "big")
    position += 2 + ciphers_bytes
    position += 1 + message[position]  # compression methods
    versions: tuple[int, ...] = (version,)
    server_name, protocols = "", tuple[str, ...]()
    extensions = dict(islice(_extensions(message[position + 2 :]), MAX_EXTENSIONS))
    for kind, content in extensions.items():
        if kind == _SUPPORTED_VERSIONS:
            versions = tuple(int.from_bytes(content[at : at + 2], "big") for at in range(1, len(content) - 1, 2))
        elif kind == _SERVER_NAME:
            server_name = _ascii(content[5:])
        elif kind == _ALPN:
            protocols = tuple(islice(_protocols(content[2:]), MAX_PROTOCOLS))
    known = tuple(_VERSIONS[each] for each in sorted(set(versions), reverse=True) if each in _VERSIONS)
    by_session_id = bool(message[34]) and _SUPPORTED_VERSIONS not in extensions  # TLS 1.3 sends an id that means nothing
    offers = _PRE_SHARED_KEY in extensions or bool(extensions.get(_SESSION_TICKET)) or by_session_id
    return ClientHello(known, server_name, protocols, ciphers_bytes // 2, offers)


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        size = 4 + int.from_bytes(data[2:4], "big")
        yield int.from_bytes(data[:2], "big"), data[4:size]
        data = data[size:]


def _protocols(data: bytes) -> Iterator[str]:
    while data:
        size = 1 + data[0]
        yield _ascii(data[1:size])
        data = data[size:]


def _ascii(content: bytes) -> str:
    text = content.decode("ascii", "replace")
    return text[:255]
