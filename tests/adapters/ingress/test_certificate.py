"""Certificates that the golden vectors do not have: unreadable ones, and one with many names."""

from datetime import UTC, datetime
from unittest import TestCase

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fleetgw.adapters.ingress.certificate import facts_from_der
from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.identity import CertificateFacts


def certificate(*usages: str) -> bytes:
    """A certificate of two common names and two units on both sides."""
    key = generate_private_key(SECP256R1())
    parts = [
        (NameOID.COMMON_NAME, "first"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "one"),
        (NameOID.COMMON_NAME, "last"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "two"),
    ]
    subject = x509.Name([x509.NameAttribute(oid, f"subject {text}") for oid, text in parts])
    issuer = x509.Name([x509.NameAttribute(oid, f"issuer {text}") for oid, text in parts])
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), 1)
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2065, 1, 1, tzinfo=UTC))
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(map(x509.ObjectIdentifier, usages)), critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


class FactsFromDerTests(TestCase):
    def test_order_is_kept(self) -> None:
        usages = ("1.2.3.4", "1.3.6.1.5.5.7.3.2", "1.2.3.3")
        self.assertEqual(
            facts_from_der(certificate(*usages)),
            CertificateFacts("issuer last", "subject last", ("subject one", "subject two"), usages),
        )

    def test_without_usages(self) -> None:
        self.assertEqual(facts_from_der(certificate()).extended_key_usages, ())

    def test_unreadable_certificates_are_not_authorised(self) -> None:
        der = certificate("1.2.3.4")
        for damaged in (b"", b"\x30", der[:-1], der + b"\x00", der.replace(b"subject last", b"\xff" * 12)):
            with self.subTest(damaged[:20]), self.assertRaisesRegex(Unauthorized, "cannot be read"):
                facts_from_der(damaged)

    def test_a_damaged_byte_anywhere_is_at_worst_not_authorised(self) -> None:
        der = certificate("1.2.3.4")
        readable = 0
        for position in range(len(der)):
            for value in (0x00, 0x7F, 0xFF):
                try:
                    facts_from_der(der[:position] + bytes([value]) + der[position + 1 :])
                    readable += 1
                except Unauthorized:
                    continue
        self.assertGreater(readable, 0)
