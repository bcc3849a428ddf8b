"""TLS contexts for vehicles: TLS 1.2 or newer, client certificates required."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen
from OpenSSL import SSL, crypto

from fleetgw.adapters.certificates.files import UnusableCertificateFile, read_authorities
from fleetgw.adapters.certificates.openssl_reasons import reason_of
from fleetgw.adapters.ingress.certificate import is_for_clients, shown_certificate
from fleetgw.adapters.ingress.namesakes import is_signed_by_namesake, namesakes_among
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleetgw.adapters.certificates.bundle import Bundle
    from fleetgw.adapters.ingress.certificate import ShownCertificate
    from fleetgw.adapters.ingress.namesakes import Namesakes

_SIGNATURE_FAILURE, _INVALID_PURPOSE = 7, 26  # openssl/x509_vfy.h
_OP_PRIORITIZE_CHACHA = 1 << 21  # openssl/ssl.h
_AES_128 = frozenset({"TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"})
_CA_FILE_FIX = "use a PEM file with the certificates of the vehicles' authorities"


@frozen
class TlsFiles:
    """PEM files of the vehicles' port.

    :ivar ca_file: authorities that sign vehicles' certificates, roots or intermediates.
    :ivar server_cert: the server's certificate, followed by its intermediates.
    :ivar server_key: the private key of the certificate.
    """

    ca_file: Path
    server_cert: Path
    server_key: Path


class VehicleTls(SSL.Connection):
    """The TLS of one connection.

    :ivar refused_certificate: the certificate for which the handshake has failed, if any.
    """

    refused_certificate: ShownCertificate | None = None


def make_context(files: TlsFiles, authorities: Bundle) -> SSL.Context:
    """Make a server context: TLS 1.2 or newer, client certificate required, no resumption of sessions, AES-128 preferred.

    :param authorities: the content of ``files.ca_file``.
    :raises ConfigurationError: a file cannot be used; names its setting, the file and the reason.
    """
    with _naming("tls.ca_file", files.ca_file, _CA_FILE_FIX):
        context = accepting_context(authorities)
    with _naming("tls.server_cert", files.server_cert, "use a PEM file with the server's certificate"):
        context.use_certificate_chain_file(str(files.server_cert))
    with _naming("tls.server_key", files.server_key, "use the PEM file of the key that tls.server_cert was made for"):
        context.use_privatekey_file(str(files.server_key))
        context.check_privatekey()
    return context


def accepting_context(authorities: Bundle) -> SSL.Context:
    """Make a context that accepts clients as that of ``make_context``, without a certificate of the server's own.

    :raises SSL.Error: OpenSSL does not accept one of the authorities.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    _prefer_aes_128(context)
    store = context.get_cert_store()
    if store is None:
        raise ValueError("a context has a store")
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an intermediate without its root is trusted like a root
    for certificate in authorities.certificates:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    accepts = partial(_accepts, namesakes_among(authorities.certificates))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, accepts)
    context.set_alpn_select_callback(_choose_http)
    return context


def _prefer_aes_128(context: SSL.Context) -> None:
    """Choose AES-128-GCM if a client offers it, the cheapest with hardware for AES; the accepted ciphers stay OpenSSL's own.

    A client whose first cipher is ChaCha20 gets ChaCha20: it has no hardware for AES.
    """
    accepted = SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD), None).get_cipher_list()
    ordered = sorted(accepted, key=_AES_128.__contains__, reverse=True)
    context.set_tls13_ciphersuites(":".join(name for name in ordered if name.startswith("TLS_")).encode())
    context.set_cipher_list(":".join(name for name in ordered if not name.startswith("TLS_")).encode())
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | _OP_PRIORITIZE_CHACHA)


def read_vehicle_authorities(file: Path) -> Bundle:
    """Read the authorities that sign vehicles' certificates.

    :raises ConfigurationError: the file cannot be used.
    """
    try:
        return read_authorities(file)
    except UnusableCertificateFile as error:
        what = f"{file} cannot be used: it {error.reason}"
        raise ConfigurationError([Problem("tls.ca_file", what, error.fix)]) from error


@contextmanager
def _naming(key: str, file: Path, fix: str) -> Iterator[None]:
    """Convert an error about ``file`` to a ``ConfigurationError`` that names the file and the reason."""
    try:
        with file.open("rb"):  # OpenSSL's own errors do not always say why a file cannot be opened
            yield
    except OSError as error:
        raise ConfigurationError([Problem(key, f"{file} cannot be read: {error.strerror or error}", fix)]) from error
    except SSL.Error as error:
        reason = reason_of(error)
        raise ConfigurationError([Problem(key, f"{file} cannot be used: {reason.what}", reason.fix or fix)]) from error


def _accepts(
    namesakes: Namesakes, connection: VehicleTls, certificate: crypto.X509, error: int, depth: int, verified: int
) -> bool:
    """Whether a certificate of the peer's chain is accepted: OpenSSL's verdict, with two exceptions.

    The certificate may be for any use, and any of several authorities with the same name may have signed it: without key
    identifiers, OpenSSL only tries the first of them. The connection keeps the certificate that is refused.
    """
    if verified:
        return True
    if error == _SIGNATURE_FAILURE:
        accepted = is_signed_by_namesake(namesakes, certificate, depth)
    else:
        accepted = error == _INVALID_PURPOSE and is_for_clients(certificate)
    if not accepted:
        connection.refused_certificate = shown_certificate(certificate, depth)
    return accepted


def _choose_http(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    # called only for clients that offer protocols; an exception ends the handshake with the alert no_application_protocol
    if b"http/1.1" not in offered:
        raise SSL.Error([("SSL routines", "", "no application protocol in common: only http/1.1 is spoken")])
    return b"http/1.1"
