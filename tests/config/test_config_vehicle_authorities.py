"""A ``tls.ca_file`` without Tesla's authorities admits no production vehicle: the check of the configuration warns."""

import shlex
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fleetgw.cli import build_parser
from fleetgw.simulator.certificates import make_authority
from tests.support.config_case import NOW, ConfigCase


def authority(name: str, path_length: int | None = None) -> bytes:
    """A self-signed authority; it may have ``path_length`` authorities below it, None: any number."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=9))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


class VehicleAuthoritiesTests(ConfigCase):
    def warnings_with(self, *authorities: bytes, **changes: object) -> list[str]:
        (self.folder / "ca.crt").write_bytes(b"".join(authorities))
        return [each for each in self.warned(**changes) if each.startswith("tls.ca_file")]

    def test_an_issuer_of_vehicles_is_enough(self) -> None:
        for names in (["TeslaMotors"], ["My CA", "Tesla Motors Product Issuing CA"]):
            with self.subTest(names=names):
                self.assertEqual(self.warnings_with(*map(authority, names)), [])

    def test_an_own_authority_alone(self) -> None:
        (warning,) = self.warnings_with(authority("My CA", 0))
        file = self.folder / "ca.crt"
        self.assertEqual(
            warning,
            f'tls.ca_file: no authority in {file} issues vehicles\' certificates: it has "My CA"; no vehicle gets in; '
            f"add Tesla's authorities to it: fleetgw fetch-ca {file} --append; for vehicles of your own, "
            "name their issuer in identity.issuers",
        )

    def test_one_that_may_have_intermediates(self) -> None:
        """Vehicles may send the issuing authority's certificate along."""
        (warning,) = self.warnings_with(authority("My Root"))
        self.assertIn("only a vehicle that sends an intermediate of the issuer table along gets in", warning)
        self.assertNotIn("no vehicle gets in", warning)

    def test_one_of_identity_issuers(self) -> None:
        issuers = {"My CA": "vehicle_device"}
        self.assertEqual(self.warnings_with(authority("My CA"), identity={"issuers": issuers}), [])
        self.assertEqual(len(self.warnings_with(authority("Other CA"), identity={"issuers": issuers})), 1)

    def test_many_and_nameless_ones(self) -> None:
        (warning,) = self.warnings_with(authority(""), *(authority(f"CA {number}") for number in range(4)))
        self.assertIn('it has "(no name)", "CA 0", "CA 1" ...;', warning)

    def test_engineering(self) -> None:
        (warning,) = self.warnings_with(authority("My CA"), use_default_eng_ca=True)
        self.assertIn("--append --eng", warning)

    def test_the_command_is_one(self) -> None:
        """The command can be pasted, also where the path has blanks, and its result has no warning."""
        (self.folder / "my ca.crt").write_bytes(authority("My CA"))
        tls = {"ca_file": "my ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
        (warning,) = self.warned(tls=tls)
        command = warning.partition("to it: fleetgw ")[2].partition("; for vehicles")[0]
        parsed = build_parser().parse_args(shlex.split(command))
        self.assertEqual((parsed.file, parsed.append), (self.folder / "my ca.crt", True))
        with (self.folder / "my ca.crt").open("ab") as file:
            file.write(make_authority(NOW, 9, "Tesla Issuing CA").certificate_pem())
        self.assertEqual(self.warned(tls=tls), [])
