"""TLS for vehicles: a transport with a short hot path.

Twisted (``TLSMemoryBIOProtocol``) does the handshake, the shutdown and every error. Two parts of the hot path are our own:
all TLS records of one read are handed over together, and writes go to the socket directly where it accepts
them. They call OpenSSL through pyOpenSSL's own bindings, once where pyOpenSSL makes five calls.
Decryption uses the time of the vehicle's turn: once the turn is over, bytes stay encrypted until the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from OpenSSL import SSL
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from fleetgw.adapters.ingress.http import NOT_TLS
from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket, read_buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, ITransport

    from fleetgw.adapters.ingress.turns import Turn

_lib: Any = SSL._lib  # type: ignore[attr-defined]  # the cffi library behind pyOpenSSL, not typed
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]
_BUFFER_BYTES = 1 << 18
_buffer = _ffi.new("char[]", _BUFFER_BYTES)
_bytes = _ffi.buffer
_read_buffer = _ffi.from_buffer(read_buffer)
# looked up once: an attribute of a cffi library costs a third of the call
_ssl_read, _ssl_write, _bio_read, _bio_write = _lib.SSL_read, _lib.SSL_write, _lib.BIO_read, _lib.BIO_write
_bio_pending = _lib.BIO_get_mem_data
_certificate_bio = _ffi.gc(_lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_free)  # empty between two uses
_NULL = _ffi.NULL
_SSL_ERROR_WANT_READ = 2  # openssl/ssl.h
_RECORD_BYTES = 1 << 14
"""Maximum size of one ``SSL_write`` (RFC 8446, section 5.1)."""

MAX_RECORDS_PER_READ = 1024
"""Maximum number of TLS records decrypted for one read: more of them in 64 KiB have less than 42 bytes each."""

RECORDS_AT_ONCE = 64
"""Number of TLS records decrypted between two reads of the clock: less than a tenth of a millisecond of small ones."""

HTTP_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"CONN", b"DELE", b"PATC")


class Inside(Protocol):
    """The protocol inside TLS, in addition to Twisted's methods."""

    def wait(self) -> None:
        """Request ``VehicleTransport.read_on`` in the vehicle's next turn: this one is over, and encrypted bytes remain."""

    def too_many_tls_records(self, limit: int) -> None:
        """End the connection: one read brought more than ``limit`` records."""


