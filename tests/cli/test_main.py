import io
import json
import re
import subprocess
import sys
import tempfile
import warnings
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from unittest import TestCase, mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fleetgw.adapters.ingress.hot_path import DESCRIPTION
from fleetgw.cli import build_parser, main
from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.command_line import run

COMMANDS = [*next(action.choices for action in build_parser()._actions if action.dest == "command")]


class MainTests(TestCase):
    def test_version(self):
        self.assertEqual(run("--version"), (0, f"fleetgw {version('fleetgw')}, hot path in {DESCRIPTION}\n", ""))

    def test_the_help_groups_the_commands(self):
        status, out, err = run("--help")
        self.assertEqual((status, err), (0, ""))
        groups = re.findall(r"(?m)^(\w+):\n(?:  [\w-]+ +\S.*\n)+$", out)
        self.assertEqual(groups, ["prepare", "run", "look", "mend", "examples"])
        self.assertEqual({name for name in COMMANDS if not re.search(rf"(?m)^  {name} +\S", out)}, set())

    def test_help_teaches(self):
        self.assertGreater(len(COMMANDS), 15)
        for command in COMMANDS:
            with self.subTest(command):
                status, out, err = run(command, "--help")
                self.assertEqual((status, err), (0, ""))
                self.assertRegex(out, rf"\nexamples?:\n  (?:source <\()?fleetgw {command} ?")
                self.assertRegex(out, r"\bneeds?\b", "what it needs")
                self.assertRegex(" ".join(out.split()), r"[Ee]xit status", "its exit statuses")

    def test_help_of_commands_below_a_command_has_their_examples(self):
        for command in (("dead-letters", "purge"), ("spool", "replay"), ("query", "signal")):
            with self.subTest(command):
                status, out, err = run(*command, "--help")
                self.assertEqual((status, err), (0, ""))
                self.assertRegex(out, rf"\n\n[A-Z].*\n[^$]*\nexamples:\n(?:  fleetgw {' '.join(command)} .*\n)+$")

    def test_help_fits_the_terminal(self):
        with mock.patch.dict("os.environ", {"COLUMNS": "70"}):
            narrow = run("top", "--help")[1]
        described, _, examples = narrow.partition("examples:\n")
        self.assertLessEqual(max(map(len, described.splitlines())), 70)
        self.assertIn("  fleetgw top --config config.json --json | jq --unbuffered .vehicles.connected\n", examples)

    def test_nothing_and_nonsense(self):
        for arguments in ((), ("drive",), ("certs",), ("fetch-ca",)):
            with self.subTest(arguments):
                self.assertEqual(run(*arguments)[0], 2)

    def test_a_terminal_that_is_not_of_utf_8(self):
        out = io.TextIOWrapper(io.BytesIO(), "ascii")
        out.isatty = lambda: True
        with mock.patch("fleetgw.cli.top.run", side_effect=lambda _: print("● ready") or 0), mock.patch("sys.stdout", out):
            self.assertEqual(main(["top", "--url", "http://x"]), 0)
        out.seek(0)
        self.assertEqual(out.read(), "? ready\n")

    def test_interrupted(self):
        with mock.patch("fleetgw.adapters.sinks.sqlite.reading.open_file", side_effect=KeyboardInterrupt):
            self.assertEqual(run("query", "vehicles"), (130, "", ""))

    def test_an_unexpected_error_is_one_line(self):
        with mock.patch("fleetgw.adapters.sinks.sqlite.reading.open_file", side_effect=TypeError("odd\nvalue")):
            status, out, err = run("query", "vehicles")
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertRegex(err, "^fleetgw query: TypeError: odd value; .*FLEETGW_TRACEBACK=1")

    def test_the_environment_variable_shows_the_traceback(self):
        with (
            mock.patch("fleetgw.adapters.sinks.sqlite.reading.open_file", side_effect=TypeError("odd")),
            mock.patch.dict("os.environ", {"FLEETGW_TRACEBACK": "1"}),
            self.assertRaises(TypeError),
        ):
            run("query", "vehicles")

    def test_commands_import_only_their_own_modules(self):
        code = (
            "import sys, fleetgw.cli as cli; cli.build_parser();"
            "heavy = ('twisted', 'cryptography', 'msgspec', 'google.protobuf', 'rich');"
            "print([name for name in heavy if name in sys.modules])"
        )
        self.assertEqual(subprocess.check_output([sys.executable, "-c", code], text=True), "[]\n")


class ConfigCommandsTests(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name)
        certificates = CertificateFolder(self.path)
        certificates.ensure_all()
        self.config = {
            "host": "127.0.0.1",
            "port": 4443,
            "namespace": "tesla_telemetry",
            "records": {"V": ["logger"]},
            "logger": {},
            "tls": {
                "ca_file": str(self.path / "ca.crt"),
                "server_cert": str(self.path / "server.crt"),
                "server_key": str(self.path / "server.key"),
            },
        }

    def check(self):
        file = self.path / "config.json"
        file.write_text(json.dumps(self.config))
        return run("check-config", file)

    def test_a_good_one(self):
        status, out, err = self.check()
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(json.loads(out)["records"], {"V": ["logger"]})

    def test_the_memory_ceiling_that_is_in_effect_is_shown(self):
        with mock.patch("fleetgw.app.service.memory_ceiling.memory_limit_bytes", return_value=3 << 30):
            self.assertEqual(json.loads(self.check()[1])["delivery"]["memory_mib"], 1536)
        self.config["delivery"] = {"memory_mib": 77}
        self.assertEqual(json.loads(self.check()[1])["delivery"]["memory_mib"], 77)

    def test_a_warning_does_not_count(self):
        self.config["reliable_ack"] = True
        status, out, err = self.check()
        self.assertEqual(status, 0)
        self.assertEqual(json.loads(out)["port"], 4443)
        self.assertRegex(err, r"^reliable_ack: warning: ")

    def test_all_problems_at_once(self):
        self.config["prot"] = self.config.pop("port")
        self.config["records"]["V"] = ["kofka"]
        status, out, err = self.check()
        self.assertEqual((status, out), (2, ""))
        self.assertIn("prot", err)
        self.assertIn("kofka", err)

    def test_no_file(self):
        status, _, err = run("check-config", self.path / "missing.json")
        self.assertEqual(status, 2)
        self.assertIn("missing.json", err)

    def test_a_certificate_that_openssl_refuses(self):
        with warnings.catch_warnings(action="ignore"):
            key = rsa.generate_private_key(65537, 1024)
        (self.path / "server.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
        builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=90))
        (self.path / "server.crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        status, out, err = self.check()
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertRegex(err, r"^tls\.server_cert: error: .*server\.crt cannot be used: its key is too short")

    def test_schema(self):
        status, out, err = run("config-schema")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("$schema", json.loads(out))
