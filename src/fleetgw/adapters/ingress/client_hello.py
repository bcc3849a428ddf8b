"""Reads the ClientHello of a TLS handshake (RFC 8446, section 4.1.2), for people: OpenSSL decides on it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_HELLO_BYTES = 16_384
"""Largest size of a ClientHello that is read."""

MAX_EXTENSIONS = 64
"""Extensions that are looked at: a stranger must not have thousands of empty ones read."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN, _SESSION_TICKET, _PRE_SHARED_KEY, _SUPPORTED_VERSIONS = 0, 16, 35, 41, 43
_VERSIONS = {0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}


@frozen
class ClientHello:
    """The client's offer.

    :ivar versions: names of the versions that are known, newest first.
    :ivar server_name: the host that the client wants (SNI); empty without one, or where it is no ASCII text.
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


def read_client_hello(data: bytes) -> ClientHello | None:
    """Read the first bytes of a connection; None while more of them are needed.

    :raises NoClientHello: they are no ClientHello, or too long.
    """
    try:
        message = _message(data)
        return None if message is None else _read(message)
    except (IndexError, StopIteration) as error:
        raise NoClientHello("the ClientHello is cut off") from error


def _message(data: bytes) -> bytes | None:
    """The handshake message, which may be in several records; None while it is incomplete."""
    message = b""
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        if data[:1] not in (b"", bytes([_HANDSHAKE])) or message[:1] not in (b"", bytes([_CLIENT_HELLO])):
            raise NoClientHello("the first bytes are no ClientHello")
        if len(message) + len(data) > MAX_HELLO_BYTES:
            raise NoClientHello("the ClientHello is too long")
        size = 5 + int.from_bytes(data[3:5], "big")
        if len(data) < max(size, 6):
            return None
        message, data = message + data[5:size], data[size:]
    if message[:1] != bytes([_CLIENT_HELLO]):
        raise NoClientHello("the first bytes are no ClientHello")
    return message[4 : 4 + int.from_bytes(message[1:4], "big")]


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
            protocols = tuple(_protocols(content[2:]))
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
