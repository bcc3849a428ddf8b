"""Certificates that the golden vectors do not have: unreadable ones, and one with many names."""

from datetime import UTC, datetime
from typing import Any
from unittest import TestCase

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fleetgw.adapters.ingress.certificate import facts_from_der
from fleetgw.adapters.ingress.handshake_failure import HANDSHAKE_REASONS
from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.identity import CertificateFacts
from tests.support.client_certificates import CLIENT_AUTH, SERVER_AUTH, changed, client_certificate, root_authority
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.raw_vehicle import RawClientTls


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

    def test_a_damaged_byte_anywhere_raises_nothing_but_unauthorized(self) -> None:
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


SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
X400_ADDRESS = bytes.fromhex("3004a3023000")


class OddCertificateTests(GatewayCase):
    """Signed certificates that cryptography cannot read: refused and counted, without an exception."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = root_authority("TeslaMotors")
        self.start(authority=self.authority)

    def refused(self, leaf: Any) -> str:
        """Log event of a refusal, in the handshake or after it."""
        before = self.refusals()
        vehicle = self.gateway.connect(RawClientTls(leaf))
        response = vehicle.upgrade()
        self.assertIn(response[:12], (b"", b"HTTP/1.1 403"))
        self.assertIsNotNone(vehicle.lost)
        self.assertEqual(self.refusals(), before + 1)
        self.assertEqual(self.gateway.log.fields_of("connection_failed"), [])
        self.assertEqual(self.gateway.log.fields_of("socket_connected"), [])
        self.assertLeavesNothing()
        log = self.gateway.log
        reasons = log.fields_of("tls_handshake_error") + log.fields_of("extract_sender_id_err")
        log.entries.clear()
        return str(reasons[-1]["error"])

    def refusals(self) -> float:
        counted = self.gateway.counted
        handshakes = sum(counted("tls_handshake_error_total", reason=reason) for reason in (*HANDSHAKE_REASONS, "other"))
        return handshakes + counted("connections_refused_total", listener="vehicles", reason="unauthorized")

    def test_for_servers(self) -> None:
        leaf = client_certificate(self.authority, VIN, [SERVER_AUTH], extensions={SUBJECT_ALTERNATIVE_NAME: X400_ADDRESS})
        self.assertEqual(self.refused(leaf), "certificate verify failed: unsuitable certificate purpose")

    def test_for_clients(self) -> None:
        for der in (X400_ADDRESS, bytes.fromhex("3004a5023000"), b"", b"\x30\x84", b"\x04\x00"):
            leaf = client_certificate(self.authority, VIN, [CLIENT_AUTH], extensions={SUBJECT_ALTERNATIVE_NAME: der})
            self.refused(leaf)

    def test_extensions_and_serial_numbers(self) -> None:
        key_usage, name_constraints = "2.5.29.15", "2.5.29.30"
        serial_number = 0x1122334455667788
        leaf = client_certificate(
            self.authority,
            VIN,
            [SERVER_AUTH],
            extensions={SUBJECT_ALTERNATIVE_NAME: X400_ADDRESS, key_usage: b"\xff" * 9, name_constraints: b"\x00"},
            serial_number=serial_number,
        )
        self.refused(leaf)
        duplicate = changed(leaf, self.authority, bytes.fromhex("0603551d1e"), bytes.fromhex("0603551d11"))
        self.refused(duplicate)
        negative = (0x91 << 56 | serial_number & ~(0xFF << 56)).to_bytes(8, "big")
        self.refused(changed(leaf, self.authority, serial_number.to_bytes(8, "big"), negative))

    def test_names(self) -> None:
        for name in (
            f"{VIN}\0",
            f"\x1b[2J{VIN}",
            f"{VIN}\x85",
            f"{VIN}\u202e",
            f"{VIN}\u2028",
            f"{VIN}\x7f",
            f"{VIN}\u200b",
            "x" * 129,
            "\U0001f697" * 1000,
        ):
            reason = self.refused(client_certificate(self.authority, name))
            self.assertIn("subject common name", reason)
            self.assertTrue(reason.isprintable(), ascii(name))
            self.assertLess(len(reason), 400)

    def test_the_longest_name(self) -> None:
        vehicle = self.gateway.connect(RawClientTls(client_certificate(self.authority, "x" * 128)))
        self.assertEqual(vehicle.upgrade()[:12], b"HTTP/1.1 101")
