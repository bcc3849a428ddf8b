"""Reads the first message of a TLS client, as far as it tells whether the client offers to resume a session."""

from __future__ import annotations

_RECORD_HEADER_BYTES, _MESSAGE_HEADER_BYTES = 5, 4
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_VERSION_AND_RANDOM_BYTES = 2 + 32
_SESSION_TICKET, _PRE_SHARED_KEY, _SUPPORTED_VERSIONS = 35, 41, 43
_MAX_EXTENSIONS = 64
"""Extensions that are looked at: a stranger must not have thousands of empty ones read."""


def offers_resumption(data: bytes) -> bool | None:
    """Whether a client offers to resume a session: by a pre-shared key, a session ticket or, before TLS 1.3, a session id.

    :param data: the first bytes of a connection, from whomever.
    :return: None while bytes of the first TLS record are missing; False for bytes that are no ClientHello, or only a part.
    """
    if data[:1] != bytes([_HANDSHAKE]):
        return False if data else None
    record_bytes = int.from_bytes(data[3:_RECORD_HEADER_BYTES])
    if len(data) < _RECORD_HEADER_BYTES + record_bytes:
        return None
    message = data[_RECORD_HEADER_BYTES : _RECORD_HEADER_BYTES + record_bytes]
    if message[:1] != bytes([_CLIENT_HELLO]):
        return False
    session_id, position = _vector(message, _MESSAGE_HEADER_BYTES + _VERSION_AND_RANDOM_BYTES, 1)
    _, position = _vector(message, position, 2)  # cipher suites
    _, position = _vector(message, position, 1)  # compression methods
    extensions = _extensions(_vector(message, position, 2)[0])
    if _PRE_SHARED_KEY in extensions or extensions.get(_SESSION_TICKET):
        return True
    return bool(session_id) and _SUPPORTED_VERSIONS not in extensions  # TLS 1.3 sends an id that means nothing


def _extensions(data: bytes) -> dict[int, bytes]:
    extensions: dict[int, bytes] = {}
    position = 0
    while position < len(data) and len(extensions) < _MAX_EXTENSIONS:
        kind = int.from_bytes(data[position : position + 2])
        extensions[kind], position = _vector(data, position + 2, 2)
    return extensions


def _vector(data: bytes, position: int, length_bytes: int) -> tuple[bytes, int]:
    """The bytes that a length of ``length_bytes`` stands before, and the position behind them; cut where there are fewer."""
    begin = position + length_bytes
    end = begin + int.from_bytes(data[position:begin])
    return data[begin:end], end
