"""TLS options of a client that reads its authorities, certificate and key from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates

from fleetgw.adapters.certificates.files import read_authorities, read_certificates, read_private_key

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.internet.interfaces import IOpenSSLClientConnectionCreator


def client_options(
    hostname: str, ca_file: Path | None, certificate: Path | None, key: Path | None
) -> IOpenSSLClientConnectionCreator:
    """Options that verify a server and show it a certificate of our own.

    :param hostname: the name that the server's certificate must have.
    :param ca_file: authorities in place of the system's.
    :param certificate: our own, followed by its intermediates; shown only together with ``key``.
    :raises UnusableCertificateFile: a file cannot be read, or does not hold what it should.
    """
    trust_root = platformTrust()
    if ca_file is not None:
        trust_root = trustRootFromCertificates(
            Certificate.loadPEM(authority.public_bytes(Encoding.PEM)) for authority in read_authorities(ca_file).certificates
        )
    if certificate is None or key is None:
        return optionsForClientTLS(hostname, trust_root)
    # Twisted passes these to pyOpenSSL, which wants cryptography's objects and deprecates its own.
    own, *chain = read_certificates(certificate)
    return optionsForClientTLS(
        hostname,
        trust_root,
        extraCertificateOptions={"privateKey": read_private_key(key), "certificate": own, "extraCertChain": chain},
    )
