"""The judge of files with certificates and keys: the configuration's check and the doctor say the same of a file."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from fleetgw.adapters.certificates.bundle import read_bundle
from fleetgw.adapters.files.reading import read_regular_file, unreadable_reason
from fleetgw.domain.errors import FleetgwError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

    from fleetgw.adapters.certificates.bundle import Bundle

RENEW_WITHIN = timedelta(days=30)

_CERTIFICATES_FIX = "must be a PEM file with at least one certificate (BEGIN CERTIFICATE)"
_KEY_FIX = "must be a PEM file with a private key (BEGIN PRIVATE KEY), not encrypted"


class UnusableCertificateFile(FleetgwError):
    """A file that does not hold a certificate or a key as it should.

    :ivar file: the file.
    :ivar what: what is wrong, with the file's name.
    :ivar fix: what would be right.
    """

    def __init__(self, file: Path, what: str, fix: str) -> None:
        self.file = file
        self.what = f"{file} {what}"
        self.fix = fix
        super().__init__(f"{self.what}; {fix}")


class Validity(Enum):
    """The dates of a certificate, at some moment."""

    VALID = auto()
    EXPIRES_SOON = auto()
    EXPIRED = auto()
    NOT_YET_VALID = auto()


def validity(certificate: x509.Certificate, now: datetime) -> Validity:
    """Judge the dates of a certificate.

    :raises ValueError: it has no dates that can be read.
    """
    if certificate.not_valid_after_utc < now:
        return Validity.EXPIRED
    if certificate.not_valid_before_utc > now:
        return Validity.NOT_YET_VALID
    return Validity.EXPIRES_SOON if certificate.not_valid_after_utc - now < RENEW_WITHIN else Validity.VALID


def read_certificates(file: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one.

    :raises UnusableCertificateFile: it cannot be read, or holds something else.
    """
    return _certificates(file, _content(file, _CERTIFICATES_FIX))


def read_authorities(file: Path) -> Bundle:
    """The certificates of a file of authorities, at least one; blocks that cannot be read are named in the bundle.

    :raises UnusableCertificateFile: none can be used.
    """
    content = _content(file, _CERTIFICATES_FIX)
    bundle = read_bundle(content)
    if not bundle.certificates:
        _certificates(file, content)  # which may say why
        raise UnusableCertificateFile(file, "holds no certificate that can be used", _CERTIFICATES_FIX)
    return bundle


def read_private_key(file: Path) -> PrivateKeyTypes:
    """The private key of a PEM file.

    :raises UnusableCertificateFile: it cannot be read, is encrypted, or holds something else.
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
    """See that a key is the certificate's.

    :raises UnusableCertificateFile: it is not, or the certificate is for a key of a kind that is not known; names the file.
    """
    try:
        certified = _encoded(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        what, fix = "is for a key of a kind that is not known", "use EC P-256, or RSA of 2048 bits"
        raise UnusableCertificateFile(certificate_file, what, fix) from error
    if certified != _encoded(key.public_key()):
        what, fix = f"is not the key of {certificate_file}", "name the key that the certificate was made for"
        raise UnusableCertificateFile(key_file, what, fix)


def _encoded(public_key: PublicKeyTypes) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certificates(file: Path, pem: bytes) -> list[x509.Certificate]:
    fix = _CERTIFICATES_FIX
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):
        pass
    if b"PRIVATE KEY" in pem:
        what = "holds a private key, no certificate: are the two swapped?"
    elif _is_der(pem):
        what, fix = "is not PEM, but looks like DER", f"convert it: openssl x509 -inform DER -in {file} -out NEW_FILE"
    else:
        what = "holds no readable certificate"
    raise UnusableCertificateFile(file, what, fix)


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
