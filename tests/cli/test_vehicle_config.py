"""``fleetgw vehicle-config``: makes a body that its own check accepts, and says in a line why it cannot."""

from __future__ import annotations

import io
import json
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import TestCase

from fleetgw.cli import main
from fleetgw.simulator.certificate_folder import CertificateFolder

VIN, HOST = "5YJ3E1EA7KF000001", "telemetry.example.com"


class VehicleConfigTests(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        certificates = CertificateFolder(self.folder / "certs", 365)
        certificates.ensure_authority()
        certificates.ensure_server([HOST])
        files = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
        self.config = self.written(
            "config.json",
            {
                "port": 443,
                "tls": {key: str(self.folder / "certs" / name) for key, name in files.items()},
                "records": {"V": ["logger"]},
            },
        )

    def written(self, name: str, content: object) -> str:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def ran(self, *arguments: str, config: bool = True) -> tuple[int, str, str]:
        given = ["--config", self.config] if config else []
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as error:
            status = main(["vehicle-config", *given, "--offline", *arguments])
        return status, out.getvalue(), " ".join(error.getvalue().split())

    def made(self, *arguments: str) -> dict[str, object]:
        ca = str(self.folder / "certs" / "ca.crt")
        status, out, error = self.ran("--host", HOST, "--vin", VIN, "--ca", ca, *arguments)
        self.assertEqual(status, 0, error)
        body: dict[str, object] = json.loads(out)
        return body

    def test_a_body_that_its_check_accepts(self) -> None:
        body = self.made("--preset", "fleet", "--preset", "driving", "--field", "Soc=5", "--days", "365")
        config = body["config"]
        assert isinstance(config, dict)
        self.assertEqual((body["vins"], config["hostname"], config["port"]), ([VIN], HOST, 443))
        self.assertEqual(config["fields"]["Soc"], {"interval_seconds": 5}, "--field wins")
        self.assertEqual(config["fields"]["VehicleSpeed"], {"interval_seconds": 1}, "the shorter of two presets")
        status, _, error = self.ran("--check", self.written("body.json", body))
        self.assertEqual(status, 0, error)
        status, _, error = self.ran("--check", self.written("answer.json", {"response": {"synced": True, "config": config}}))
        self.assertEqual(status, 0, error)

    def test_findings_as_json_and_the_body_are_two_documents(self) -> None:
        wanted = ("--host", HOST, "--vin", VIN, "--field", "Soc", "--json")
        status, out, error = self.ran(*wanted)
        self.assertEqual((status, out), (2, ""))
        self.assertIn("give --check FILE, or --output FILE for the body", error)
        file = self.folder / "made.json"
        _, out, _ = self.ran(*wanted, "--output", str(file))
        self.assertIn("checks", json.loads(out))
        self.assertEqual(json.loads(file.read_text())["vins"], [VIN])

    def test_names_of_files_do_not_execute_in_the_terminal(self) -> None:
        self.assertNotIn("\x1b", self.ran("--check", "a\x1b[2Jb")[2])

    def test_lists_in_files(self) -> None:
        vins = self.written("vins.txt", f"# all\n{VIN}\n5YJ3E1EA7KF000002\n")
        fields = self.written("fields.txt", "Soc\nGear=1\n")
        body = self.made("--vins", vins, "--fields", fields, "--interval", "30")
        self.assertEqual(body["vins"], [VIN, VIN, "5YJ3E1EA7KF000002"])
        config = body["config"]
        assert isinstance(config, dict)
        self.assertEqual(config["fields"], {"Soc": {"interval_seconds": 30}, "Gear": {"interval_seconds": 1}})

    def test_to_a_file(self) -> None:
        path = self.folder / "out.json"
        status, out, _ = self.ran("--host", HOST, "--vin", VIN, "--preset", "fleet", "--output", str(path))
        self.assertEqual((status, out), (1, ""), "the development authority is no one's that the system knows")
        self.assertEqual(json.loads(path.read_text())["vins"], [VIN])

    def test_mistakes_in_a_body(self) -> None:
        body = self.made("--preset", "fleet")
        config = body["config"]
        assert isinstance(config, dict)
        config["port"] = "443"
        status, out, _ = self.ran("--check", self.written("body.json", body), "--json")
        self.assertEqual(status, 1)
        report = json.loads(out)
        self.assertFalse(report["works"])
        self.assertIn("port: is the text '443'", out)

    def test_what_it_cannot_work_with(self) -> None:
        good = ("--host", HOST, "--vin", VIN)
        for arguments, named in (
            (("--vin", VIN, "--preset", "fleet"), "--host"),
            (good, "name fields"),
            ((*good, "--preset", "flet"), 'did you mean "fleet"?'),
            ((*good, "--field", "Soc=x"), "Name=SECONDS"),
            ((*good, "--fields", "/nonexistent"), "--fields /nonexistent"),
            ((*good, "--preset", "fleet", "--ca", "/nonexistent"), "/nonexistent"),
            (("--check", "/nonexistent"), "--check /nonexistent"),
            (("--check", self.written("x.json", "[1]")), 'no object "config"'),
            (("--check", self.written("y.json", "{")), "as JSON"),
            (("--check", self.written("z.json", "[" * 100_000)), "as JSON"),
            ((*good, "--preset", "fleet", "--output", "/nonexistent/x"), "--output"),
        ):
            status, _, error = self.ran(*arguments)
            self.assertEqual(status, 2, arguments)
            self.assertIn(named, error)
        self.assertIn("--config FILE", self.ran(*good, config=False)[2])
        broken = self.written("config.json", {"port": 443})
        self.assertIn(broken, self.ran(*good)[2])

    def test_lists(self) -> None:
        status, out, _ = self.ran("--list-presets", config=False)
        self.assertEqual(status, 0)
        self.assertIn("fleet (at most ", out)
        status, out, _ = self.ran("--list-fields", config=False)
        self.assertIn("\nVehicleSpeed\n", out)
        self.assertNotIn("Deprecated", out)
