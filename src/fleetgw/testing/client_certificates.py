"""Client certificates of every kind, good and bad."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from fleetgw.simulator.certificates import Credential

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
ANY_USAGE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_VALID = timedelta(days=30)


def client_certificate(
    authority: Credential,
    common_name: str | None,
    usages: Sequence[ObjectIdentifier] = (CLIENT_AUTH,),
    *,
    expired: bool = False,
) -> Credential:
    """A leaf.

    :param common_name: of the subject, empty ones too; None for a subject with an organization only.
    :param usages: extended key usages, in this order; none for a certificate without the extension.
    """
    oid, value = (NameOID.ORGANIZATION_NAME, "nobody") if common_name is None else (NameOID.COMMON_NAME, common_name)
    attribute = x509.NameAttribute(oid, value or "-", _validate=False)
    if not value:
        attribute._value = ""  # an empty name: cryptography reads one, and refuses to make one
    key, builder = _begin(x509.Name([attribute]), authority, expired=expired)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Credential(builder.sign(authority.key, hashes.SHA256()), key)


def intermediate_authority(authority: Credential, common_name: str, usages: Sequence[ObjectIdentifier] = ()) -> Credential:
    """An authority that another one has signed, for these extended key usages; for any when none are given."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    key, builder = _begin(subject, authority, expired=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Credential(builder.sign(authority.key, hashes.SHA256()), key)


def root_authority(common_name: str) -> Credential:
    """A self-signed authority that may sign others."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - _VALID, now + _VALID)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Credential(builder.sign(key, hashes.SHA256()), key)


def _begin(
    subject: x509.Name, authority: Credential, *, expired: bool
) -> tuple[ec.EllipticCurvePrivateKey, x509.CertificateBuilder]:
    key = ec.generate_private_key(ec.SECP256R1())
    end = datetime.now(UTC) + (-_VALID if expired else _VALID)
    builder = x509.CertificateBuilder(
        authority.certificate.subject, subject, key.public_key(), x509.random_serial_number(), end - 2 * _VALID, end
    )
    return key, builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
    )
