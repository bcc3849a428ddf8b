"""The certificates in use: the server's, and those that sinks show their destinations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.certificates.files import UnusableCertificateFile, read_certificates, validity
from fleetgw.adapters.settings.findings import member
from fleetgw.app.config.sinks import routed_sinks, settings_of, settings_path, sink_type
from fleetgw.domain.health import ValidityFacts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from cryptography import x509

    from fleetgw.adapters.ingress.reloadable_context import ReloadableContext
    from fleetgw.app.config.sections import Config

SERVER = "tls.server_cert"


@frozen
class CertificateInUse:
    """A certificate that the gateway shows others.

    :ivar name: the path of the key that names its file.
    """

    name: str
    certificate: x509.Certificate

    @property
    def not_before_ms(self) -> int:
        """The begin of its validity, in epoch milliseconds."""
        return int(self.certificate.not_valid_before_utc.timestamp() * 1000)

    @property
    def not_after_ms(self) -> int:
        """The end of its validity, in epoch milliseconds."""
        return int(self.certificate.not_valid_after_utc.timestamp() * 1000)

    def facts(self, now: datetime) -> ValidityFacts:
        """Its state at this time."""
        return ValidityFacts(self.name, validity(self.certificate, now), is_for_vehicles=self.name == SERVER)


class CertificatesInUse:
    """The certificates in use, as last read.

    The server's is that of the TLS context. Sinks' files are read when the gateway starts, and when it reads files of
    certificates or its configuration again.
    """

    def __init__(self, tls: ReloadableContext, config: Config) -> None:
        self._tls = tls
        self._files: Mapping[str, Path] = {}
        self._of_sinks: dict[str, x509.Certificate] = {}
        self.use(config)

    def use(self, config: Config) -> None:
        """Have the sinks be those of another configuration."""
        self._files = dict(_files(config))
        self.read_again()

    def read_again(self) -> None:
        """Read the sinks' files again. Where one cannot be used, the certificate of the last reading stays, as in sinks."""
        before, self._of_sinks = self._of_sinks, {}
        for name, file in self._files.items():
            try:
                self._of_sinks[name] = read_certificates(file)[0]
            except UnusableCertificateFile:
                if name in before:
                    self._of_sinks[name] = before[name]

    def __iter__(self) -> Iterator[CertificateInUse]:
        yield CertificateInUse(SERVER, self._tls.certificate)
        for name, certificate in self._of_sinks.items():
            yield CertificateInUse(name, certificate)


def _files(config: Config) -> Iterator[tuple[str, Path]]:
    """The files of sinks' own certificates, by the path of their key."""
    for sink in sorted(routed_sinks(config)):
        for keys in sink_type(sink, config).certificate_keys:
            path: str = settings_path(sink)
            value: object = settings_of(sink, config)
            for key in keys:
                path, value = member(path, key), value.get(key) if isinstance(value, dict) else None
            if isinstance(value, str) and value:
                yield path, Path(value)
