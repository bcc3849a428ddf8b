"""Certificates for development, not for production: an authority, a server, vehicles; with ECDSA P-256 keys.

The authority's name is ``TeslaMotors``, an issuer of vehicles in the default issuer table. Nothing else of it is Tesla's.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AUTHORITY_COMMON_NAME = "TeslaMotors"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")

_CLOCK_SKEW = timedelta(days=1)


@frozen
class Credential:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def common_name(self) -> str:
        """The subject's common name; a vehicle's VIN."""
        return common_name(self.certificate)

    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """The private key in PEM (PKCS#8), not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def common_name(certificate: x509.Certificate) -> str:
    """The last common name of a certificate's subject, or empty."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def read_credential(certificate_pem: bytes, key_pem: bytes) -> Credential:
    """Read a credential from two PEM texts.

    :raises ValueError: one cannot be read, the key is no ECDSA key, or it is another certificate's.
    """
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the private key is not an ECDSA key")
    if certificate.public_key() != key.public_key():
        raise ValueError("the private key is not the certificate's")
    return Credential(certificate, key)


def make_authority(now: datetime, valid_days: int, name: str = AUTHORITY_COMMON_NAME) -> Credential:
    """A new certificate authority.

    :param now: with a time zone; the validity begins a day earlier.
    :param name: its common name, which the gateway's issuer table has.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "fleetgw development, not for production"),
        ]
    )
    certificate = (
        _builder(subject, subject, key.public_key(), now, valid_days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Credential(certificate, key)


def make_server(authority: Credential, hosts: Sequence[str], now: datetime, valid_days: int) -> Credential:
    """A server certificate for ``hosts``: DNS names and IP addresses; the first is the common name."""
    names = x509.SubjectAlternativeName(_general_names(hosts))
    return _issue(authority, hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, now, valid_days, names)


def make_vehicle(authority: Credential, vin: str, now: datetime, valid_days: int) -> Credential:
    """A vehicle's client certificate: common name = VIN."""
    return _issue(authority, vin, ExtendedKeyUsageOID.CLIENT_AUTH, now, valid_days)


def covers(certificate: x509.Certificate, hosts: Iterable[str]) -> bool:
    """Whether a server certificate names every one of ``hosts``."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return set(_general_names(hosts)) <= set(names)


def _general_names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    return [_general_name(host) for host in dict.fromkeys(hosts)]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _issue(
    authority: Credential,
    name: str,
    usage: ObjectIdentifier,
    now: datetime,
    valid_days: int,
    alternative_names: x509.SubjectAlternativeName | None = None,
) -> Credential:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(subject, authority.certificate.subject, key.public_key(), now, valid_days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if alternative_names is not None:
        builder = builder.add_extension(alternative_names, critical=False)
    return Credential(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, valid_days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=valid_days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
