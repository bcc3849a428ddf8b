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
ENVIRON = dict.fromkeys(
    ("KAFKA_PASSWORD", "MQTT_PASSWORD", "MY_PASSWORD", "REDIS_PASSWORD"), "password"
)  # those that pages name

AUTHORITIES = {"ca_file", "ssl.ca.location"}


OTHERS = {
    ("doctor.md", "checks"): "the output of a command",
    ("writing-a-sink.md", "dispatchers"): "its sink must be installed: tests/packaging does that, and runs it",
}
"""Blocks of JSON that are no configurations to check here: page, a key at the top, the reason."""

USUAL = {"port": 4443, "namespace": "fleet", "tls": dict.fromkeys(("ca_file", "server_cert", "server_key"), "")}
"""Sections that a page leaves out."""

NOTHING_ROUTED = "nothing is routed to it"
"""The warning about the section of a sink that is shown without the routes to it."""


def blocks() -> list[tuple[str, dict[str, Any]]]:
    """Every block of JSON, each with its page."""
    return [
        (path.name, json.loads(block))
        for path in PAGES
        for block in re.findall(r"^ *```json\n(.*?)^ *```", path.read_text(), re.DOTALL | re.MULTILINE)
    ]


def configurations() -> list[tuple[str, dict[str, Any]]]:
    """Whole configurations, and parts of one."""
    return [(page, block) for page, block in blocks() if not any((page, key) in OTHERS for key in block)]


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
            "file": lambda: self.json_file("secret", "a-secret-of-some-length"),
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
        found = configurations()
        self.assertGreater(len(found), 13)
        for page, shown in found:
            with self.subTest(page=page, keys=list(shown)):
                whole = USUAL | {"records": {"V": ["logger"]}} | shown
                loaded = parse_config(json.dumps(self.with_files(whole)), ENVIRON, self.folder)
                warnings = loaded.warnings
                if "records" not in shown:
                    warnings = tuple(each for each in warnings if NOTHING_ROUTED not in str(each))
                self.assertEqual(warnings, ())
                log = ReadableLog()
                compose(loaded, reactor, log)
                self.assertEqual(log.entries, [])

    def test_others_are_there(self) -> None:
        there = {(page, key) for page, block in blocks() for key in block}
        self.assertLessEqual(OTHERS.keys(), there)
