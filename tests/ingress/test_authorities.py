"""Content of ``tls.ca_file``, and the dates of the server certificate."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fleetgw.adapters.ingress.reloadable_context import ReloadableContext
from fleetgw.app.config import parse_config
from fleetgw.domain.errors import ConfigurationError
from fleetgw.simulator.certificates import Credential, make_server
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.client_certificates import client_certificate, intermediate_authority, root_authority
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.raw_vehicle import RawClientTls

if TYPE_CHECKING:
    from collections.abc import Sequence


def namesake(*, ends_in_days: int = 30, constraints: x509.BasicConstraints | None = None) -> Credential:
    """An authority with the same name as others, without key identifiers."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TeslaMotors")])
    end = datetime.now(UTC) + timedelta(days=ends_in_days)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), end - timedelta(60), end)
    constraints = constraints or x509.BasicConstraints(ca=True, path_length=None)
    builder = builder.add_extension(constraints, critical=True)
    return Credential(builder.sign(key, hashes.SHA256()), key)


def vehicle_of(authority: Credential) -> Credential:
    """A vehicle's certificate without key identifiers."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, VIN)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        authority.certificate.subject, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1)
    )
    return Credential(builder.sign(authority.key, hashes.SHA256()), key)


class AuthoritiesTests(GatewayCase):
    def let_in(self, vehicle: Credential, chain: Sequence[Credential] = ()) -> bool:
        return self.gateway.connect(RawClientTls(vehicle, chain)).upgrade()[:12] == b"HTTP/1.1 101"

    def test_an_intermediate_alone(self) -> None:
        root = root_authority("root")
        intermediate = intermediate_authority(root, "TeslaMotors")
        self.start(authorities=[intermediate])
        self.assertTrue(self.let_in(client_certificate(intermediate, VIN)))
        self.assertTrue(self.let_in(client_certificate(intermediate, VIN), [intermediate]))
        self.assertFalse(self.let_in(client_certificate(root, VIN)))
        sibling = intermediate_authority(root, "TeslaMotors")
        self.assertFalse(self.let_in(client_certificate(sibling, VIN), [sibling]))

    def test_authorities_of_one_name(self) -> None:
        authorities = [namesake() for _ in range(4)]
        self.start(authorities=authorities)
        for authority in authorities:
            self.assertTrue(self.let_in(vehicle_of(authority)))
        self.assertFalse(self.let_in(vehicle_of(namesake())))
        unrelated = client_certificate(authorities[0], VIN, expired=True)
        self.assertFalse(self.let_in(unrelated))

    def test_authorities_of_one_name_that_may_not_issue(self) -> None:
        expired = namesake(ends_in_days=-1)
        leaf = namesake(constraints=x509.BasicConstraints(ca=False, path_length=None))
        good = namesake()
        for other in (expired, leaf):
            self.start(authorities=[good, other])
            self.assertTrue(self.let_in(vehicle_of(good)))
            self.assertFalse(self.let_in(vehicle_of(other)))

    def test_a_block_that_cannot_be_read(self) -> None:
        authority = root_authority("TeslaMotors")
        gateway = self.start(authority=authority)
        file = gateway.tls.files.ca_file
        broken = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
        file.write_bytes(b"\xef\xbb\xbf" + broken + authority.certificate_pem().replace(b"\n", b"\r\n"))
        self.assertEqual(gateway.tls.reload(), [str(file)])
        self.assertTrue(self.let_in(client_certificate(authority, VIN)))
        (skipped,) = gateway.log.fields_of("authority_skipped")
        self.assertEqual((skipped["file"], skipped["block"]), (str(file), 1))
        self.check_agrees(accepted=True)
        file.write_bytes(broken)
        with self.assertRaisesRegex(ConfigurationError, "tls.ca_file: .*certificate 1 of the file is skipped"):
            gateway.tls.reload()
        self.check_agrees(accepted=False)
        self.assertTrue(self.let_in(client_certificate(authority, VIN)))

    def check_agrees(self, *, accepted: bool) -> None:
        """Assert that the configuration's check agrees on the file."""
        text = {
            "port": 4443,
            "tls": {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"},
            "records": {"V": ["logger"]},
        }
        folder = self.gateway.tls.files.ca_file.parent
        if not accepted:
            with self.assertRaisesRegex(ConfigurationError, "tls.ca_file"):
                parse_config(json.dumps(text), {}, folder)
            return
        warnings = [each for each in parse_config(json.dumps(text), {}, folder).warnings if each.path == "tls.ca_file"]
        self.assertEqual(len(warnings), 1)
        self.assertIn("certificate 1 of the file is skipped", warnings[0].what)


class DatesTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.now = datetime.now(UTC)
        self.log = ReadableLog()

    def context(self, begins_in_days: int, valid_days: int) -> ReloadableContext:
        files = self.gateway.tls.files
        begins = datetime.now(UTC) + timedelta(begins_in_days + 1)
        server = make_server(self.gateway.authority, ["localhost"], begins, valid_days)
        files.server_cert.write_bytes(server.certificate_pem())
        files.server_key.write_bytes(server.key_pem())
        return ReloadableContext(files, self.log, lambda: self.now)

    def events(self) -> list[Any]:
        return [event for _, event, _ in self.log.entries]

    def test_a_certificate_becomes_valid_and_expires(self) -> None:
        context = self.context(5, 30)
        self.assertEqual(self.events(), ["server_certificate_not_valid"])
        self.assertIn("is not valid before", self.log.entries[0][2]["error"])
        self.assertEqual(context.reload(), [])
        self.assertEqual(len(self.log.entries), 1)
        self.now += timedelta(6)
        context.reload()
        context.reload()
        self.assertEqual(self.events()[1:], ["server_certificate_valid"])
        self.now += timedelta(365)
        context.reload()
        self.assertEqual(self.events()[2:], ["server_certificate_not_valid"])
        self.assertIn("expired on", self.log.entries[2][2]["error"])

    def test_a_valid_certificate_is_not_logged(self) -> None:
        self.context(-1, 30).reload()
        self.assertEqual(self.events(), [])

    def test_a_new_certificate_that_is_valid(self) -> None:
        context = self.context(5, 30)
        self.context(-1, 30)
        self.assertNotEqual(context.reload(), [])
        self.assertEqual(self.events(), ["server_certificate_not_valid", "server_certificate_valid"])

    def test_the_gateway_starts_with_a_certificate_that_is_not_valid_yet(self) -> None:
        self.context(5, 30)
        folder = self.gateway.tls.files.ca_file.parent
        tls = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
        loaded = parse_config(json.dumps({"port": 4443, "tls": tls, "records": {"V": ["logger"]}}), {}, folder)
        (warning,) = [each for each in loaded.warnings if each.path == "tls.server_cert"]
        self.assertIn("is not valid before", warning.what)
