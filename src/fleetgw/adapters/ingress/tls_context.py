"""TLS contexts for vehicles: client certificates required, files that are read again, dates that are looked at."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from fleetgw.adapters.certificates.bundle import read_bundle
from fleetgw.adapters.certificates.files import Validity, validity
from fleetgw.adapters.certificates.openssl_reasons import reason_of
from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.ingress.certificate import is_for_clients
from fleetgw.adapters.logs.null import NullLog
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import IReloadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from twisted.protocols.tls import TLSMemoryBIOProtocol

    from fleetgw.adapters.certificates.bundle import Bundle
    from fleetgw.domain.ports import ILog

    Namesakes = Mapping[bytes, Sequence[x509.Certificate]]

_SIGNATURE_FAILURE, _INVALID_PURPOSE = 7, 26  # openssl/x509_vfy.h
_CA_FILE_FIX = "use a PEM file with the certificates of the vehicles' authorities"


@frozen
class TlsFiles:
    """PEM files.

    :ivar ca_file: certificates of the authorities that sign vehicles' certificates, roots or intermediates.
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
    return _make_context(files, _read_authorities(files.ca_file))


def _make_context(files: TlsFiles, authorities: Bundle) -> SSL.Context:
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
    with _naming("tls.ca_file", files.ca_file, _CA_FILE_FIX):
        store = context.get_cert_store()
        if store is None:
            raise ValueError("a context has a store")
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an intermediate alone is trusted as a root is
        for certificate in authorities.certificates:
            store.add_cert(crypto.X509.from_cryptography(certificate))
    accepts = partial(_accepts, _namesakes(authorities.certificates))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, accepts)
    context.set_alpn_select_callback(_choose_http)
    return context


def _read_authorities(file: Path) -> Bundle:
    with _naming("tls.ca_file", file, _CA_FILE_FIX):
        bundle = read_bundle(file.read_bytes())
    if not bundle.certificates:
        reason = "; ".join(map(str, bundle.unreadable[:3])) or "it holds no block BEGIN CERTIFICATE"
        raise ConfigurationError([Problem("tls.ca_file", f"{file} cannot be used: {reason}", _CA_FILE_FIX)])
    return bundle


@contextmanager
def _naming(key: str, file: Path, fix: str) -> Iterator[None]:
    """Turn an error about ``file`` into a ``ConfigurationError`` that names the file and the reason."""
    try:
        with file.open("rb"):  # OpenSSL's own errors do not always say why a file cannot be opened
            yield
    except OSError as error:
        raise ConfigurationError([Problem(key, f"{file} cannot be read: {error.strerror or error}", fix)]) from error
    except SSL.Error as error:
        reason = reason_of(error)
        raise ConfigurationError([Problem(key, f"{file} cannot be used: {reason.what}", reason.fix or fix)]) from error


def _accepts(
    namesakes: Namesakes, _connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, verified: int
) -> bool:
    """Whether a certificate of the peer's chain is good: as OpenSSL says, with two exceptions.

    It may be for any use; and where several authorities have one name, any of them may have signed it. OpenSSL tries the
    first of them only, where no key identifiers tell them apart.
    """
    if verified:
        return True
    if error == _SIGNATURE_FAILURE:
        return _is_signed_by_namesake(namesakes, certificate, depth)
    return error == _INVALID_PURPOSE and is_for_clients(certificate)


def _namesakes(authorities: Sequence[x509.Certificate]) -> Namesakes:
    """The authorities that share their name with others, by that name in DER."""
    by_name: dict[bytes, list[x509.Certificate]] = defaultdict(list)
    for authority in authorities:
        by_name[authority.subject.public_bytes()].append(authority)
    return {name: sharing for name, sharing in by_name.items() if len(sharing) > 1}


def _is_signed_by_namesake(namesakes: Namesakes, signed: crypto.X509, depth: int) -> bool:
    """Whether a trusted authority that may issue at this depth has signed a certificate."""
    try:
        certificate = signed.to_cryptography()
        sharing = namesakes.get(certificate.issuer.public_bytes(), ())
        return any(_may_issue(each, depth) and _has_signed(each, certificate) for each in sharing)
    except Exception:  # a stranger chooses the bytes; an unreadable certificate has no signer
        return False


def _may_issue(authority: x509.Certificate, depth: int) -> bool:
    if not authority.not_valid_before_utc <= datetime.now(UTC) <= authority.not_valid_after_utc:
        return False
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return authority.version is x509.Version.v1
    return constraints.ca and (constraints.path_length is None or constraints.path_length >= depth)


def _has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # as above
        return False
    return True


def _choose_http(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    # called only when the client offers protocols; raising ends the handshake with the alert no_application_protocol
    if b"http/1.1" not in offered:
        raise SSL.Error([("SSL routines", "", "no application protocol in common: only http/1.1 is spoken")])
    return b"http/1.1"


def _utc_now() -> datetime:
    return datetime.now(UTC)


@implementer(IOpenSSLServerConnectionCreator, IReloadable)
@define
class ReloadableContext:
    """Gives each new connection the newest context; connections that are there keep theirs.

    :ivar log: is told of blocks of ``ca_file`` that are skipped, and of the server certificate's dates.
    :ivar now: the date, with a time zone.
    """

    files: TlsFiles
    log: ILog = field(factory=NullLog)
    now: Callable[[], datetime] = _utc_now
    _watched: WatchedFiles = field(init=False)
    _context: SSL.Context = field(init=False)
    _not_valid: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        files = self.files
        self._watched = WatchedFiles([files.ca_file, files.server_cert, files.server_key])
        self._read()

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``. Looks at the server certificate's dates as well.

        :raises ConfigurationError: a file cannot be used; the context in use stays.
        """
        with self._watched.reading_changed() as changed:
            if changed:
                self._read()
            else:
                self._look_at_dates()
        return [str(file) for file in changed]

    def _read(self) -> None:
        authorities = _read_authorities(self.files.ca_file)
        self._context = _make_context(self.files, authorities)
        for block in authorities.unreadable:
            self.log.warn("authority_skipped", file=str(self.files.ca_file), block=block.number, error=block.reason)
        self._look_at_dates()

    def _look_at_dates(self) -> None:
        """Say when the server certificate is not valid yet or has expired, and when it is valid again."""
        certificate = self._context_certificate()
        begins, ends, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, self.now()
        not_valid = ""
        judged = validity(certificate, now)
        if judged is Validity.NOT_YET_VALID:
            not_valid = f"the certificate is not valid before {begins:%Y-%m-%d %H:%M:%S} UTC; this clock says {now:%Y-%m-%d}"
        elif judged is Validity.EXPIRED:
            not_valid = f"the certificate expired on {ends:%Y-%m-%d %H:%M:%S} UTC"
        if bool(not_valid) != bool(self._not_valid):
            file = str(self.files.server_cert)
            if not_valid:
                self.log.warn("server_certificate_not_valid", file=file, error=f"{not_valid}: vehicles refuse it")
            else:
                self.log.info("server_certificate_valid", file=file, until=f"{ends:%Y-%m-%d}")
        self._not_valid = not_valid

    def _context_certificate(self) -> x509.Certificate:
        """The certificate in use; the file may hold another by now."""
        certificate = SSL.Connection(self._context, None).get_certificate(as_cryptography=True)
        if certificate is None:
            raise ValueError("a context has a certificate")
        return certificate

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002  Twisted's
        """See ``IOpenSSLServerConnectionCreator``."""
        return SSL.Connection(self._context, None)
