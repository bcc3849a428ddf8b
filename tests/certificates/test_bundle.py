"""Reading of files of authorities."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from cryptography.hazmat.primitives.serialization import Encoding

from fleetgw.adapters.certificates.bundle import read_bundle
from fleetgw.simulator.certificates import make_authority

FIRST, SECOND = (make_authority(datetime.now(UTC), 30, name).certificate for name in ("first", "second"))
PEM, OTHER = FIRST.public_bytes(Encoding.PEM), SECOND.public_bytes(Encoding.PEM)


class BundleTests(TestCase):
    def test_accepted_oddities(self) -> None:
        for content in (
            PEM + OTHER,
            b"\xef\xbb\xbf" + PEM + OTHER,
            (PEM + OTHER).replace(b"\n", b"\r\n"),
            (PEM + OTHER).replace(b"\n", b"\r"),
            b"subject=first\n" + PEM + b"\nsome words -----\n" + OTHER + b"the end",
            PEM + OTHER + PEM,
            PEM.replace(b"CERTIFICATE", b"X509 CERTIFICATE") + OTHER,
            PEM + b"-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n" + OTHER,
            PEM.rstrip() + b"\n" + OTHER.rstrip(),
        ):
            with self.subTest(content[:40]):
                bundle = read_bundle(content)
                self.assertEqual(bundle.certificates, (FIRST, SECOND))
                self.assertEqual(bundle.unreadable, ())

    def test_unreadable_blocks_are_skipped_and_numbered(self) -> None:
        for block in (
            b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            PEM.replace(b"\n", b"\n\n!", 2),
            PEM[:200] + b"\n",
            PEM.replace(b"END CERTIFICATE", b"END CERTIFICAT"),
            b"-----BEGIN TRUSTED CERTIFICATE-----\nMIIC\n-----END TRUSTED CERTIFICATE-----\n",
        ):
            with self.subTest(block):
                bundle = read_bundle(PEM + block + OTHER)
                self.assertEqual(bundle.certificates, (FIRST, SECOND))
                (skipped,) = bundle.unreadable
                self.assertEqual(skipped.number, 2)
                self.assertIn("certificate 2 of the file is skipped: ", str(skipped))

    def test_nothing(self) -> None:
        for content in (b"", b"nobody", b"   " + PEM, bytes(100), b"-----BEGIN CERTIFICATE-----"):
            self.assertEqual(read_bundle(content).certificates, ())

    def test_openssl_trust(self) -> None:
        with TemporaryDirectory() as folder:
            file = Path(folder, "first.pem")
            file.write_bytes(PEM)
            for options, taken in (
                ([], True),
                (["-addtrust", "clientAuth"], True),
                (["-addtrust", "anyExtendedKeyUsage"], True),
                (["-addtrust", "serverAuth"], False),
                (["-addreject", "clientAuth"], False),
                (["-addreject", "serverAuth"], True),
                (["-setalias", "a name"], True),
            ):
                command = ["openssl", "x509", "-in", str(file), "-trustout", *options]
                trusted = subprocess.run(command, capture_output=True, check=True).stdout
                self.assertIn(b"BEGIN TRUSTED CERTIFICATE", trusted)
                with self.subTest(options):
                    self.assertEqual(read_bundle(trusted + OTHER).certificates, (FIRST, SECOND) if taken else (SECOND,))
