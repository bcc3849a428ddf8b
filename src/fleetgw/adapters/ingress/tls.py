"""TLS for vehicles: a transport with a short hot path.

Twisted (``TLSMemoryBIOProtocol``) does the handshake, the shutdown and every error. Two parts of the hot path are our own:
all TLS records of one read are handed over together, and writes go to the socket directly where it accepts
them: see ``tls_records``.
Decryption uses the time of the vehicle's turn: once the turn is over, bytes stay encrypted until the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from fleetgw.adapters.ingress.client_hello import HelloReader, NoClientHello
from fleetgw.adapters.ingress.handshake_failure import OPENING_BYTES, HandshakeFailure, explain_error
from fleetgw.adapters.ingress.http import NOT_TLS
from fleetgw.adapters.ingress.openssl_library import ffi as _ffi
from fleetgw.adapters.ingress.openssl_library import lib as _lib
from fleetgw.adapters.ingress.tls_context import VehicleTls
from fleetgw.adapters.ingress.tls_records import (
    CLOSED,
    END_OF_TLS,
    INCOMPLETE,
    LOST,
    MORE_ENCRYPTED,
    NO_BYTES,
    RECORDS_AT_ONCE,
    SSL_ERROR_WANT_READ,
    handle,
    read_socket,
    receive,
    send,
    take,
)
from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from fleetgw.domain.records import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from twisted.internet.interfaces import IAddress, ITransport

    from fleetgw.adapters.ingress.client_hello import ClientHello
    from fleetgw.adapters.ingress.handshakes import Handshakes
    from fleetgw.adapters.ingress.turns import Turn

_certificate_bio = _ffi.gc(_lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_free)  # empty between two uses
_RECORD_BYTES = 1 << 14
"""Maximum size of one ``SSL_write`` (RFC 8446, section 5.1)."""

MAX_RECORDS_PER_READ = 1024
"""Maximum number of TLS records decrypted for one read: more of them in 64 KiB have less than 42 bytes each."""

HTTP_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"CONN", b"DELE", b"PATC")

_RESULTS = {NO_BYTES: None, CLOSED: CONNECTION_DONE, LOST: CONNECTION_LOST}
"""Results of ``VehicleTransport.read`` for the states of a socket without bytes."""


class Inside(Protocol):
    """The protocol inside TLS: one of Twisted's, with a part for messages. With a ``VehicleTransport.turn`` it has those.

    :ivar max_split_bytes: maximum size of a message that may be an envelope; negative if the next byte starts no frame.
    """

    def makeConnection(self, transport: VehicleTransport) -> None:
        """Start."""

    def hello_received(self, hello: ClientHello) -> None:
        """Take note of the client's offer, at most once."""

    def handshakeCompleted(self) -> None:
        """Take note: the TLS handshake is complete."""

    def dataReceived(self, data: bytes) -> None:
        """Handle decrypted bytes."""

    @property
    def max_split_bytes(self) -> int: ...  # noqa: D102

    def messages_received(self, messages: list[Envelope | bytes], plaintext: bytes) -> None:
        """Handle the decrypted bytes of one read: whole messages, and the bytes behind them."""

    def wait(self) -> None:
        """Request ``VehicleTransport.read_on`` in the vehicle's next turn: this one is over, and encrypted bytes remain."""

    def too_many_tls_records(self, limit: int) -> None:
        """End the connection: one read brought more than ``limit`` records."""


