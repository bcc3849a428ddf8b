"""Bases and doubles of tests of the doctor's checks."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.app.config import parse_config
from fleetgw.domain.ports import Verdict
from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.free_ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fleetgw.app.config import LoadedConfig
    from fleetgw.domain.ports import Finding

GOOD, LOOK, BAD = Verdict


def verdicts(findings: Iterable[Finding]) -> list[Verdict]:
    """The verdict of each finding."""
    return [finding.verdict for finding in findings]


class AtOnce:
    """A worker that does its jobs in the calling thread."""

    def __init__(self, name: str) -> None:
        """``name`` would be the thread's."""

    def do(self, job: Callable[[], object]) -> None:
        """Do a job."""
        job()

    def quit(self) -> None:
        """Do no more jobs."""


class FolderTestCase(SynchronousTestCase):
    """Base of tests with files.

    :ivar folder: a folder that ends with the test.
    """

    def setUp(self) -> None:
        """Make the folder."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def written(self, name: str, *pems: bytes) -> Path:
        """A file of PEM blocks."""
        path = self.folder / name
        path.write_bytes(b"".join(pems))
        return path


class ConfiguredTestCase(FolderTestCase):
    """Base of tests with a configuration whose certificates are there."""

    def setUp(self) -> None:
        """Make the certificates."""
        super().setUp()
        certificates = CertificateFolder(self.folder)
        certificates.ensure_all()

    def loaded(self, **changes: object) -> LoadedConfig:
        """A configuration that routes ``V`` to the memory sink, with these keys in place of its own."""
        tls = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
        config = {"host": "127.0.0.1", "port": free_port(), "namespace": "fleet", "tls": tls, "records": {"V": ["memory"]}}
        return parse_config(json.dumps(config | changes), {}, self.folder)
