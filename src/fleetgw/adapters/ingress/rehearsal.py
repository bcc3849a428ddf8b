"""Shows the gateway's TLS a client certificate without its key, to learn whether a handshake would accept it.

The handshake is a real one in memory, with TLS 1.2, whose Certificate message is not encrypted: the client's own, of a key
made for it, is replaced by the certificates in question. The gateway's side verifies them, and only then finds that the
client does not have the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from fleetgw.adapters.ingress.handshake_failure import explain_error
from fleetgw.adapters.ingress.tls_context import VehicleTls, accepting_context
from fleetgw.adapters.ingress.tls_records import take

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from fleetgw.adapters.certificates.bundle import Bundle
    from fleetgw.adapters.ingress.handshake_failure import HandshakeFailure

_HANDSHAKE, _CERTIFICATE = 22, 11
_RECORD_BYTES = 1 << 14


def rehearse(chain: Sequence[x509.Certificate], authorities: Bundle, now: datetime) -> HandshakeFailure | None:
    """Have the gateway's TLS judge a client's certificates; None when it accepts them.

    :param chain: the client's own certificate, then those that it shows besides.
    :param authorities: the content of ``tls.ca_file``.
    :raises SSL.Error: an authority cannot be used.
    """
    ours, key = _throwaway(now)
    accepting = accepting_context(authorities)
    accepting.use_certificate(ours)
    accepting.use_privatekey(key)
    showing = SSL.Context(SSL.TLS_CLIENT_METHOD)
    showing.set_max_proto_version(SSL.TLS1_2_VERSION)
    showing.use_certificate(ours)
    showing.use_privatekey(key)
    server, client = VehicleTls(accepting, None), SSL.Connection(showing, None)
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(2):
        _step(client)
        server.bio_write(_replaced(_written(client), chain))
        if (error := _step(server)) is not None:
            return None if server.get_peer_certificate() is not None else explain_error(error, server)
        client.bio_write(_written(server))
    raise AssertionError("a handshake without the certificate's key has not failed")


def _step(connection: SSL.Connection) -> SSL.Error | None:
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return None
    except SSL.Error as error:
        return error
    return None


def _written(connection: Any) -> bytes:  # pyOpenSSL's, whose buffers are not typed
    return bytes(take(connection._from_ssl))


def _replaced(flight: bytes, chain: Sequence[x509.Certificate]) -> bytes:
    """A flight of the client with other certificates in its Certificate message; without such a message, as it is."""
    message, rest = b"", b""
    for kind, content in _records(flight):
        if kind != _HANDSHAKE or rest:
            rest += _record(kind, content)
        else:
            message += content
    replaced = b""
    while message:
        size = 4 + int.from_bytes(message[1:4], "big")
        replaced += _certificate_message(chain) if message[0] == _CERTIFICATE else message[:size]
        message = message[size:]
    parts = (replaced[at : at + _RECORD_BYTES] for at in range(0, len(replaced), _RECORD_BYTES))
    return b"".join(_record(_HANDSHAKE, part) for part in parts) + rest


def _records(flight: bytes) -> Iterator[tuple[int, bytes]]:
    while flight:
        size = 5 + int.from_bytes(flight[3:5], "big")
        yield flight[0], flight[5:size]
        flight = flight[size:]


def _record(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + b"\x03\x03" + len(content).to_bytes(2, "big") + content


def _certificate_message(chain: Sequence[x509.Certificate]) -> bytes:
    """RFC 5246, section 7.4.2."""
    shown = b"".join(_sized(certificate.public_bytes(Encoding.DER)) for certificate in chain)
    return bytes([_CERTIFICATE]) + _sized(_sized(shown))


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + content


def _throwaway(now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    return builder.sign(key, hashes.SHA256()), key
