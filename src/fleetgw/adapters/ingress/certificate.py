"""Reads peers' certificates, and keeps the facts of those that were read last."""

import re
import warnings
from collections import OrderedDict
from datetime import datetime

from attrs import define, field, frozen
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from OpenSSL import crypto

from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.identity import CertificateFacts
from fleetgw.domain.line_limit import cut

MAX_REASON_CHARACTERS = 200
"""Maximum length of the reason in the error about an unreadable certificate."""

MAX_KNOWN_CERTIFICATES = 16_384
"""Largest number of certificates whose facts are kept."""

MAX_KNOWN_BYTES = 16 << 20
"""Largest memory that these certificates and their facts take."""

_ENTRY_BYTES = 512
"""Memory of a kept certificate besides its bytes and the texts of its facts."""

_TEXT_BYTES = 64
"""Memory of a text besides its characters, which take four bytes at most."""

_QUIET_MODULES = re.escape(__name__.rpartition(".")[0])
_FILTER = ("ignore", None, UserWarning, re.compile(_QUIET_MODULES), 0)


def facts_from_der(der: bytes) -> CertificateFacts:
    """Read the facts for the identity rules from a verified leaf certificate.

    :raises Unauthorized: the certificate cannot be read.
    """
    _ignore_warnings()
    try:
        return _facts(x509.load_der_x509_certificate(der))
    except Exception as problem:  # a peer chooses the bytes, and exceptions of cryptography share no base class
        reason = f"{type(problem).__name__}: {problem}"[:MAX_REASON_CHARACTERS]
        raise Unauthorized(f"the certificate cannot be read: {reason}") from problem


@define(eq=False)
class KnownCertificates:
    """Gives the facts of verified certificates, and keeps those that were asked for last: the same vehicles come again.

    The facts follow from the bytes alone. The identity that they stand for, and whether it is accepted, is decided anew for
    each connection.

    :ivar max_certificates: largest number of certificates that are kept.
    :ivar max_bytes: largest memory that they take.
    :ivar size_bytes: the memory that they take.
    """

    max_certificates: int = MAX_KNOWN_CERTIFICATES
    max_bytes: int = MAX_KNOWN_BYTES
    size_bytes: int = field(default=0, init=False)
    _known: OrderedDict[bytes, CertificateFacts] = field(factory=OrderedDict, init=False)

    def facts(self, der: bytes) -> CertificateFacts:
        """Facts of a verified leaf certificate, as ``facts_from_der``.

        :raises Unauthorized: the certificate cannot be read. It is not kept.
        """
        facts = self._known.get(der)
        if facts is not None:
            self._known.move_to_end(der)
            return facts
        facts = self._known[der] = facts_from_der(der)
        self.size_bytes += _cost_bytes(der, facts)
        while self.size_bytes > self.max_bytes or len(self._known) > self.max_certificates:
            self.size_bytes -= _cost_bytes(*self._known.popitem(last=False))
        return facts

    def __len__(self) -> int:
        return len(self._known)


def _cost_bytes(der: bytes, facts: CertificateFacts) -> int:
    texts = (facts.issuer_common_name, facts.subject_common_name, *facts.subject_units, *facts.extended_key_usages)
    return _ENTRY_BYTES + len(der) + sum(_TEXT_BYTES + 4 * len(text) for text in texts)


def from_openssl(certificate: crypto.X509) -> x509.Certificate:
    """Convert a certificate; reading its parts in this package gives no warnings.

    :raises Exception: the certificate cannot be read; exceptions of cryptography share no base class.
    """
    _ignore_warnings()
    return x509.load_der_x509_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))


@frozen
class ShownCertificate:
    """A certificate that a peer has shown, for people. Nothing in it need be true unless it was verified.

    :ivar subject: last common name, of bounded length; empty without one, as is that of the issuer.
    :ivar not_before: None for a date that cannot be read, as for ``not_after``.
    :ivar depth: 0 for the peer's own certificate, more for the authorities above it.
    """

    subject: str
    issuer: str
    not_before: datetime | None
    not_after: datetime | None
    depth: int = 0


def shown_date(date: datetime | None) -> str:
    """A date for people."""
    return f"{date:%Y-%m-%d %H:%M:%S} UTC" if date is not None else "an unreadable date"


def shown_certificate(certificate: crypto.X509, depth: int = 0) -> ShownCertificate:
    """Read a certificate for people; what cannot be read is empty."""
    try:
        return shown(from_openssl(certificate), depth)
    except Exception:  # a peer chooses the bytes, and exceptions of cryptography share no base class
        return ShownCertificate("", "", None, None, depth)


def shown_der(der: bytes) -> ShownCertificate:
    """As ``shown_certificate``, of a certificate in DER."""
    _ignore_warnings()
    try:
        return shown(x509.load_der_x509_certificate(der))
    except Exception:  # a peer chooses the bytes, and exceptions of cryptography share no base class
        return ShownCertificate("", "", None, None)


def shown(certificate: x509.Certificate, depth: int = 0) -> ShownCertificate:
    """As ``shown_certificate``.

    :raises Exception: it cannot be read; exceptions of cryptography share no base class.
    """
    _ignore_warnings()
    return ShownCertificate(
        cut(_last_common_name(certificate.subject)),
        cut(_last_common_name(certificate.issuer)),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        depth,
    )


def is_for_clients(certificate: crypto.X509) -> bool:
    """Whether a client may use a certificate: its extended key usage names clients or any use, or is absent.

    False for an unreadable certificate: the peer of a handshake chooses the bytes.
    """
    try:
        usages = from_openssl(certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except Exception:  # exceptions of cryptography share no base class
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


def _ignore_warnings() -> None:
    """Ignore the warnings of cryptography about certificates that are read in this package.

    It warns of names that are empty or long, and of unusual serial numbers, on which the identity rules decide. A filter
    that another part of the process has put before this one must not change which certificates are readable.
    """
    if _FILTER not in warnings.filters[:1]:
        warnings.filterwarnings("ignore", category=UserWarning, module=_QUIET_MODULES)


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = x509.ExtendedKeyUsage(())
    subject = certificate.subject
    return CertificateFacts(
        issuer_common_name=_last_common_name(certificate.issuer),
        subject_common_name=_last_common_name(subject),
        subject_units=_texts(subject, NameOID.ORGANIZATIONAL_UNIT_NAME),
        extended_key_usages=tuple(usage.dotted_string for usage in usages),
    )


def _last_common_name(name: x509.Name) -> str:
    texts = _texts(name, NameOID.COMMON_NAME)
    return texts[-1] if texts else ""


def _texts(name: x509.Name, oid: ObjectIdentifier) -> tuple[str, ...]:
    return tuple(value for attribute in name.get_attributes_for_oid(oid) if isinstance(value := attribute.value, str))