class VehicleTransport(TLSMemoryBIOProtocol):
    """The TLS side of one connection.

    :ivar heard_at: monotonic time at which the decryption of the last read began.
    :ivar turn: of the vehicle; None before the upgrade.
    :ivar has_unsent: whether the socket did not accept all bytes of the last write.
    """

    heard_at = 0.0
    turn: Turn | None = None
    has_unsent = False

    # a real socket below; None for an in-memory transport, which is used through Twisted's methods
    _socket: VehicleSocket | None = None
    # cffi pointers of the connection; None before its start and after its end
    _ssl: Any = None
    _into_ssl: Any = None
    _from_ssl: Any = None
    _heard = False

    def makeConnection(self, transport: ITransport) -> None:
        """Start. Unlike Twisted's own method, this one does not declare the transport's interfaces: nothing needs them."""
        if isinstance(transport, VehicleSocket):
            self._socket = transport
        connection: Any = self.factory._creatorCallable(self)  # for its pointers, which pyOpenSSL does not type
        self._tlsConnection = connection
        self._ssl, self._into_ssl, self._from_ssl = connection._ssl, connection._into_ssl, connection._from_ssl
        self._appSendBuffer: list[bytes] = []
        self._monotonic: Callable[[], float] = self.factory._clock.seconds
        self.heard_at = self._monotonic()
        self.transport = transport
        self.connected = 1
        self.factory.registerProtocol(self)
        self.wrappedProtocol.makeConnection(self)

    def bytes_read(self, size: int) -> None:
        """See ``ReadsFromBuffer``."""
        if self._handshakeDone and self._ssl is not None:
            _bio_write(self._into_ssl, _read_buffer, size)
            self._flushReceiveBIO()
        else:
            self.dataReceived(bytes(memoryview(read_buffer)[:size]))

    def dataReceived(self, data: bytes) -> None:
        """Handle encrypted bytes."""
        if not self._heard and data.startswith(HTTP_METHODS):
            if self.transport is not None:
                self.transport.write(NOT_TLS)
            self._tlsShutdownFinished(Failure(SSL.Error([("SSL routines", "", "http request")])))
        else:
            super().dataReceived(data)
        self._heard = True

    def _checkHandshakeStatus(self) -> None:
        # as Twisted's own, without an exception and a look at interfaces for each flight of the handshake
        ssl = self._ssl
        if self._aborted or ssl is None:
            return
        result = _lib.SSL_do_handshake(ssl)
        if result > 0:
            self._handshakeDone = True
        elif _lib.SSL_get_error(ssl, result) == _SSL_ERROR_WANT_READ:
            self._flushSendBIO()
        else:
            super()._checkHandshakeStatus()  # which meets the same error

    def _flushReceiveBIO(self) -> None:
        ssl = self._ssl
        if ssl is None or self._lostTLSConnection or self._aborted:
            super()._flushReceiveBIO()
            return
        turn = self.turn
        if turn is not None and turn.is_over:
            cast("Inside", self.wrappedProtocol).wait()
            return
        self.heard_at = began_at = self._monotonic()
        size = _ssl_read(ssl, _buffer, _BUFFER_BYTES)
        if size > 0 and not _bio_pending(self._into_ssl, _NULL):
            self.wrappedProtocol.dataReceived(_bytes(_buffer, size)[:])
            return
        chunks = []
        while size > 0:
            chunks.append(_bytes(_buffer, size)[:])
            if len(chunks) > MAX_RECORDS_PER_READ:
                cast("Inside", self.wrappedProtocol).too_many_tls_records(MAX_RECORDS_PER_READ)
                return
            if turn is not None and not len(chunks) % RECORDS_AT_ONCE and self._monotonic() - began_at >= turn.left_s:
                self.wrappedProtocol.dataReceived(b"".join(chunks))  # which ends the turn
                cast("Inside", self.wrappedProtocol).wait()
                return
            size = _ssl_read(ssl, _buffer, _BUFFER_BYTES)
        wants_more = _lib.SSL_get_error(ssl, size) == _SSL_ERROR_WANT_READ
        if chunks:
            self.wrappedProtocol.dataReceived(b"".join(chunks))
        if wants_more:
            self._flushSendBIO()
        else:
            self._end_of_tls()

    def read_on(self) -> None:
        """Decrypt the bytes that remain from the last turn."""
        if self._ssl is not None:
            self._flushReceiveBIO()

    def _end_of_tls(self) -> None:
        # Twisted's own method keeps the failure in a local variable: a reference cycle that keeps OpenSSL's objects alive
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
        socket = self._socket
        while (size := _bio_read(self._from_ssl, _buffer, _BUFFER_BYTES)) > 0:
            if socket is not None:
                self.has_unsent = not socket.send_now(_bytes(_buffer, size)[:])
            elif self.transport is not None:
                self.transport.write(_bytes(_buffer, size)[:])
            if size < _BUFFER_BYTES:
                return

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
        elif _ssl_write(self._ssl, data, len(data)) == len(data):
            self._flushSendBIO()
        else:
            super().write(data)

    def limit_unacknowledged(self, seconds: float) -> None:
        """See ``VehicleSocket``."""
        if self._socket is not None:
            self._socket.limit_unacknowledged(seconds)

    @property
    def unsent_bytes(self) -> int:
        """Number of encrypted bytes that the socket has not accepted; 0 for an in-memory transport."""
        return self._socket.unsent_bytes if self._socket is not None else 0

    @property
    def peer_certificate(self) -> bytes:
        """The peer's verified certificate in DER.

        :raises ValueError: the handshake is not complete.
        """
        certificate = _lib.SSL_get_peer_certificate(self._ssl) if self._ssl is not None else _NULL
        if certificate == _NULL:
            raise ValueError("the peer has no certificate: the handshake is not done")
        try:
            _lib.i2d_X509_bio(_certificate_bio, certificate)
            der: bytes = _bytes(_buffer, _bio_read(_certificate_bio, _buffer, _BUFFER_BYTES))[:]
        finally:
            _lib.X509_free(certificate)
        return der

    @property
    def certificate_problem(self) -> str:
        """OpenSSL's error about the peer's certificate, empty when there is none."""
        result = _lib.SSL_get_verify_result(self._ssl) if self._ssl is not None else 0
        return _ffi.string(_lib.X509_verify_cert_error_string(result)).decode() if result else ""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Release OpenSSL's objects."""
        if not self._lostTLSConnection:
            # the peer sent no close_notify
            self._lostTLSConnection = True
            self._reason = self._reason or Failure(CONNECTION_LOST)
        super().connectionLost(reason)
        self._ssl = self._into_ssl = self._from_ssl = self._socket = None


class VehicleTlsFactory(TLSMemoryBIOFactory):
    """Wraps each connection of a factory in TLS."""

    protocol: type[TLSMemoryBIOProtocol] = VehicleTransport

    def buildProtocol(self, addr: IAddress) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]  # Twisted's signature has no None
        """Wrap a connection of the factory; None when the factory refuses one."""
        inside = self.wrappedFactory.buildProtocol(addr)
        return None if inside is None else self.protocol(self, inside)
