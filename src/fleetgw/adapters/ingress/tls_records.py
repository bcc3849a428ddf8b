"""TLS records of established connections: from a socket to messages, and from replies to a socket, in one call each.

In C where the extension is there and the addresses of OpenSSL's functions can be had; else in Python, by pyOpenSSL's own
bindings, where pyOpenSSL makes five calls. Nothing but the handle differs that a connection hands in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fleetgw.adapters.ingress.fast_frames import BYTES_AT_ONCE, split
from fleetgw.adapters.ingress.openssl_library import ffi as _ffi
from fleetgw.adapters.ingress.openssl_library import lib as _lib
from fleetgw.adapters.speedups import SPEEDUPS

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket
    from types import ModuleType

    from fleetgw.domain.records import Envelope

    Received = tuple[int, list[Envelope | bytes], bytes]

READ_BYTES = 1 << 16
"""Maximum number of bytes that one read takes from a socket."""

RECORDS_AT_ONCE = 64
"""Number of TLS records decrypted between two reads of the clock: less than a tenth of a millisecond of small ones."""

DECRYPTED_ALL, MORE_ENCRYPTED, INCOMPLETE, END_OF_TLS, NO_BYTES, CLOSED, LOST = range(7)
"""The state of a connection after ``receive``.

The first four may have plaintext: every byte is decrypted; ``RECORDS_AT_ONCE`` are, and further bytes remain; a record is
incomplete; or the peer has ended TLS or violated it, which OpenSSL reports again when it is asked again.
The others have none: the socket has no bytes; the peer has closed it; or it is broken.
"""

_BUFFER_BYTES = 1 << 18
_buffer = _ffi.new("char[]", _BUFFER_BYTES)
_bytes = _ffi.buffer
_read_buffer = bytearray(READ_BYTES)
_read_pointer = _ffi.from_buffer(_read_buffer)
# looked up once: an attribute of a cffi library costs a third of the call
_ssl_read, _ssl_write, _ssl_get_error = _lib.SSL_read, _lib.SSL_write, _lib.SSL_get_error
_bio_read, _bio_write, _bio_pending = _lib.BIO_read, _lib.BIO_write, _lib.BIO_get_mem_data
_NULL = _ffi.NULL
SSL_ERROR_WANT_READ = 2  # openssl/ssl.h

_SIGNATURES = {
    "SSL_read": "int(*)(SSL *, void *, int)",
    "SSL_write": "int(*)(SSL *, void *, int)",
    "SSL_get_error": "int(*)(SSL *, int)",
    "BIO_read": "int(*)(BIO *, void *, int)",
    "BIO_write": "int(*)(BIO *, void *, int)",
    "BIO_get_mem_data": "long(*)(BIO *, char * *)",
}
"""The functions that the extension calls, in its order, as it calls them."""


def read_socket(source: socket) -> tuple[int, bytes]:
    """Read a socket that does not block.

    :return: ``DECRYPTED_ALL`` and its bytes; or ``NO_BYTES``, ``CLOSED`` or ``LOST``.
    """
    status, size = _fill_buffer(source)
    return status, bytes(memoryview(_read_buffer)[:size])


def _fill_buffer(source: socket) -> tuple[int, int]:
    try:
        size = source.recv_into(_read_buffer)
    except BlockingIOError:
        return NO_BYTES, 0
    except OSError:
        return LOST, 0
    return DECRYPTED_ALL if size else CLOSED, size


def receive_in_python(
    source: socket | bytes, ssl: Any, into_ssl: Any, max_message_bytes: int, make: type[Envelope]
) -> Received:
    """Read a socket, decrypt its bytes behind those that remain from before, and parse the messages in the plaintext.

    :param source: a socket that does not block; or encrypted bytes, none to decrypt only those that remain.
    :param ssl: handle of the connection, as ``into_ssl`` of its buffer; see ``Functions.handle``.
    :param max_message_bytes: see ``split``; negative if the plaintext does not start with a frame, and is to stay whole.
    :return: the state of the connection, the messages, and the plaintext behind them.
    """
    if isinstance(source, bytes):
        _bio_write(into_ssl, source, len(source))
    else:
        status, size = _fill_buffer(source)
        if status:
            return status, [], b""
        _bio_write(into_ssl, _read_pointer, size)
    chunks: list[bytes] = []
    while (size := _ssl_read(ssl, _buffer, _BUFFER_BYTES)) > 0:
        chunks.append(_bytes(_buffer, size)[:])
        if not _bio_pending(into_ssl, _NULL):
            status = DECRYPTED_ALL
            break
        if len(chunks) == RECORDS_AT_ONCE:
            status = MORE_ENCRYPTED
            break
    else:
        status = INCOMPLETE if _ssl_get_error(ssl, size) == SSL_ERROR_WANT_READ else END_OF_TLS
    plaintext = b"".join(chunks)
    if max_message_bytes < 0:
        return status, [], plaintext
    messages, position = split(plaintext, 0, BYTES_AT_ONCE, max_message_bytes, make)
    return status, messages, plaintext[position:]


def send_in_python(target: socket | None, ssl: Any, from_ssl: Any, data: bytes) -> bytes | None:
    """Encrypt bytes, and send them together with those that OpenSSL has encrypted before.

    :param target: a socket that does not block; None to send nothing.
    :param ssl: handle of the connection, as ``from_ssl`` of its buffer; see ``Functions.handle``.
    :return: the encrypted bytes that the socket has not taken; None if OpenSSL does not take the data.
    """
    rest = data
    while (written := _ssl_write(ssl, rest, len(rest))) < len(rest):  # the vehicle wants small records
        if written <= 0:
            return None
        rest = rest[written:]
    encrypted = take(from_ssl)
    if target is None:
        return encrypted
    try:
        return encrypted[target.send(encrypted) :]
    except OSError:  # full or broken: the next write finds out
        return encrypted


def take(bio: Any) -> bytes:
    """Remove the bytes from one of OpenSSL's buffers.

    :param bio: a pointer of cffi, such as a pyOpenSSL connection's ``_from_ssl``: bytes for its peer.
    """
    taken = b""
    while (size := _bio_read(bio, _buffer, _BUFFER_BYTES)) > 0:
        taken += _bytes(_buffer, size)[:]
        if size < _BUFFER_BYTES:
            break
    return taken


class Functions(NamedTuple):
    """The functions of one path.

    :ivar handle: makes the handle that the others take of one of OpenSSL's objects; it must not be used once that is freed.
    """

    receive: Callable[[socket | bytes, Any, Any, int, type[Envelope]], Received]
    send: Callable[[socket | None, Any, Any, bytes], bytes | None]
    handle: Callable[[Any], Any]


def choose(speedups: ModuleType | None) -> Functions:
    """The functions in C, if there is the extension and OpenSSL's can be called from it."""
    if speedups is not None:
        try:
            speedups.use_openssl(*_addresses())
        except (ImportError, AttributeError, TypeError, _ffi.error):
            pass  # another version of cryptography, whose private parts differ
        else:
            return Functions(speedups.receive, speedups.send, _address)
    return Functions(receive_in_python, send_in_python, lambda pointer: pointer)


def _address(pointer: Any) -> int:
    return int(_ffi.cast("uintptr_t", pointer))


def _addresses() -> list[int]:
    """Addresses of the functions of ``_SIGNATURES``.

    :raises ImportError: cryptography has no such library.
    :raises AttributeError: it has no such function.
    :raises TypeError: the function has another signature, or ``ffi.error``, it has no such types.
    """
    from cryptography.hazmat.bindings._rust import _openssl  # not typed, and of no use to the path in Python

    addresses = []
    for name, signature in _SIGNATURES.items():
        function = _openssl.ffi.addressof(_openssl.lib, name)
        if _openssl.ffi.typeof(function) is not _openssl.ffi.typeof(signature):
            raise TypeError(name)
        addresses.append(_address(function))
    return addresses


receive, send, handle = choose(SPEEDUPS)
