"""A folder of development certificates, as ``fleetgw certs`` makes it.

::

    ca.crt  ca.key  server.crt  server.key  vehicles/<VIN>.crt  vehicles/<VIN>.key

Keys are readable by their owner only.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from attrs import frozen
from cryptography import x509

from fleetgw.domain.errors import FleetgwError
from fleetgw.simulator.certificates import (
    LOOPBACK_HOSTS,
    Credential,
    covers,
    make_authority,
    make_server,
    make_vehicle,
    read_credential,
)
from fleetgw.simulator.vins import make_vin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DEFAULT_VALID_DAYS = 365


class CertificateFolderError(FleetgwError):
    """The folder lacks a file, or has one that cannot be used. ``str()`` names the file and the remedy."""


@frozen
class CertificateFolder:
    """The certificates below one folder.

    :ivar path: the folder.
    :ivar valid_days: validity of new certificates, in days.
    """

    path: Path
    valid_days: int = DEFAULT_VALID_DAYS

    @property
    def authority_file(self) -> Path:
        """The authority's certificate: the gateway's ``tls.ca_file``, and the one that vehicles trust."""
        return self.path / "ca.crt"

    @property
    def server_file(self) -> Path:
        """The server's certificate; its key is beside it."""
        return self.path / "server.crt"

    def vehicle_files(self) -> list[Path]:
        """The vehicles' certificates, sorted by VIN; each one's key is beside it, ending in ``.key``."""
        return sorted(file for file in self.path.glob("vehicles/*.crt") if file.with_suffix(".key").exists())

    def clear(self) -> None:
        """Remove the authority and all certificates that it signed."""
        for certificate_file in (self.authority_file, self.server_file, *self.path.glob("vehicles/*.crt")):
            certificate_file.unlink(missing_ok=True)
            certificate_file.with_suffix(".key").unlink(missing_ok=True)

    def ensure_all(self, vehicles: int = 0) -> None:
        """Make an authority, a server certificate for the loopback names, and vehicles up to a number, unless they exist.

        :raises CertificateFolderError: some are missing, and the authority is not usable.
        """
        self.ensure_authority()
        self.ensure_server()
        self.ensure_vehicles(vehicles)

    def ensure_authority(self) -> bool:
        """Make the authority unless it exists; returns whether it was made.

        :raises CertificateFolderError: the authority lacks its certificate or its key.
        """
        if self.authority_file.exists() or self.authority_file.with_suffix(".key").exists():
            self._authority()
            return False
        self._write(self.authority_file, make_authority(_now(), self.valid_days))
        return True

    def ensure_server(self, hosts: Sequence[str] = ()) -> bool:
        """Make a server certificate unless one has ``hosts`` and the loopback names; returns whether it was made.

        :raises CertificateFolderError: the authority is not usable.
        """
        wanted = tuple(dict.fromkeys((*hosts, *LOOPBACK_HOSTS)))
        present = self.server_file.exists() and self.server_file.with_suffix(".key").exists()
        if present and covers(x509.load_pem_x509_certificate(self.server_file.read_bytes()), wanted):
            return False
        self._write(self.server_file, make_server(self._authority(), wanted, _now(), self.valid_days))
        return True

    def ensure_vehicles(self, number: int) -> int:
        """Make vehicles until the folder has ``number`` of them; returns the number of new ones.

        :raises CertificateFolderError: some are missing, and the authority is not usable.
        """
        present = {file.stem for file in self.vehicle_files()}
        missing = number - len(present)
        if missing <= 0:
            return 0
        authority = self._authority()
        vins = (vin for vin in map(make_vin, count()) if vin not in present)
        for vin, _ in zip(vins, range(missing), strict=False):
            self._write(self.path / "vehicles" / f"{vin}.crt", make_vehicle(authority, vin, _now(), self.valid_days))
        return missing

    def _authority(self) -> Credential:
        key_file = self.authority_file.with_suffix(".key")
        for file in (self.authority_file, key_file):
            if not file.exists():
                raise CertificateFolderError(
                    f"{file} is missing, so no certificate can be made; `fleetgw certs {self.path}` makes a new folder, "
                    "with --force over what is left of an old one"
                )
        try:
            return read_credential(self.authority_file.read_bytes(), key_file.read_bytes())
        except ValueError as error:
            raise CertificateFolderError(f"{self.authority_file} and {key_file.name} are no usable pair: {error}") from error

    def _write(self, certificate_file: Path, credential: Credential) -> None:
        certificate_file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _write_atomically(certificate_file.with_suffix(".key"), credential.key_pem(), mode=0o600)
        _write_atomically(certificate_file, credential.certificate_pem(), mode=0o644)


def _write_atomically(file: Path, content: bytes, mode: int) -> None:
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(content)
    unfinished.replace(file)


def _now() -> datetime:
    return datetime.now(UTC)
