"""Tests of configurations: a folder with certificates, and a configuration that is good until a test changes it."""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from unittest import TestCase

from fleetgw.app.config import BUILT_IN_SINKS, LoadedConfig, parse_config
from fleetgw.domain.errors import ConfigurationError
from fleetgw.simulator.certificates import make_authority, make_server

NOW = datetime(2026, 11, 1, tzinfo=UTC)
"""The time at which the certificates are checked; they are valid for a year from it."""

LEFT_OUT = object()
"""In place of a key's value: the key is not there."""


class ConfigCase(TestCase):
    """Base of tests that load configurations, with every built-in sink available.

    :ivar folder: holds ``ca.crt``, ``server.crt`` and ``server.key``; relative paths start from it.
    """

    def setUp(self) -> None:
        """Make the folder."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        authority = make_authority(NOW, 365)
        server = make_server(authority, ["localhost"], NOW, 365)
        (self.folder / "ca.crt").write_bytes(authority.certificate_pem())
        (self.folder / "server.crt").write_bytes(server.certificate_pem())
        (self.folder / "server.key").write_bytes(server.key_pem())

    def text(self, **changes: object) -> str:
        """The text of a configuration that routes ``V`` to the logger, with these keys in place of its own."""
        config: dict[str, object] = {
            "port": 4443,
            "tls": {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"},
            "records": {"V": ["logger"]},
        }
        return json.dumps({key: value for key, value in (config | changes).items() if value is not LEFT_OUT})

    def load(
        self, text: str | bytes | None = None, environ: dict[str, str] | None = None, **changes: object
    ) -> LoadedConfig:
        """Load a text, or the usual one with changes.

        :raises ConfigurationError: it cannot work.
        """
        text = self.text(**changes) if text is None else text
        return parse_config(text, environ or {}, self.folder, available_sinks=BUILT_IN_SINKS, now=NOW)

    def refused(
        self, text: str | bytes | None = None, environ: dict[str, str] | None = None, **changes: object
    ) -> list[str]:
        """Load a configuration that must be refused; returns the problems as text, files without their folder."""
        with self.assertRaises(ConfigurationError) as caught:
            self.load(text, environ, **changes)
        return [str(problem).replace(f"{self.folder}/", "") for problem in caught.exception.problems]

    def warned(self, **changes: object) -> list[str]:
        """Load a configuration that must be accepted; returns the warnings as text."""
        return [str(warning) for warning in self.load(None, None, **changes).warnings]
