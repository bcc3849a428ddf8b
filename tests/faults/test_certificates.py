"""Faults of certificates: those that are refused, and those that are replaced under load."""

import signal
import ssl
from datetime import UTC, datetime
from pathlib import Path

from fleetgw.simulator.certificates import Credential, make_server, read_credential
from tests.support.client_certificates import SERVER_AUTH, client_certificate, root_authority
from tests.support.faults.case import FaultCase, bounded
from tests.support.faults.connection import Connection, vehicle_tls


class CertificateCase(FaultCase):
    def setUp(self) -> None:
        super().setUp()
        file = self.certificates.authority_file
        self.authority = read_credential(file.read_bytes(), file.with_suffix(".key").read_bytes())

    def written(self, credential: Credential, file: Path) -> Path:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(credential.certificate_pem())
        file.with_suffix(".key").write_bytes(credential.key_pem())
        return file

    def is_let_in(self, tls: ssl.SSLContext) -> bool:
        """Whether a connection is upgraded. With TLS 1.3 a client hears of its refusal only then."""
        try:
            with Connection(("localhost", self.port), tls) as connection:
                connection.upgrade()
        except OSError:
            return False
        return True


class RefusedCertificateTests(CertificateCase):
    def test_certificates(self) -> None:
        """Each handshake fails, and its reason is counted."""
        refused = {
            "certificate has expired": client_certificate(self.authority, "EXPIRED", expired=True),
            "unable to get local issuer certificate": client_certificate(root_authority("TeslaMotors"), "STRANGER"),
            "unsuitable certificate purpose": client_certificate(self.authority, "SERVER", [SERVER_AUTH]),
            "peer did not return a certificate": None,
        }
        with self.load():
            for reason, credential in refused.items():
                with self.subTest(reason):
                    file = credential and self.written(credential, self.folder / "refused" / "vehicle.crt")
                    self.assertFalse(self.is_let_in(vehicle_tls(file, self.certificates.authority_file)))
                    self.wait_for_metric("tls_handshake_error_total", reason=reason)

    def test_withdrawn_authority(self) -> None:
        """Certificates are withdrawn by their authority: without it in ``tls.ca_file`` they are refused from a reload on."""
        withdrawn = root_authority("TeslaMotors")
        vehicle = self.written(client_certificate(withdrawn, "WITHDRAWN"), self.folder / "withdrawn" / "vehicle.crt")
        authorities = self.folder / "authorities.pem"
        authorities.write_bytes(self.authority.certificate_pem() + withdrawn.certificate_pem())
        server = self.certificates.server_file
        tls = {"ca_file": str(authorities), "server_cert": str(server), "server_key": str(server.with_suffix(".key"))}
        with self.load(tls=tls) as (gateway, _):
            self.assertTrue(self.is_let_in(vehicle_tls(vehicle, self.certificates.authority_file)))
            authorities.write_bytes(self.authority.certificate_pem())
            gateway.signal(signal.SIGHUP)
            gateway.wait_for("certificates_reloaded")
            self.assertFalse(self.is_let_in(vehicle_tls(vehicle, self.certificates.authority_file)))


class RotationTests(CertificateCase):
    def test_rotation(self) -> None:
        """New handshakes have the new certificate, no connection is dropped, and a bad file keeps the one in use."""
        with self.load() as (gateway, _):
            for number in range(1, bounded(3, 50) + 1):
                new = make_server(self.authority, ["localhost"], datetime.now(UTC), 20)
                self.written(new, self.certificates.server_file)
                gateway.signal(signal.SIGHUP)
                gateway.wait_for("certificates_reloaded", number)
                self.assertEqual(self.served(), new.certificate.serial_number)
                self.certificates.server_file.write_text("not a certificate")
                gateway.signal(signal.SIGHUP)
                gateway.wait_for("certificates_not_reloaded", number)
                self.assertEqual(self.served(), new.certificate.serial_number, "the last good one stays in use")

    def served(self) -> int:
        """The serial number of the certificate of a new handshake."""
        with self.connect() as connection:
            assert isinstance(connection.socket, ssl.SSLSocket)
            certificate = connection.socket.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)
