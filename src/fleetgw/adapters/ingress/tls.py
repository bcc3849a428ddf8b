"""TLS for vehicles: client certificates required, contexts that can be reloaded, and a transport with a short hot path.

The handshake, shutdown and every error are Twisted's (``TLSMemoryBIOProtocol``). Two things are our own, for records in and
acks out: all TLS records of one read are handed over together, and what is written goes to the socket at once where that
takes it. They call OpenSSL through the bindings that pyOpenSSL itself calls, one call where pyOpenSSL makes five.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from fleetgw.adapters.ingress.http import NOT_TLS
from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket, read_buffer
from fleetgw.adapters.openssl_reasons import reason_of
from fleetgw.adapters.watched_files import WatchedFiles
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import IReloadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from twisted.internet.interfaces import ITransport

_lib: Any = SSL._lib  # type: ignore[attr-defined]  # the cffi library behind pyOpenSSL, not typed
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]
_BUFFER_BYTES = 1 << 18
_buffer = _ffi.new("char[]", _BUFFER_BYTES)
_bytes = _ffi.buffer
_read_buffer = _ffi.from_buffer(read_buffer)
_SSL_ERROR_WANT_READ = 2  # openssl/ssl.h
_INVALID_PURPOSE = 26  # openssl/x509_vfy.h
_RECORD_BYTES = 1 << 14
"""What one ``SSL_write`` takes at most (RFC 8446, section 5.1)."""

HTTP_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"CONN", b"DELE", b"PATC")


@frozen
class TlsFiles:
    """PEM files.

    :ivar ca_file: certificates of the authorities that sign vehicles' certificates.
    :ivar server_cert: the server's certificate, with intermediates behind it.
    :ivar server_key: its key.
    """

    ca_file: Path
    server_cert: Path
    server_key: Path


def make_context(files: TlsFiles) -> SSL.Context:
    """A server context: TLS 1.2 or newer, client certificate required, no session is ever resumed.

    :raises ConfigurationError: a file cannot be used; names it, its key and the reason.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    with _naming("tls.server_cert", files.server_cert, "use a PEM file with the server's certificate"):
        context.use_certificate_chain_file(str(files.server_cert))
    with _naming("tls.server_key", files.server_key, "use the PEM file of the key that tls.server_cert was made for"):
        context.use_privatekey_file(str(files.server_key))
        context.check_privatekey()
    with _naming("tls.ca_file", files.ca_file, "use a PEM file with the certificates of the vehicles' authorities"):
        context.load_verify_locations(str(files.ca_file))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _accepts)
    context.set_alpn_select_callback(_choose_http)
    return context


@contextmanager
def _naming(key: str, file: Path, fix: str) -> Iterator[None]:
    """Have what goes wrong with ``file`` say which file it is, and why it cannot be used."""
    try:
        with file.open("rb"):  # OpenSSL's own errors do not always say why a file cannot be opened
            yield
    except OSError as error:
        raise ConfigurationError([Problem(key, f"{file} cannot be read: {error.strerror or error}", fix)]) from error
    except SSL.Error as error:
        reason = reason_of(error)
        raise ConfigurationError([Problem(key, f"{file} cannot be used: {reason.what}", reason.fix or fix)]) from error


def _accepts(_connection: SSL.Connection, certificate: crypto.X509, error: int, _depth: int, verified: int) -> bool:
    """Whether a certificate of the peer's chain is good: as OpenSSL says, but it may be for any use."""
    return bool(verified) or (error == _INVALID_PURPOSE and _is_for_clients(certificate))


def _is_for_clients(certificate: crypto.X509) -> bool:
    try:
        usages = certificate.to_cryptography().extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


