"""Failed handshakes are told in words: the cause, the certificate, the remedy."""

from datetime import UTC, datetime, timedelta

from OpenSSL import SSL

from fleetgw.adapters.ingress.handshake_failure import HANDSHAKE_REASONS, explain
from fleetgw.adapters.ingress.tls_context import VehicleTls
from fleetgw.domain.line_limit import TEXT_CHARACTERS
from fleetgw.simulator.certificates import make_authority, make_vehicle
from tests.support.client_certificates import (
    SERVER_AUTH,
    client_certificate,
    intermediate_authority,
    root_authority,
)
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.raw_vehicle import RawClientTls

COUNTER = "tls_handshake_error_total"
VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)


class FailureTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.authority = root_authority("TeslaMotors")
        self.start(authority=self.authority)

    def failed(self, tls: RawClientTls | None, data: bytes = b"") -> dict[str, object]:
        """The fields of the event of a handshake that fails."""
        vehicle = self.gateway.connect(tls)
        vehicle.link.pump()
        if data:
            vehicle.send(data)
        self.assertIsNotNone(vehicle.lost)
        return dict(self.gateway.log.fields_of("tls_handshake_error")[-1])

    def test_an_expired_certificate(self) -> None:
        leaf = client_certificate(self.authority, VIN, expired=True)
        ends = f"{leaf.certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
        for version in VERSIONS:
            fields = self.failed(RawClientTls(leaf, version=version))
            self.assertEqual(fields["error"], "certificate verify failed: certificate has expired")
            self.assertEqual(fields["remote_ip"], "127.0.0.1:50000")
            self.assertEqual((fields["subject"], fields["issuer"], fields["not_after"]), (VIN, "TeslaMotors", ends))
            self.assertEqual(fields["not_before"], f"{leaf.certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC")
            self.assertEqual(fields["what"], f'the certificate of "{VIN}" expired on {ends}')
            self.assertIn("renewed", str(fields["fix"]))

    def test_a_certificate_of_tomorrow(self) -> None:
        tomorrow = datetime.now(UTC) + timedelta(days=2)
        fields = self.failed(RawClientTls(make_vehicle(self.authority, VIN, tomorrow, 30)))
        self.assertRegex(str(fields["what"]), f'the certificate of "{VIN}" is not valid before 2')
        self.assertIn("clock", str(fields["fix"]))

    def test_an_unknown_authority_is_named_with_its_remedy(self) -> None:
        fields = self.failed(RawClientTls(client_certificate(root_authority("Tesla Engineering CA"), VIN)))
        self.assertEqual(
            fields["what"],
            f'tls.ca_file has no authority "Tesla Engineering CA", which has issued the certificate of "{VIN}"',
        )
        for part in ("tls.ca_file", "fleetgw fetch-ca", "--eng"):
            self.assertIn(part, str(fields["fix"]))

    def test_the_authority_that_is_missing_above_an_intermediate(self) -> None:
        unknown = root_authority("Unknown Root")
        intermediate = intermediate_authority(unknown, "Tesla Issuing CA")
        fields = self.failed(RawClientTls(client_certificate(intermediate, VIN), [intermediate]))
        self.assertEqual((fields["subject"], fields["issuer"]), ("Tesla Issuing CA", "Unknown Root"))
        self.assertIn('"Tesla Issuing CA", an authority of the client\'s chain', str(fields["what"]))

    def test_an_authority_of_the_same_name(self) -> None:
        self.start(authority=self.authority, authorities=[make_authority(datetime.now(UTC), 30)])
        other = make_authority(datetime.now(UTC), 30)
        fields = self.failed(RawClientTls(make_vehicle(other, VIN, datetime.now(UTC), 30)))
        self.assertIn("certificate verify failed", str(fields["error"]))
        self.assertIn(str(fields["issuer"]), str(fields["what"]))

    def test_other_certificates(self) -> None:
        for_servers = client_certificate(self.authority, VIN, [SERVER_AUTH])
        self.assertIn("is not for clients", str(self.failed(RawClientTls(for_servers))["what"]))
        alone = root_authority(VIN)
        self.assertIn("signed by itself", str(self.failed(RawClientTls(alone))["what"]))
        fields = self.failed(RawClientTls(None))
        self.assertIn("load balancer", str(fields["fix"]))
        self.assertNotIn("issuer", fields)

    def test_names_of_strangers_are_bounded(self) -> None:
        stranger = client_certificate(root_authority("x"), "y" * 5_000)
        fields = self.failed(RawClientTls(stranger))
        self.assertLess(len(str(fields)), 10 * TEXT_CHARACTERS)
        fields = self.failed(RawClientTls(client_certificate(root_authority("{error}{0}"), "{fix}")))
        self.assertIn('"{error}{0}", which has issued the certificate of "{fix}"', str(fields["what"]))

    def test_what_is_no_vehicle(self) -> None:
        for data, word in (
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "plain HTTP"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY protocol"),
            (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY protocol"),
            (b"hello, is anybody there? " * 10, "not TLS"),
        ):
            fields = self.failed(None, data)
            self.assertIn(word, str(fields["what"]))
            self.assertIn("load balancer", str(fields["fix"]))

    def test_ciphers_and_versions(self) -> None:
        main = client_certificate(self.authority, VIN)
        tls = RawClientTls(main, version=SSL.TLS1_2_VERSION)
        tls.context.set_cipher_list(b"AES128-SHA:@SECLEVEL=0")  # for servers with RSA keys
        self.assertIn("no cipher in common", str(self.failed(tls)["what"]))
        self.assertIn("TLS 1.2", str(self.failed(RawClientTls(main, version=SSL.TLS1_1_VERSION))["what"]))
        self.assertIn("http/1.1", str(self.failed(RawClientTls(main, protocols=[b"h2"]))["fix"]))

    def test_a_vehicle_that_does_not_trust_the_gateway(self) -> None:
        for version in VERSIONS:
            tls = RawClientTls(client_certificate(self.authority, VIN), version=version)
            tls.context.set_verify(SSL.VERIFY_PEER, lambda *_: False)
            before = self.gateway.counted(COUNTER, reason="alert unknown ca")
            fields = self.failed(tls)
            self.assertIn("does not know the authority", str(fields["what"]))
            self.assertIn("fleet_telemetry_config", str(fields["fix"]))
            self.assertEqual(self.gateway.counted(COUNTER, reason="alert unknown ca"), before + 1)

    def test_a_probe_that_only_connects_is_no_error(self) -> None:
        self.gateway.connect(None).close()
        self.assertEqual(self.gateway.log.fields_of("tls_handshake_error"), [])

    def test_nothing_is_kept_of_certificates_that_are_accepted(self) -> None:
        self.open_vehicle()
        (connection,) = self.gateway.vehicles.connections
        tls = connection.transport._tlsConnection
        self.assertIsInstance(tls, VehicleTls)
        self.assertIsNone(tls.refused_certificate)  # type: ignore[attr-defined]  # Twisted's type of it is wider


class WordsTests(GatewayCase):
    def test_every_reason_has_words_also_without_a_certificate(self) -> None:
        for error in (*HANDSHAKE_REASONS, "self-signed certificate", "certificate signature failure", "anything else"):
            failure = explain(error, None, b"")
            self.assertIn(failure.reason, (*HANDSHAKE_REASONS, "other"))
            self.assertTrue(failure.what and failure.fix)
            self.assertNotIn("{", failure.what + failure.fix)
