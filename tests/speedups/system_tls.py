"""A client's TLS 1.3 by the system's OpenSSL: unlike pyOpenSSL, it can update keys (RFC 8446, section 4.6.3)."""

from __future__ import annotations

from ctypes import CDLL, c_void_p, create_string_buffer, string_at
from ctypes.util import find_library
from typing import TYPE_CHECKING, Any  # Any: functions of a C library

from OpenSSL import SSL

if TYPE_CHECKING:
    from pathlib import Path

    from fleetgw.simulator.certificates import Credential

LIBRARY = find_library("ssl")
"""None where the system has none."""

_PEM = 1
_BUFFER_BYTES = 1 << 16
_ERRORS: dict[int, type[SSL.Error]] = {2: SSL.WantReadError, 6: SSL.ZeroReturnError}
"""By the result of ``SSL_get_error``; any other is ``SSL.Error``."""

_NEW = ("TLS_client_method", "SSL_CTX_new", "SSL_new", "BIO_s_mem", "BIO_new")
"""Functions that return pointers."""


class SystemTls:
    """Those methods of ``SSL.Connection`` that a vehicle of the tests needs, and a key update. Its memory is never freed.

    :param folder: for the files of the certificate and its key.
    """

    _buffer = create_string_buffer(_BUFFER_BYTES)

    def __init__(self, credential: Credential, folder: Path) -> None:
        self._lib: Any = CDLL(LIBRARY)
        for name in _NEW:
            getattr(self._lib, name).restype = c_void_p
        certificate, key = folder / "client.crt", folder / "client.key"
        certificate.write_bytes(credential.certificate_pem())
        key.write_bytes(credential.key_pem())
        lib = self._lib
        context = c_void_p(lib.SSL_CTX_new(c_void_p(lib.TLS_client_method())))
        lib.SSL_CTX_use_certificate_file(context, str(certificate).encode(), _PEM)
        lib.SSL_CTX_use_PrivateKey_file(context, str(key).encode(), _PEM)
        self._ssl = c_void_p(lib.SSL_new(context))
        self._into_ssl, self._from_ssl = (c_void_p(lib.BIO_new(c_void_p(lib.BIO_s_mem()))) for _ in range(2))
        lib.SSL_set_bio(self._ssl, self._into_ssl, self._from_ssl)

    def set_connect_state(self) -> None:
        """See ``SSL.Connection``."""
        self._lib.SSL_set_connect_state(self._ssl)

    def do_handshake(self) -> None:
        """See ``SSL.Connection``."""
        self._checked(self._lib.SSL_do_handshake(self._ssl))

    def update_keys(self, *, both: bool) -> None:
        """Write the next bytes with a new key, and ask the other side to do so too if ``both``."""
        self._checked(self._lib.SSL_key_update(self._ssl, int(both)))
        self.do_handshake()

    def send(self, data: bytes) -> None:
        """See ``SSL.Connection``."""
        self._checked(self._lib.SSL_write(self._ssl, data, len(data)))

    def recv(self, size_bytes: int) -> bytes:
        """See ``SSL.Connection``."""
        size = self._lib.SSL_read(self._ssl, self._buffer, min(size_bytes, _BUFFER_BYTES))
        return string_at(self._buffer, self._checked(size))

    def bio_read(self, size_bytes: int) -> bytes:
        """See ``SSL.Connection``."""
        size = self._lib.BIO_read(self._from_ssl, self._buffer, min(size_bytes, _BUFFER_BYTES))
        if size <= 0:
            raise SSL.WantReadError
        return string_at(self._buffer, size)

    def bio_write(self, data: bytes) -> None:
        """See ``SSL.Connection``."""
        self._lib.BIO_write(self._into_ssl, data, len(data))

    def shutdown(self) -> None:
        """See ``SSL.Connection``."""
        self._lib.SSL_shutdown(self._ssl)

    def _checked(self, result: int) -> int:
        if result > 0:
            return result
        raise _ERRORS.get(self._lib.SSL_get_error(self._ssl, result), SSL.Error)
