"""Unusable certificate and key files: status 2 and a line with the key, the file, the fault and the remedy; no traceback."""

import base64
import json
import os
import warnings
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetgw.adapters.files.reading import SIZE_LIMIT_BYTES
from fleetgw.adapters.ingress.tls_context import TlsFiles, make_context, read_vehicle_authorities
from fleetgw.domain.errors import ConfigurationError
from tests.support.config_case import NOW, ConfigCase


def self_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=99))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def short_rsa_key() -> rsa.RSAPrivateKey:
    with warnings.catch_warnings(action="ignore"):
        return rsa.generate_private_key(65537, 1024)


class UnusableFilesTests(ConfigCase):
    def replace(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def content(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def assert_refused(self, key: str, *said: str) -> None:
        (problem,) = self.refused()
        self.assertEqual(problem.partition(":")[0], key)
        for words in said:
            self.assertIn(words, problem)

    def test_a_key_that_openssl_finds_too_short(self) -> None:
        key = short_rsa_key()
        self.replace("server.crt", self_signed(key))
        self.replace("server.key", pem(key))
        self.assert_refused("tls.server_cert", "server.crt cannot be used", "too short", "(ee key too small)", "2048 bits")

    def test_the_same_of_a_client(self) -> None:
        key = short_rsa_key()
        self.replace("client.crt", self_signed(key))
        self.replace("client.key", pem(key))
        tls = {"server_cert": "client.crt", "server_key": "client.key"}
        changes = {
            "redis": {"addrs": ["r:1"], "publish_vin_topics": True, "tls": tls},
            "mqtt": {"broker": "b:1", "topic_base": "t", "tls": tls},
        }
        self.assertEqual(
            [problem.partition(":")[0] for problem in self.refused(records={"V": [*changes]}, namespace="n", **changes)],
            ["mqtt.tls.server_cert", "redis.tls.server_cert"],
        )

    def test_the_key_of_another_certificate(self) -> None:
        self.replace("server.key", pem(ec.generate_private_key(ec.SECP256R1())))
        self.assert_refused("tls.server_key", "server.key is not the key of", "server.crt")

    def test_der_in_place_of_pem(self) -> None:
        certificate = x509.load_pem_x509_certificate(self.content("server.crt"))
        key = load_pem_private_key(self.content("server.key"), None)
        for name, path, content, command in (
            ("server.crt", "tls.server_cert", certificate.public_bytes(Encoding.DER), "openssl x509 -inform DER"),
            ("ca.crt", "tls.ca_file", certificate.public_bytes(Encoding.DER), "openssl x509 -inform DER"),
            ("server.key", "tls.server_key", key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
             "openssl pkey -inform DER"),
        ):  # fmt: skip
            with self.subTest(name=name):
                before = self.content(name)
                self.replace(name, content)
                self.assert_refused(path, "looks like DER", command)
                self.replace(name, before)

    def test_an_encrypted_key(self) -> None:
        key = load_pem_private_key(self.content("server.key"), None)
        self.replace("server.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
        self.assert_refused("tls.server_key", "is encrypted", "openssl pkey")

    def test_text_of_another_kind(self) -> None:
        """Only a block that begins as PEM counts; OpenSSL and cryptography differ in the text that they allow before it."""
        for name, path in (("ca.crt", "tls.ca_file"), ("server.crt", "tls.server_cert"), ("server.key", "tls.server_key")):
            before = self.content(name)
            for content in (
                b"   " + before,
                before.decode().encode("utf-16"),
                b"\x00" * 100,
                before[: len(before) // 2],
                b"-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
                b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
                b"-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n",
            ):
                with self.subTest(name=name, content=content[:30]):
                    self.replace(name, content)
                    self.assertEqual({problem.partition(":")[0] for problem in self.refused()}, {path})
            self.replace(name, before)

    def test_a_byte_order_mark(self) -> None:
        """cryptography reads it; OpenSSL may or may not, and the start is up to OpenSSL."""
        files = TlsFiles(*(self.folder / name for name in ("ca.crt", "server.crt", "server.key")))
        for name in ("ca.crt", "server.crt", "server.key"):
            before = self.content(name)
            with self.subTest(name=name):
                self.replace(name, b"\xef\xbb\xbf" + before)
                try:
                    make_context(files, read_vehicle_authorities(files.ca_file))
                except ConfigurationError as error:
                    self.assertEqual(
                        [each.replace(f"{self.folder}/", "") for each in map(str, error.problems)], self.refused()
                    )
                else:
                    self.assertEqual(self.load().warnings, ())
            self.replace(name, before)

    @settings(max_examples=60)
    @given(st.sampled_from(["ca.crt", "server.crt", "server.key"]), st.integers(0, 2000), st.integers(0, 255))
    def test_a_byte_that_is_another(self, name: str, position: int, value: int) -> None:
        """Certificates and keys that are almost right: accepted, or refused by their key."""
        before = self.content(name)
        self.addCleanup(self.replace, name, before)
        head, *lines, tail = before.splitlines()
        der = bytearray(base64.b64decode(b"".join(lines)))
        der[position % len(der)] = value
        self.replace(name, b"\n".join([head, base64.encodebytes(bytes(der)).rstrip(), tail]))
        try:
            with warnings.catch_warnings(action="ignore"):  # of serial numbers and the like that are discouraged
                self.load()
        except ConfigurationError as error:
            self.assertTrue(all(problem.path.startswith("tls.") for problem in error.problems))
        self.replace(name, before)

    def test_paths_that_are_not_files(self) -> None:
        for name, path in (("ca.crt", "tls.ca_file"), ("server.crt", "tls.server_cert"), ("server.key", "tls.server_key")):
            file = self.folder / name
            before = file.read_bytes()
            file.unlink()
            with self.subTest("missing", name=name):
                self.assert_refused(path, "no such file")
            file.mkdir()
            with self.subTest("folder", name=name):
                self.assert_refused(path, "is a directory")
            file.rmdir()
            os.mkfifo(file)
            with self.subTest("pipe", name=name):
                self.assert_refused(path, "pipe")
            file.unlink()
            with file.open("wb") as stream:
                stream.truncate(SIZE_LIMIT_BYTES + 1)
            with self.subTest("huge", name=name):
                self.assert_refused(path, "larger than")
            file.unlink()
            file.symlink_to(file)
            with self.subTest("a link to itself", name=name):
                self.assert_refused(path, "cannot be read")
            file.unlink()
            file.write_bytes(before)

    def test_keys_of_zmq(self) -> None:
        for content in (b"[" * 100_000, b"9" * 5000, b"\xff", b"", b"null", b"[1]", b'{"public": 1}'):
            with self.subTest(content=content[:10]):
                self.replace("keys.json", content)
                (problem,) = self.refused(
                    records={"V": ["zmq"]}, namespace="n", zmq={"addr": "tcp://*:1", "server_key_json_path": "keys.json"}
                )
                self.assertEqual(problem.partition(":")[0], "zmq.server_key_json_path")

    def test_the_usual_files_are_taken(self) -> None:
        self.assertEqual(self.load(json.dumps(json.loads(self.text()))).warnings, ())
