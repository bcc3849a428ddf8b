"""``fleetgw explain-cert``: the gateway's own answer to certificates, good and bad."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import TestCase

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred

from fleetgw.app.config.vehicles import Allow
from fleetgw.app.doctor.client_certificate import Judgement, judge, judge_by_list, read_client_certificates
from fleetgw.cli import main
from fleetgw.simulator.certificates import make_server
from fleetgw.testing.sink_doubles import ThreadlessReactor
from tests.support.client_certificates import (
    SERVER_AUTH,
    client_certificate,
    intermediate_authority,
    root_authority,
)
from tests.support.deadline import DEADLINE_S
from tests.support.gateway_process import BIN

if TYPE_CHECKING:
    from fleetgw.simulator.certificates import Credential

VIN = "5YJ3E1EA7KF000001"


class ExplainTests(TestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.authority = root_authority("TeslaMotors")
        self.configure(self.authority)

    def configure(self, authority: Credential, **keys: object) -> None:
        """Write a configuration that trusts this authority."""
        server = make_server(authority, ["localhost"], datetime.now(UTC), 30)
        (self.folder / "ca.crt").write_bytes(authority.certificate_pem())
        (self.folder / "server.crt").write_bytes(server.certificate_pem())
        (self.folder / "server.key").write_bytes(server.key_pem())
        files = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
        tls = {key: str(self.folder / name) for key, name in files.items()}
        config = {"port": 4443, "tls": tls, "records": {"V": ["logger"]}} | keys
        (self.folder / "config.json").write_text(json.dumps(config))

    def explain(self, content: bytes | None, *, with_config: bool = True, as_json: bool = True) -> tuple[int, str, str]:
        """Run the command on a file with this content; exit status, standard output, standard error."""
        file = self.folder / "vehicle.crt"
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        arguments = ["explain-cert", str(file)]
        arguments += ["--config", str(self.folder / "config.json")] if with_config else []
        arguments += ["--json"] if as_json else []
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(arguments)
        return status, out.getvalue(), err.getvalue()

    def answer(self, *chain: Credential, **options: Any) -> dict[str, Any]:
        """The answer about a chain in PEM; the exit status must agree with it."""
        status, out, err = self.explain(b"".join(each.certificate_pem() for each in chain), **options)
        self.assertTrue(out, err)
        found: dict[str, Any] = json.loads(out)
        self.assertEqual(status, 0 if found["accepted"] else 1)
        self.assertEqual(found["accepted"], not found["refusals"])
        return found

    def assertRefused(self, what: str, fix: str, *chain: Credential) -> None:
        """Assert that a chain is refused with these words."""
        (refusal,) = self.answer(*chain)["refusals"]
        self.assertIn(what, refusal["what"])
        self.assertIn(fix, refusal["fix"])

    def test_accepted(self) -> None:
        leaf = client_certificate(self.authority, VIN)
        expected = {"device_id": VIN, "client_type": "vehicle_device", "sender_id": f"vehicle_device.{VIN}"}
        self.assertEqual(self.answer(leaf)["identity"], expected)
        status, out, _ = self.explain(leaf.certificate.public_bytes(Encoding.DER), as_json=False)
        self.assertEqual(status, 0)
        self.assertIn(f"device id    {VIN}\n", out)
        self.assertTrue(out.endswith("\naccepted\n"))
        intermediate = intermediate_authority(self.authority, "Tesla Issuing CA")
        self.assertTrue(self.answer(client_certificate(intermediate, VIN), intermediate)["accepted"])

    def test_refused_by_tls(self) -> None:
        intermediate = intermediate_authority(self.authority, "Tesla Issuing CA")
        self.assertRefused("expired on", "renewed", client_certificate(self.authority, VIN, expired=True))
        self.assertRefused('no authority "Tesla Issuing CA"', "fetch-ca", client_certificate(intermediate, VIN))
        self.assertRefused("not for clients", "clientAuth", client_certificate(self.authority, VIN, [SERVER_AUTH]))
        other = root_authority("Tesla Motors Products CA")
        self.assertRefused("no authority", "tls.ca_file", client_certificate(other, VIN))

    def test_refused_by_the_identity_rules(self) -> None:
        unknown = root_authority("Somebody's CA")
        self.configure(unknown)
        self.assertRefused("not in the issuer table", "identity.issuers", client_certificate(unknown, VIN))
        self.configure(unknown, identity={"issuers": {"Somebody's CA": "vehicle_device"}})
        self.assertTrue(self.answer(client_certificate(unknown, VIN))["accepted"])
        by_usage = root_authority("Tesla Motors Product Issuing CA")
        self.configure(by_usage)
        self.assertRefused("", "identity.issuers", client_certificate(by_usage, VIN))
        self.configure(self.authority)
        self.assertRefused("no subject common name", "VIN", client_certificate(self.authority, ""))
        self.assertRefused("not printable", "VIN", client_certificate(self.authority, "a\x1bb"))

    def test_the_allow_list(self) -> None:
        listed = self.folder / "vins.txt"
        file = self.folder / "vehicle.crt"
        file.write_bytes(client_certificate(self.authority, VIN).certificate_pem())
        self.configure(self.authority, vehicles={"allow": {"file": str(listed)}})
        judgement = judge(read_client_certificates(file), None, datetime.now(UTC))
        reactor: Any = ThreadlessReactor()
        for content, what in ((VIN, None), ("ANOTHER", "does not have its vehicle"), (None, "never read")):
            listed.unlink(missing_ok=True)
            if content is not None:
                listed.write_text(content)
            judged: list[Judgement] = []
            Deferred.fromCoroutine(judge_by_list(judgement, Allow(file=listed), reactor)).addCallback(judged.append)
            reactor.advance(0)
            told = [refusal.what for refusal in judged[0].refusals]
            self.assertEqual(bool(told), what is not None)
            self.assertIn(what or "", "".join(told))
        run = subprocess.run(
            [BIN / "fleetgw", "explain-cert", file, "--config", self.folder / "config.json"],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertIn("allow_list_not_read", run.stdout)

    def test_every_reason_is_told(self) -> None:
        unknown = root_authority("Somebody's CA")
        self.assertEqual(len(self.answer(client_certificate(unknown, VIN, expired=True))["refusals"]), 2)

    def test_without_a_configuration(self) -> None:
        found = self.answer(client_certificate(self.authority, VIN), with_config=False)
        self.assertTrue(found["accepted"])
        self.assertIn("--config", found["remarks"][0]["fix"])
        self.assertFalse(self.answer(client_certificate(self.authority, VIN, expired=True), with_config=False)["accepted"])

    def test_files_that_cannot_be_read(self) -> None:
        leaf = client_certificate(self.authority, VIN)
        pem = leaf.certificate_pem()
        for content, what in (
            (None, "cannot be read"),
            (b"", "no certificate"),
            (b"hello", "no certificate"),
            (leaf.key_pem(), "a private key, and no certificate"),
            (pem[:200], "no readable certificate"),
            (leaf.certificate.public_bytes(Encoding.DER)[:-5], "no certificate"),
            (b"\x30\x80" * 1000, "no certificate"),
        ):
            status, out, err = self.explain(content)
            self.assertEqual((status, out), (2, ""), content)
            self.assertIn(what, err)
            self.assertIn("name a file", err)
        (self.folder / "config.json").write_text("{")
        self.assertEqual(self.explain(pem)[0], 2)

    def test_remarks(self) -> None:
        leaf = client_certificate(self.authority, VIN)
        status, out, _ = self.explain(leaf.key_pem() + leaf.certificate_pem())
        self.assertEqual(status, 0)
        self.assertIn("private key", json.loads(out)["remarks"][0]["what"])
        self.assertIn("authority", str(self.answer(self.authority)["remarks"]))

    def test_names_do_not_reach_the_terminal_as_they_are(self) -> None:
        evil = client_certificate(self.authority, "\x1b[31mred\u202e")
        status, out, _ = self.explain(evil.certificate_pem(), as_json=False)
        self.assertEqual(status, 1)
        self.assertNotIn("\x1b", out)
        self.assertNotIn("\u202e", out)
