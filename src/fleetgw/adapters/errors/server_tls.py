"""TLS towards an Airbrake server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from fleetgw.adapters.certificates.bundle import read_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator


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

    def creatorForNetloc(
        self,
        hostname: bytes,
        port: int,  # noqa: ARG002  part of the interface
    ) -> IOpenSSLClientConnectionCreator:
        """See ``IPolicyForHTTPS``.

        :raises OSError: a file cannot be read.
        :raises ValueError: a file does not hold what it should.
        """
        trust_root = platformTrust()
        if self.ca_file is not None:
            trust_root = trustRootFromCertificates(
                Certificate.loadPEM(authority.public_bytes(Encoding.PEM))
                for authority in read_bundle(self.ca_file.read_bytes()).certificates
            )
        name = hostname.decode("ascii")
        if self.certificate is None or self.key is None:
            return optionsForClientTLS(name, trust_root)
        # Twisted hands these on to pyOpenSSL, which wants cryptography's objects and deprecates its own.
        own, *chain = x509.load_pem_x509_certificates(self.certificate.read_bytes())
        key = load_pem_private_key(self.key.read_bytes(), password=None)
        return optionsForClientTLS(
            name, trust_root, extraCertificateOptions={"privateKey": key, "certificate": own, "extraCertChain": chain}
        )
