"""Every configuration on a page works as it is."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import TestCase

import zmq
from twisted.internet import reactor

from fleetgw.app.config import parse_config
from fleetgw.app.service.composition import compose
from fleetgw.simulator.certificate_folder import CertificateFolder
from fleetgw.testing.sink_doubles import ReadableLog

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ENVIRON = {"KAFKA_PASSWORD": "k", "MQTT_PASSWORD": "m", "REDIS_PASSWORD": "r"}  # those that pages name

AUTHORITIES = {"ca_file", "ssl.ca.location"}


def configurations() -> list[tuple[str, dict[str, Any]]]:
    """The configurations of pages that route records, each with its page; the file sink has tests of its own."""
    blocks = [
        (path.name, json.loads(block))
        for path in PAGES
        for block in re.findall(r"```json\n(.*?)```", path.read_text(), re.DOTALL)
    ]
    return [(name, block) for name, block in blocks if "records" in block and "dispatchers" not in block]


class PagesTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.certificates = CertificateFolder(self.folder)
        self.certificates.ensure_all()

    def with_files(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """The same configuration, with files that exist."""
        public, secret = (key.decode() for key in zmq.curve_keypair())
        made: dict[str, Callable[[], Path]] = {
            **dict.fromkeys(AUTHORITIES, lambda: self.certificates.authority_file),
            "server_cert": lambda: self.certificates.server_file,
            "server_key": lambda: self.certificates.server_file.with_suffix(".key"),
            "server_key_json_path": lambda: self.json_file("key.json", {"public": public, "secret": secret}),
            "allowed_public_keys_json_path": lambda: self.json_file("allowed.json", [public]),
        }
        return {
            key: str(made[key]()) if key in made else self.with_files(value) if isinstance(value, dict) else value
            for key, value in section.items()
        }

    def json_file(self, name: str, content: object) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(content))
        return path

    def test_check_config_reports_nothing(self) -> None:
        """Sections that a page leaves out, such as the port, are added."""
        usual = {"port": 4443, "namespace": "fleet", "tls": dict.fromkeys(("ca_file", "server_cert", "server_key"), "")}
        found = configurations()
        self.assertGreater(len(found), 9)
        for name, shown in found:
            with self.subTest(page=name):
                loaded = parse_config(json.dumps(self.with_files(usual | shown)), ENVIRON, self.folder)
                self.assertEqual(loaded.warnings, ())
                log = ReadableLog()
                compose(loaded, reactor, log)
                self.assertEqual(log.entries, [])
