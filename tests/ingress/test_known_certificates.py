"""The facts of certificates that come again, and cryptography's warnings about unusual ones."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any
from unittest import TestCase
from unittest.mock import Mock, patch

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from fleetgw.adapters.ingress import tls
from fleetgw.adapters.ingress.certificate import KnownCertificates, facts_from_der, is_for_clients
from fleetgw.adapters.ingress.namesakes import is_signed_by_namesake
from fleetgw.domain.errors import Unauthorized
from fleetgw.domain.identity import IssuerTable
from tests.support.client_certificates import SERVER_AUTH, changed, client_certificate, root_authority
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.raw_vehicle import RawClientTls

if TYPE_CHECKING:
    from fleetgw.simulator.certificates import Credential

AUTHORITY = root_authority("TeslaMotors")
ODD_NAMES = ("", "x" * 65, "\U0001f697" * 1000)
"""Common names of which cryptography warns."""


def der(leaf: Credential) -> bytes:
    return leaf.certificate.public_bytes(Encoding.DER)


def vehicles(number: int) -> list[bytes]:
    return [der(client_certificate(AUTHORITY, f"{VIN[:-2]}{each:02}")) for each in range(number)]


class KnownCertificatesTests(TestCase):
    def test_the_facts_are_those_of_the_certificate(self) -> None:
        known = KnownCertificates()
        certificates = [*vehicles(3), *(der(client_certificate(AUTHORITY, name, [SERVER_AUTH])) for name in ODD_NAMES)]
        for each in certificates * 2:
            self.assertEqual(known.facts(each), facts_from_der(each))
        self.assertEqual(len(known), len(certificates))

    def test_a_certificate_that_comes_again_is_not_read_again(self) -> None:
        known = KnownCertificates()
        (certificate,) = vehicles(1)
        facts = known.facts(certificate)
        self.assertIs(known.facts(bytes(bytearray(certificate))), facts)

    def test_their_number_is_bounded(self) -> None:
        known = KnownCertificates(max_certificates=2)
        first, second, third = vehicles(3)
        facts = known.facts(first)
        replaced = known.facts(second)
        known.facts(first)
        known.facts(third)  # in place of the second, which was asked for before the first
        self.assertEqual(len(known), 2)
        self.assertIs(known.facts(first), facts)
        self.assertIsNot(known.facts(second), replaced)
        self.assertEqual(len(known), 2)

    def test_their_memory_is_bounded(self) -> None:
        known = KnownCertificates()
        certificates = vehicles(10)
        known.facts(certificates[0])
        each_bytes = known.size_bytes
        self.assertGreater(each_bytes, len(certificates[0]))
        known = KnownCertificates(max_bytes=4 * each_bytes + each_bytes // 2)
        for certificate in certificates * 2:
            known.facts(certificate)
            self.assertLessEqual(known.size_bytes, known.max_bytes)
        self.assertEqual(len(known), 4)
        large = der(client_certificate(AUTHORITY, "x" * known.max_bytes))
        for _ in range(2):
            self.assertEqual(known.facts(large), facts_from_der(large))
            self.assertEqual((len(known), known.size_bytes), (0, 0))

    def test_an_unreadable_certificate_is_refused_each_time_and_not_kept(self) -> None:
        known = KnownCertificates()
        (certificate,) = vehicles(1)
        errors = set()
        for _ in range(3):
            with self.assertRaises(Unauthorized) as raised:
                known.facts(certificate[:-1])
            errors.add(str(raised.exception))
        self.assertEqual(len(errors), 1)
        self.assertEqual((len(known), known.size_bytes), (0, 0))


class GatewayKnowsTests(GatewayCase):
    def upgrade(self, client: RawClientTls) -> bytes:
        vehicle = self.gateway.connect(client)
        response = vehicle.upgrade()[:12]
        vehicle.close()
        return response

    def test_a_vehicle_that_comes_again(self) -> None:
        known = self.start().vehicles.context.certificates
        vehicle = self.gateway.vehicle_tls()
        for _ in range(3):
            self.assertEqual(self.upgrade(vehicle), b"HTTP/1.1 101")
        self.assertEqual(len(known), 1)
        self.assertEqual(self.upgrade(self.gateway.vehicle_tls()), b"HTTP/1.1 101")
        self.assertEqual(len(known), 2)

    def test_the_certificate_is_the_vehicles_byte_for_byte(self) -> None:
        self.start(authority=AUTHORITY)
        long = {"1.2.3.4": b"\x04\x82\x40\x00" + b"x" * 0x4000}  # more than one read of OpenSSL's buffers
        leaves = [client_certificate(AUTHORITY, VIN, extensions=each) for each in ({}, long)]
        for leaf in leaves * 2:
            vehicle = self.gateway.connect(RawClientTls(leaf))
            server: Any = vehicle.link.server.protocol
            with self.assertRaisesRegex(ValueError, "handshake is not done"):
                _ = server.peer_certificate
            self.assertEqual(vehicle.upgrade()[:12], b"HTTP/1.1 101")
            with patch.object(tls, "_lib", Mock(wraps=tls._lib)) as openssl:
                self.assertEqual((server.peer_certificate, server.peer_certificate), (der(leaf), der(leaf)))
            self.assertEqual(openssl.X509_free.call_count, 2)  # as often as OpenSSL has given it
            vehicle.close()
            with self.assertRaisesRegex(ValueError, "handshake is not done"):
                _ = server.peer_certificate

    def test_a_new_issuer_table_decides_about_known_certificates(self) -> None:
        context = self.start().vehicles.context
        vehicle, issuers = self.gateway.vehicle_tls(), context.issuers
        self.assertEqual(self.upgrade(vehicle), b"HTTP/1.1 101")
        self.gateway.vehicles.use(IssuerTable({}), context.limits)
        self.assertEqual(self.upgrade(vehicle), b"HTTP/1.1 403")
        self.gateway.vehicles.use(issuers, context.limits)
        self.assertEqual(self.upgrade(vehicle), b"HTTP/1.1 101")

    def test_only_verified_certificates_are_kept(self) -> None:
        known = self.start().vehicles.context.certificates
        stranger = client_certificate(root_authority("TeslaMotors"), VIN)
        self.assertEqual(self.upgrade(RawClientTls(stranger)), b"")
        self.assertEqual(self.upgrade(RawClientTls(None)), b"")
        self.assertEqual(len(known), 0)


class WarningsTests(GatewayCase):
    """No warning reaches the process, and none changes which certificates are readable."""

    def test_facts(self) -> None:
        for action in ("error", "always"):
            with warnings.catch_warnings(record=True, action=action) as warned:
                for name in ODD_NAMES:
                    facts = facts_from_der(der(client_certificate(AUTHORITY, name)))
                    self.assertEqual(facts.subject_common_name, name)
                    warnings.simplefilter(action)  # as a program may, after the first certificate
                self.assertEqual(warned, [])

    def test_certificates_in_the_handshake(self) -> None:
        authority = root_authority("x" * 64)
        leaf = client_certificate(authority, ODD_NAMES[1], [SERVER_AUTH], serial_number=0x1122334455667788)
        negative = changed(leaf, authority, bytes.fromhex("1122334455667788"), bytes.fromhex("9122334455667788"))
        certificate = crypto.X509.from_cryptography(negative.certificate)
        name = authority.certificate.subject.public_bytes()
        for action in ("error", "always"):
            with warnings.catch_warnings(record=True, action=action) as warned:
                self.assertFalse(is_for_clients(certificate))
                self.assertTrue(is_signed_by_namesake({name: [authority.certificate]}, certificate, 0))
                self.assertEqual(warned, [])

    def test_a_vehicle(self) -> None:
        self.start(authority=AUTHORITY)
        for action in ("error", "always"):
            with warnings.catch_warnings(record=True, action=action) as warned:
                vehicle = self.gateway.connect(RawClientTls(client_certificate(AUTHORITY, ODD_NAMES[1])))
                self.assertEqual(vehicle.upgrade()[:12], b"HTTP/1.1 101")
                self.assertEqual(warned, [])

    def test_the_warnings_of_others_are_not_hidden(self) -> None:
        (certificate,) = vehicles(1)
        with warnings.catch_warnings(record=True, action="always") as warned:
            facts_from_der(certificate)
            warnings.warn("the program's own", stacklevel=1)
            filters = len(warnings.filters)
            facts_from_der(certificate)
            self.assertEqual(len(warnings.filters), filters)
        self.assertEqual([str(each.message) for each in warned], ["the program's own"])