class VehicleTransport(TLSMemoryBIOProtocol):
    """The TLS side of one connection.

    :ivar heard_at: monotonic time at which the decryption of the last read began.
    :ivar turn: of the vehicle; None before the upgrade.
    :ivar has_unsent: whether the socket did not accept all bytes of the last write.
    :ivar opening: the first encrypted bytes, ``OPENING_BYTES`` at most.
    """

    factory: VehicleTlsFactory
    wrappedProtocol: Inside  # type: ignore[assignment]  # Twisted's interface, which has only a part of the methods
    heard_at = 0.0
    turn: Turn | None = None
    has_unsent = False
    opening = b""

    # a real socket below; None for an in-memory transport, which is used through Twisted's methods
    _socket: VehicleSocket | None = None
    # handles of the connection; None before its start and after its end
    _ssl: Any = None
    _into_ssl: Any = None
    _from_ssl: Any = None
    _hello: HelloReader | None = None  # until the ClientHello is read

    def makeConnection(self, transport: ITransport) -> None:
        """Start. Unlike Twisted's own method, this one does not declare the transport's interfaces: nothing needs them."""
        if isinstance(transport, VehicleSocket):
            self._socket = transport
        connection: Any = self.factory._creatorCallable(self)  # for its pointers, which pyOpenSSL does not type
        self._tlsConnection = connection
        self._ssl = handle(connection._ssl)
        self._into_ssl, self._from_ssl = handle(connection._into_ssl), handle(connection._from_ssl)
        self._appSendBuffer: list[bytes] = []
        self._monotonic: Callable[[], float] = self.factory._clock.seconds
        self.heard_at = self._made_at = self._monotonic()
        self._hello = HelloReader()
        self.transport = transport
        self.connected = 1
        self.factory.registerProtocol(self)
        self.wrappedProtocol.makeConnection(self)

    def read(self, source: socket | bytes) -> ConnectionDone | ConnectionLost | None:
        """Read a socket, or take the encrypted bytes of an in-memory transport; returns why there will be no more."""
        turn = self.turn
        if turn is None or turn.is_over or self._lostTLSConnection or self._aborted:
            if isinstance(source, bytes):
                self.dataReceived(source)
                return None
            status, data = read_socket(source)
            if status:
                return _RESULTS[status]
            self.dataReceived(data)
            return None
        inside = self.wrappedProtocol
        began_at = self._monotonic()
        status, messages, plaintext = receive(source, self._ssl, self._into_ssl, inside.max_split_bytes, Envelope)
        if status >= NO_BYTES:
            return _RESULTS[status]
        self.heard_at = began_at
        if status:
            self._received(status, messages, plaintext)
        else:
            inside.messages_received(messages, plaintext)
        return None

    def dataReceived(self, data: bytes) -> None:
        """Handle encrypted bytes."""
        if not self.opening:
            self.opening = data[:OPENING_BYTES]
            if data.startswith(HTTP_METHODS):
                if self.transport is not None:
                    self.transport.write(NOT_TLS)
                self._tlsShutdownFinished(Failure(SSL.Error([("SSL routines", "", "http request")])))
                return
        if self._hello is not None:
            self._read_hello(self._hello, data)
        super().dataReceived(data)

    def _read_hello(self, reader: HelloReader, data: bytes) -> None:
        try:
            hello = reader.read(data)
        except NoClientHello:
            self._hello = None
            return
        if hello is not None:
            self._hello = None
            self.wrappedProtocol.hello_received(hello)
            if hello.offers_resumption and self.factory.handshakes is not None:
                self.factory.handshakes.resumption_offered()

    def _checkHandshakeStatus(self) -> None:
        # as Twisted's own, without an exception and a look at interfaces for each flight of the handshake
        ssl = self._pointer
        if self._aborted or ssl is None:
            return
        result = _lib.SSL_do_handshake(ssl)
        if result > 0:
            self._handshakeDone = True
            if self.factory.handshakes is not None:
                self.factory.handshakes.completed(self._monotonic() - self._made_at)
            self.wrappedProtocol.handshakeCompleted()
        elif _lib.SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ:
            self._flushSendBIO()
        else:
            super()._checkHandshakeStatus()  # which meets the same error

    def _flushReceiveBIO(self) -> None:
        if self._ssl is None or self._lostTLSConnection or self._aborted:
            super()._flushReceiveBIO()
            return
        max_split_bytes = -1
        if self.turn is not None:
            inside = self.wrappedProtocol
            if self.turn.is_over:
                inside.wait()
                return
            max_split_bytes = inside.max_split_bytes
        self.heard_at = self._monotonic()
        self._received(*receive(b"", self._ssl, self._into_ssl, max_split_bytes, Envelope))

    def _received(self, status: int, messages: list[Envelope | bytes], plaintext: bytes) -> None:
        """Handle a result of ``receive`` that has plaintext, and decrypt the remaining records as long as the turn lasts."""
        chunks, records = [plaintext], RECORDS_AT_ONCE
        while status == MORE_ENCRYPTED:
            if self.turn is not None and self._monotonic() - self.heard_at >= self.turn.left_s:
                self._deliver(messages, b"".join(chunks))  # which ends the turn
                self.wrappedProtocol.wait()
                return
            status, _, more = receive(b"", self._ssl, self._into_ssl, -1, Envelope)
            if more and records >= MAX_RECORDS_PER_READ:
                self.wrappedProtocol.too_many_tls_records(MAX_RECORDS_PER_READ)
                return
            records += RECORDS_AT_ONCE
            chunks.append(more)
        self._deliver(messages, b"".join(chunks))
        if status == INCOMPLETE:
            self._flushSendBIO()
        elif status == END_OF_TLS:
            self._end_of_tls()

    def _deliver(self, messages: list[Envelope | bytes], plaintext: bytes) -> None:
        if self.turn is not None and (messages or plaintext):
            self.wrappedProtocol.messages_received(messages, plaintext)
        elif plaintext:
            self.wrappedProtocol.dataReceived(plaintext)

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
        connection: Any = self._tlsConnection
        encrypted = take(connection._from_ssl)
        if encrypted and self._socket is not None:
            self.has_unsent = not self._socket.send_now(encrypted)
        elif encrypted and self.transport is not None:
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
            return
        socket = self._socket
        unsent = send(socket.if_empty if socket is not None else None, self._ssl, self._from_ssl, data)
        if unsent is None:
            super().write(data)
        elif socket is not None:
            self.has_unsent = bool(unsent)
            if unsent:
                socket.write(unsent)
        elif self.transport is not None:
            self.transport.write(unsent)

    def limit_unacknowledged(self, seconds: float) -> None:
        """See ``VehicleSocket``."""
        if self._socket is not None:
            self._socket.limit_unacknowledged(seconds)

    @property
    def unsent_bytes(self) -> int:
        """Number of encrypted bytes that the socket has not accepted; 0 for an in-memory transport."""
        return self._socket.unsent_bytes if self._socket is not None else 0

    @property
    def _pointer(self) -> Any:  # cffi's
        """OpenSSL's object, for its functions off the hot path; None after the end."""
        connection: Any = self._tlsConnection
        return connection._ssl if connection is not None else None

    @property
    def agreed(self) -> tuple[str, str]:
        """Version and cipher of a complete handshake."""
        connection = self._tlsConnection
        version, cipher = connection.get_protocol_version_name(), connection.get_cipher_name()
        return version, cipher or ""

    @property
    def peer_certificate(self) -> bytes:
        """The peer's verified certificate in DER.

        :raises ValueError: the handshake is not complete.
        """
        ssl = self._pointer
        certificate = _lib.SSL_get_peer_certificate(ssl) if ssl is not None else _ffi.NULL
        if certificate == _ffi.NULL:
            raise ValueError("the peer has no certificate: the handshake is not done")
        try:
            _lib.i2d_X509_bio(_certificate_bio, certificate)
            return take(_certificate_bio)
        finally:
            _lib.X509_free(certificate)

    def handshake_failure(self, reason: Failure) -> HandshakeFailure | None:
        """Explain a connection's end before its upgrade; None when the peer, or the gateway, has closed it regularly."""
        if reason.check(ConnectionDone, ConnectionAborted, ConnectionLost):
            return None
        connection = self._tlsConnection
        return explain_error(reason.value, connection if isinstance(connection, VehicleTls) else None, self.opening)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Release OpenSSL's objects."""
        if not self._lostTLSConnection:
            # the peer sent no close_notify
            self._lostTLSConnection = True
            self._reason = self._reason or Failure(CONNECTION_LOST)
        self._ssl = self._into_ssl = self._from_ssl = self.turn = None  # before the objects are freed
        super().connectionLost(reason)
        self._socket = None


class VehicleTlsFactory(TLSMemoryBIOFactory):
    """Wraps each connection of a factory in TLS.

    :ivar handshakes: counts and times the handshakes; None: nothing is counted.
    """

    handshakes: Handshakes | None = None
    protocol: type[TLSMemoryBIOProtocol] = VehicleTransport

    def buildProtocol(self, addr: IAddress) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]  # Twisted's signature has no None
        """Wrap a connection of the factory; None when the factory refuses one."""
        inside = self.wrappedFactory.buildProtocol(addr)
        return None if inside is None else self.protocol(self, inside)
