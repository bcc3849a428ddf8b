"""TLS towards an HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from fleetgw.adapters.certificates.client_options import client_options

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

    from fleetgw.adapters.settings.client_tls import ClientTls


@implementer(IPolicyForHTTPS)
@frozen
class ServerTls:
    """The authorities to trust, and our own certificate. Files are read for each connection, so they may be replaced.

    :ivar ca_file: authorities in place of the system's.
    :ivar certificate: our own, followed by its intermediates; with ``key``.
    """

    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, tls: ClientTls | None) -> ServerTls:
        """The TLS of a section of the configuration; None for the system's authorities, and no certificate of our own."""
        return cls() if tls is None else cls(tls.ca_file, tls.server_cert, tls.server_key)

    def creatorForNetloc(
        self,
        hostname: bytes,
        port: int,  # noqa: ARG002  part of the interface
    ) -> IOpenSSLClientConnectionCreator:
        """See ``IPolicyForHTTPS``.

        :raises UnusableCertificateFile: a file cannot be read, or has other content.
        """
        return client_options(hostname.decode("ascii"), self.ca_file, self.certificate, self.key)