def _choose_http(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    # called only when the client offers protocols; raising ends the handshake with the alert no_application_protocol
    if b"http/1.1" not in offered:
        raise SSL.Error([("SSL routines", "", "no application protocol in common: only http/1.1 is spoken")])
    return b"http/1.1"


@implementer(IOpenSSLServerConnectionCreator, IReloadable)
@define
class ReloadableContext:
    """Gives each new connection the newest context; connections that are there keep theirs."""

    files: TlsFiles
    _watched: WatchedFiles = field(init=False)
    _context: SSL.Context = field(init=False)

    def __attrs_post_init__(self) -> None:
        files = self.files
        self._watched = WatchedFiles([files.ca_file, files.server_cert, files.server_key])
        self._context = make_context(files)

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``.

        :raises ConfigurationError: a file cannot be used; the context in use stays.
        """
        changed = self._watched.changed()
        if changed:
            try:
                self._context = make_context(self.files)
            except ConfigurationError:
                self._watched.report_again(changed)
                raise
        return [str(file) for file in changed]

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002  Twisted's
        """See ``IOpenSSLServerConnectionCreator``."""
        return SSL.Connection(self._context, None)


class VehicleTransport(TLSMemoryBIOProtocol):
    """The TLS side of one connection."""

    # the socket below when it is a real one; an in-memory transport is read from and written to in Twisted's way
    _socket: VehicleSocket | None = None
    # cffi pointers of the connection; None before it is made and after it has gone
    _ssl: Any = None
    _into_ssl: Any = None
    _from_ssl: Any = None
    _heard = False

    def makeConnection(self, transport: ITransport) -> None:
        """Start. Twisted's own method also provides each interface of the transport, which nobody asks for here."""
        if isinstance(transport, VehicleSocket):
            self._socket = transport
        connection: Any = self.factory._creatorCallable(self)  # for its pointers, which pyOpenSSL does not type
        self._tlsConnection = connection
        self._ssl, self._into_ssl, self._from_ssl = connection._ssl, connection._into_ssl, connection._from_ssl
        self._appSendBuffer: list[bytes] = []
        self.transport = transport
        self.connected = 1
        self.factory.registerProtocol(self)
        self.wrappedProtocol.makeConnection(self)

    def bytes_read(self, size: int) -> None:
        """See ``ReadsFromBuffer``."""
        if self._handshakeDone and self._ssl is not None:
            _lib.BIO_write(self._into_ssl, _read_buffer, size)
            self._flushReceiveBIO()
        else:
            self.dataReceived(bytes(memoryview(read_buffer)[:size]))

    def dataReceived(self, data: bytes) -> None:
        """Take encrypted bytes."""
        if not self._heard and data.startswith(HTTP_METHODS):
            self._send(NOT_TLS)
            self._tlsShutdownFinished(Failure(SSL.Error([("SSL routines", "", "http request")])))
        else:
            super().dataReceived(data)
        self._heard = True

    def _flushReceiveBIO(self) -> None:
        ssl = self._ssl
        if ssl is None or self._lostTLSConnection or self._aborted:
            super()._flushReceiveBIO()
            return
        size = _lib.SSL_read(ssl, _buffer, _BUFFER_BYTES)
        if size > 0 and not _lib.BIO_get_mem_data(self._into_ssl, _ffi.NULL):
            self.wrappedProtocol.dataReceived(_bytes(_buffer, size)[:])
            return
        chunks = []
        while size > 0:
            chunks.append(_bytes(_buffer, size)[:])
            size = _lib.SSL_read(ssl, _buffer, _BUFFER_BYTES)
        wants_more = _lib.SSL_get_error(ssl, size) == _SSL_ERROR_WANT_READ
        if chunks:
            self.wrappedProtocol.dataReceived(b"".join(chunks))
        if wants_more:
            self._flushSendBIO()
        else:
            self._end_of_tls()

    def _end_of_tls(self) -> None:
        # Twisted's own method keeps the failure in a variable of its frame: a cycle that holds on to OpenSSL's objects
        try:
            self._tlsConnection.recv(1)
        except SSL.ZeroReturnError:
            self._shutdownTLS()
            self._tlsShutdownFinished(None)
        except SSL.Error:
            self._tlsShutdownFinished(Failure())

    def _flushSendBIO(self) -> None:
        if self._ssl is None:
            super()._flushSendBIO()
            return
        while (size := _lib.BIO_read(self._from_ssl, _buffer, _BUFFER_BYTES)) > 0:
            self._send(_bytes(_buffer, size)[:])
            if size < _BUFFER_BYTES:
                return

    def _send(self, encrypted: bytes) -> None:
        if self._socket is not None:
            self._socket.send_now(encrypted)
        elif self.transport is not None:
            self.transport.write(encrypted)

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if (
            len(data) > _RECORD_BYTES
            or self._appSendBuffer
            or not self._handshakeDone
            or self._lostTLSConnection
            or self.disconnecting
        ):
            super().write(data)
        elif _lib.SSL_write(self._ssl, data, len(data)) == len(data):
            self._flushSendBIO()
        else:
            super().write(data)

    @property
    def unsent_bytes(self) -> int:
        """Encrypted bytes that the socket has not taken; 0 for an in-memory transport."""
        return self._socket.unsent_bytes if self._socket is not None else 0

    @property
    def peer_certificate(self) -> bytes:
        """The peer's verified certificate in DER.

        :raises ValueError: there is none yet; a handshake that is done has brought one.
        """
        certificate = self._tlsConnection.get_peer_certificate()
        if certificate is None:
            raise ValueError("the peer has no certificate: the handshake is not done")
        return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)

    @property
    def certificate_problem(self) -> str:
        """What OpenSSL has against the peer's certificate, in its words; empty when nothing."""
        result = _lib.SSL_get_verify_result(self._ssl) if self._ssl is not None else 0
        return _ffi.string(_lib.X509_verify_cert_error_string(result)).decode() if result else ""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go of OpenSSL's objects."""
        if not self._lostTLSConnection:
            # no close_notify came; whatever else did has been read
            self._lostTLSConnection = True
            self._reason = self._reason or Failure(CONNECTION_LOST)
        super().connectionLost(reason)
        self._ssl = self._into_ssl = self._from_ssl = self._socket = None


class VehicleTlsFactory(TLSMemoryBIOFactory):
    """Wraps each connection of a factory in TLS."""

    protocol: type[TLSMemoryBIOProtocol] = VehicleTransport
