"""Client certificates of every kind, good and bad."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from fleetgw.simulator.certificates import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    extensions: Mapping[str, bytes] = MappingProxyType({}),
    serial_number: int | None = None,
) -> Credential:
    """A leaf.

    :param common_name: common name of the subject, may be empty; None for a subject with an organization only.
    :param usages: extended key usages, in this order; none for a certificate without the extension.
    :param extensions: more of them, readable or not: dotted OID -> DER.
    """
    oid, value = (NameOID.ORGANIZATION_NAME, "nobody") if common_name is None else (NameOID.COMMON_NAME, common_name)
    attribute = x509.NameAttribute(oid, "-")
    attribute._value = value  # cryptography reads names that are empty or long, and refuses to make them
    key, builder = _begin(x509.Name([attribute]), authority, expired=expired)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    for dotted, der in extensions.items():
        builder = builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier(dotted), der), critical=False)
    if serial_number is not None:
        builder._serial_number = serial_number
    return Credential(builder.sign(authority.key, hashes.SHA256()), key)


def changed(leaf: Credential, authority: Credential, old: bytes, new: bytes) -> Credential:
    """A leaf with some bytes of its content replaced, signed again: no library makes such a certificate."""
    if len(old) != len(new) or leaf.certificate.tbs_certificate_bytes.count(old) != 1:
        raise ValueError("the bytes to replace must be there once, and as many as the new ones")
    content = leaf.certificate.tbs_certificate_bytes.replace(old, new)
    signature = authority.key.sign(content, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    body = content + algorithm + b"\x03" + bytes([len(signature) + 1, 0]) + signature
    der = b"\x30\x82" + len(body).to_bytes(2, "big") + body
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return Credential(x509.load_der_x509_certificate(der), leaf.key)


def intermediate_authority(authority: Credential, common_name: str, usages: Sequence[ObjectIdentifier] = ()) -> Credential:
    """An authority signed by another one, for these extended key usages; without any, for all."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    key, builder = _begin(subject, authority, expired=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Credential(builder.sign(authority.key, hashes.SHA256()), key)


def root_authority(common_name: str, valid: timedelta = _VALID) -> Credential:
    """A self-signed authority that may sign others."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - _VALID, now + valid)
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
