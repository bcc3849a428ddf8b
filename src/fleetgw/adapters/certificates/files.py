"""Reads and checks files of certificates and keys, for the configuration's check, the doctor and TLS clients alike."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from fleetgw.adapters.certificates.bundle import read_bundle
from fleetgw.adapters.certificates.openssl_reasons import reason_of
from fleetgw.adapters.files.reading import read_regular_file, unreadable_reason
from fleetgw.domain.errors import FleetgwError
from fleetgw.domain.health import Validity

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

    from fleetgw.adapters.certificates.bundle import Bundle

RENEW_WITHIN = timedelta(days=30)
"""A certificate with less time left expires soon."""

_CERTIFICATES_FIX = "must be a PEM file with at least one certificate (BEGIN CERTIFICATE)"
_KEY_FIX = "must be a PEM file with a private key (BEGIN PRIVATE KEY), not encrypted"


class UnusableCertificateFile(FleetgwError):
    """A file that cannot be used as a certificate or a key.

    :ivar file: the file.
    :ivar reason: the problem, without the file's name.
    :ivar what: the problem, with the file's name.
    :ivar fix: the remedy.
    """

    def __init__(self, file: Path, reason: str, fix: str) -> None:
        self.file = file
        self.reason = reason
        self.what = f"{file} {reason}"
        self.fix = fix
        super().__init__(f"{self.what}; {fix}")


def validity(certificate: x509.Certificate, now: datetime) -> Validity:
    """Compare the dates of a certificate with the time.

    :raises ValueError: the dates cannot be read.
    """
    if certificate.not_valid_after_utc < now:
        return Validity.EXPIRED
    if certificate.not_valid_before_utc > now:
        return Validity.NOT_YET_VALID
    return Validity.EXPIRES_SOON if certificate.not_valid_after_utc - now < RENEW_WITHIN else Validity.VALID


def read_certificates(file: Path) -> list[x509.Certificate]:
    """Certificates of a PEM file, at least one.

    :raises UnusableCertificateFile: it cannot be read, or has no certificate.
    """
    content = _content(file, _CERTIFICATES_FIX)
    try:
        return x509.load_pem_x509_certificates(content)
    except (ValueError, x509.InvalidVersion) as error:
        unreadable = UnusableCertificateFile(file, "holds no readable certificate", _CERTIFICATES_FIX)
        raise _other_content(file, content) or unreadable from error


def read_authorities(file: Path) -> Bundle:
    """Certificates of a file of authorities, at least one; the bundle names the blocks that cannot be read.

    :raises UnusableCertificateFile: no certificate can be used.
    """
    content = _content(file, _CERTIFICATES_FIX)
    bundle = read_bundle(content)
    if not bundle.certificates:
        what = ": ".join(["holds no readable certificate", *map(str, bundle.unreadable[:1])])
        raise _other_content(file, content) or UnusableCertificateFile(file, what, _CERTIFICATES_FIX)
    return bundle


def read_private_key(file: Path) -> PrivateKeyTypes:
    """Private key of a PEM file.

    :raises UnusableCertificateFile: it cannot be read, is encrypted, or has no private key.
    """
    pem = _content(file, _KEY_FIX)
    fix = _KEY_FIX
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        what, fix = "is encrypted", f"take its passphrase off: openssl pkey -in {file} -out NEW_FILE; {fix}"
    except (ValueError, UnsupportedAlgorithm):
        if b"CERTIFICATE" in pem:
            what = "holds a certificate, no key: are the two swapped?"
        elif _is_der(pem):
            what, fix = "is not PEM, but looks like DER", f"convert it: openssl pkey -inform DER -in {file} -out NEW_FILE"
        else:
            what = "holds no readable private key"
    raise UnusableCertificateFile(file, what, fix)


def check_pair(certificate: x509.Certificate, certificate_file: Path, key: PrivateKeyTypes, key_file: Path) -> None:
    """Check that a key belongs to a certificate.

    :raises UnusableCertificateFile: it does not, or the certificate is for an unknown kind of key.
    """
    try:
        certified = _encoded(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        what, fix = "is for a key of a kind that is not known", "use EC P-256, or RSA of 2048 bits"
        raise UnusableCertificateFile(certificate_file, what, fix) from error
    if certified != _encoded(key.public_key()):
        what, fix = f"is not the key of {certificate_file}", "name the key that the certificate was made for"
        raise UnusableCertificateFile(key_file, what, fix)


def check_loadable(certificate_file: Path, key_file: Path) -> None:
    """Check that OpenSSL loads a certificate and its key: it has rules of its own, such as on short keys.

    :raises UnusableCertificateFile: it does not.
    """
    from OpenSSL import SSL  # not before: most configurations name no certificate of a client

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    for file, load in (
        (certificate_file, context.use_certificate_chain_file),
        (key_file, context.use_privatekey_file),
    ):
        try:
            load(str(file))
        except SSL.Error as error:
            reason = reason_of(error)
            fix = reason.fix or "use EC P-256, or RSA of at least 2048 bits, in a PEM file"
            raise UnusableCertificateFile(file, f"cannot be used: {reason.what}", fix) from error


def _encoded(public_key: PublicKeyTypes) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _other_content(file: Path, content: bytes) -> UnusableCertificateFile | None:
    """Error about a file that should hold certificates, when its content is known to be something else."""
    if b"PRIVATE KEY" in content:
        what = "holds a private key, no certificate: are the two swapped?"
        return UnusableCertificateFile(file, what, _CERTIFICATES_FIX)
    if _is_der(content):
        fix = f"convert it: openssl x509 -inform DER -in {file} -out NEW_FILE"
        return UnusableCertificateFile(file, "is not PEM, but looks like DER", fix)
    return None


def _content(file: Path, fix: str) -> bytes:
    try:
        content = read_regular_file(file)
    except OSError as error:
        raise UnusableCertificateFile(file, f"cannot be read: {unreadable_reason(error)}", fix) from error
    if not content.strip():
        raise UnusableCertificateFile(file, "is empty", fix)
    return content


def _is_der(content: bytes) -> bool:
    return content[:1] == b"\x30" and b"-----" not in content  # a SEQUENCE, which certificates and keys are
