import ipaddress
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from unittest import TestCase

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from fleetgw.simulator.certificate_folder import CertificateFolder, CertificateFolderError
from fleetgw.simulator.certificates import common_name, make_authority, make_vehicle, read_credential
from fleetgw.simulator.vins import check_digit, make_vin

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class VinTests(TestCase):
    def test_check_digit_of_known_vins(self):
        # The second is the example that textbooks use for X.
        for vin in ("11111111111111111", "1M8GDM9AXKP042788", "1HGCM82633A004352", "5YJSA1DG9DFP14705"):
            with self.subTest(vin):
                self.assertEqual(check_digit(vin), vin[8])

    @given(st.integers(0, 3_999_999))
    def test_made_vins_are_valid(self, number):
        vin = make_vin(number)
        self.assertEqual(len(vin), 17)
        self.assertEqual(check_digit(vin), vin[8])

    def test_no_vin_twice(self):
        self.assertEqual(len({make_vin(number) for number in range(5000)}), 5000)

    def test_invalid_vins(self):
        for text in ("", "5YJ3E1EA7KF00031", "5YJ3E1EA7KF00O316", "5yj3e1ea7kf000316"):
            with self.subTest(text), self.assertRaises(ValueError):
                check_digit(text)
        for number in (-1, 4_000_000):
            with self.subTest(number), self.assertRaises(ValueError):
                make_vin(number)


class CertificateTests(TestCase):
    def test_vehicle(self):
        authority = make_authority(NOW, 10)
        vehicle = make_vehicle(authority, "5YJ3E1EA7KF000316", NOW, 10)
        vehicle.certificate.verify_directly_issued_by(authority.certificate)
        self.assertEqual(common_name(vehicle.certificate), "5YJ3E1EA7KF000316")
        issuers = vehicle.certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
        self.assertEqual([issuer.value for issuer in issuers], ["TeslaMotors"])
        usage = vehicle.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.CLIENT_AUTH])
        self.assertEqual((vehicle.certificate.not_valid_after_utc - NOW).days, 10)

    def test_a_key_of_another_certificate(self):
        authority, other = make_authority(NOW, 10), make_authority(NOW, 10)
        with self.assertRaises(ValueError):
            read_credential(authority.certificate_pem(), other.key_pem())


class CertificateFolderTests(TestCase):
    def setUp(self):
        self.path = Path(tempfile.mkdtemp()) / "made" / "certs"
        self.addCleanup(shutil.rmtree, self.path.parent.parent)
        self.folder = CertificateFolder(self.path)

    def contents(self):
        return {file.relative_to(self.path): file.read_bytes() for file in self.path.rglob("*.*")}

    def test_keys_are_for_their_owner_alone_whatever_the_umask(self):
        self.addCleanup(os.umask, os.umask(0))
        self.folder.ensure_authority()
        self.folder.ensure_server()
        self.folder.ensure_vehicles(1)
        keys = list(self.path.rglob("*.key"))
        self.assertEqual({key.stat().st_mode & 0o777 for key in keys}, {0o600})
        self.assertEqual({key.parent.stat().st_mode & 0o022 for key in keys}, {0}, "nobody else may exchange them")
        self.assertEqual(len(keys), 3)

    def test_making_it_twice_changes_nothing(self):
        self.assertTrue(self.folder.ensure_authority())
        self.assertTrue(self.folder.ensure_server())
        self.assertEqual(self.folder.ensure_vehicles(2), 2)
        before = self.contents()
        self.assertEqual(len(before), 8)
        self.assertFalse(self.folder.ensure_authority())
        self.assertFalse(self.folder.ensure_server())
        self.assertEqual(self.folder.ensure_vehicles(2), 0)
        self.assertEqual(self.contents(), before)

    def test_further_vehicles_leave_the_others_alone(self):
        self.folder.ensure_authority()
        self.folder.ensure_vehicles(2)
        before = self.contents()
        self.assertEqual(self.folder.ensure_vehicles(5), 3)
        after = self.contents()
        self.assertEqual(len(self.folder.vehicle_files()), 5)
        self.assertEqual({name: after[name] for name in before}, before)

    def test_keys_are_private(self):
        self.folder.ensure_authority()
        self.folder.ensure_server()
        self.folder.ensure_vehicles(1)
        keys = list(self.path.rglob("*.key"))
        self.assertEqual(len(keys), 3)
        for key in keys:
            with self.subTest(key.name):
                self.assertEqual(key.stat().st_mode & 0o777, 0o600)

    def test_server_names(self):
        self.folder.ensure_authority()
        self.folder.ensure_server()
        self.assertTrue(self.folder.ensure_server(["gateway.example.com", "192.0.2.7"]))
        certificate = x509.load_pem_x509_certificate(self.folder.server_file.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["gateway.example.com", "localhost"])
        addresses = [ipaddress.ip_address(text) for text in ("192.0.2.7", "127.0.0.1", "::1")]
        self.assertEqual(names.get_values_for_type(x509.IPAddress), addresses)
        self.assertFalse(self.folder.ensure_server(["192.0.2.7"]))

    def test_vehicles_without_the_authoritys_key(self):
        self.folder.ensure_authority()
        self.folder.ensure_vehicles(1)
        (self.path / "ca.key").unlink()
        self.assertEqual(self.folder.ensure_vehicles(1), 0)
        with self.assertRaisesRegex(CertificateFolderError, r"ca\.key is missing.*fleetgw certs"):
            self.folder.ensure_vehicles(2)
        with self.assertRaises(CertificateFolderError):
            self.folder.ensure_authority()

    def test_clear_takes_all_that_the_authority_signed(self):
        self.folder.ensure_authority()
        self.folder.ensure_server()
        self.folder.ensure_vehicles(2)
        self.folder.clear()
        self.assertEqual(self.contents(), {})
