"""Reads a peer's certificate."""

import warnings

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from OpenSSL import crypto

from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.identity import CertificateFacts

MAX_REASON_CHARACTERS = 200
"""Maximum length of the reason in the error about an unreadable certificate."""


def facts_from_der(der: bytes) -> CertificateFacts:
    """Read the facts for the identity rules from a verified leaf certificate.

    :raises Unauthorized: the certificate cannot be read.
    """
    try:
        # cryptography warns of an empty or long common name, on which the identity rules decide.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            return _facts(x509.load_der_x509_certificate(der))
    except Exception as problem:  # a peer chooses the bytes, and exceptions of cryptography share no base class
        reason = f"{type(problem).__name__}: {problem}"[:MAX_REASON_CHARACTERS]
        raise Unauthorized(f"the certificate cannot be read: {reason}") from problem


def is_for_clients(certificate: crypto.X509) -> bool:
    """Whether a client may use a certificate: its extended key usage names clients or any use, or is absent.

    False for an unreadable certificate: the peer of a handshake chooses the bytes.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            usages = certificate.to_cryptography().extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except Exception:  # exceptions of cryptography share no base class
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


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
