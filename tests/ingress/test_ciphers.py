"""The choice of a cipher: AES-128 unless the client prefers ChaCha20, and no cipher less than OpenSSL's own accepts."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from fleetgw.adapters.ingress.tls_context import make_context, read_vehicle_authorities
from fleetgw.simulator.certificates import make_server, make_vehicle
from tests.support.gateway_in_memory import VIN, GatewayCase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VALID_DAYS = 30
AES_128, AES_256, CHACHA20 = "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"
EC_AES_128, EC_AES_256 = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
RSA_AES_128 = "ECDHE-RSA-AES128-GCM-SHA256"
EC_CHACHA20, EC_CBC = "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-SHA384"


def is_tls13(name: str) -> bool:
    return name.startswith("TLS_")


def exchange(server: SSL.Connection, client: SSL.Connection) -> str | None:
    """Cipher of a handshake; None when it fails."""
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(4):
        for side, other in ((client, server), (server, client)):
            try:
                side.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error:
                return None
            with suppress(SSL.WantReadError):
                other.bio_write(side.bio_read(1 << 16))
    return server.get_cipher_name()


class CipherTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.vehicle = make_vehicle(self.gateway.authority, VIN, datetime.now(UTC), VALID_DAYS)
        self.own: Callable[[], SSL.Connection] = partial(self.gateway.tls.serverConnectionForTLS, Any)

    def chosen(self, ciphers: Sequence[str], server: Callable[[], SSL.Connection] | None = None) -> str | None:
        """Cipher that the gateway chooses of those that a client offers in this order, all of one TLS version."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.use_certificate(self.vehicle.certificate)
        context.use_privatekey(self.vehicle.key)
        offered = ":".join(ciphers).encode()
        if is_tls13(ciphers[0]):
            context.set_tls13_ciphersuites(offered)
            context.set_min_proto_version(SSL.TLS1_3_VERSION)
        else:
            context.set_cipher_list(offered)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
        return exchange((server or self.own)(), SSL.Connection(context, None))

    def test_aes_128_comes_first(self) -> None:
        self.assertEqual(self.chosen([AES_256, CHACHA20, AES_128]), AES_128)  # the order that OpenSSL's clients have
        self.assertEqual(self.chosen([AES_128, AES_256, CHACHA20]), AES_128)
        self.assertEqual(self.chosen([EC_AES_256, EC_CHACHA20, EC_AES_128]), EC_AES_128)
        self.assertEqual(self.chosen([EC_CBC, EC_AES_256]), EC_AES_256)

    def test_a_client_that_prefers_chacha20_gets_it(self) -> None:
        self.assertEqual(self.chosen([CHACHA20, AES_256, AES_128]), CHACHA20)
        self.assertEqual(self.chosen([EC_CHACHA20, EC_AES_128, EC_AES_256]), EC_CHACHA20)

    def test_every_cipher_that_openssl_accepts_by_itself_is_accepted(self) -> None:
        files, now = self.gateway.tls.files, datetime.now(UTC)
        elliptic = make_server(self.gateway.authority, ["localhost"], now, VALID_DAYS)
        for certificate, key in ((elliptic.certificate, elliptic.key), rsa_server(now)):
            files.server_cert.write_bytes(certificate.public_bytes(Encoding.PEM))
            files.server_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            self.gateway.tls.use(files)
            with patch("fleetgw.adapters.ingress.tls_context._prefer_aes_128"):
                without = partial(SSL.Connection, make_context(files, read_vehicle_authorities(files.ca_file)), None)
            by_preference, others = self.own().get_cipher_list(), without().get_cipher_list()
            self.assertEqual(sorted(by_preference), sorted(others))
            for each in (AES_128, EC_AES_128, RSA_AES_128):
                by_preference.remove(each)
                others.remove(each)
            self.assertEqual(by_preference, others)  # the rest stays in OpenSSL's order: the safest first
            accepted = [name for name in without().get_cipher_list() if self.chosen([name], without) == name]
            self.assertGreater(len(accepted), 8)
            self.assertEqual([self.chosen([name]) for name in accepted], accepted)


def rsa_server(now: datetime) -> tuple[x509.Certificate, RSAPrivateKey]:
    """A server with an RSA key, which other ciphers need."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    end = now + timedelta(VALID_DAYS)
    return x509.CertificateBuilder(name, name, key.public_key(), 1, now, end).sign(key, SHA256()), key
