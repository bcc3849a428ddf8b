"""TLS of a vehicle: its own certificate, and the authority of the server's certificate."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

ClientTls = IOpenSSLClientConnectionCreator | CertificateOptions


def client_tls(certificate_pem: bytes, key_pem: bytes, authority_pem: bytes | None, server_name: str | None) -> ClientTls:
    """The TLS options of a vehicle, for its ``TLSMemoryBIOFactory``.

    :param certificate_pem: the vehicle's certificate, followed by its intermediates, if any.
    :param key_pem: its private key.
    :param authority_pem: the trusted authorities, one certificate or more; None for the machine's own list.
    :param server_name: the name that the server's certificate must have; None: any.
    :raises ValueError: a PEM text cannot be read.
    """
    # Twisted passes certificates and keys to pyOpenSSL, which wants cryptography's objects and deprecates its own
    certificate, *chain = x509.load_pem_x509_certificates(certificate_pem)
    key = load_pem_private_key(key_pem, password=None)
    if authority_pem is None:
        trust_root = platformTrust()
    else:
        trust_root = trustRootFromCertificates(
            Certificate.loadPEM(authority.public_bytes(Encoding.PEM))
            for authority in x509.load_pem_x509_certificates(authority_pem)
        )
    if server_name is not None:
        own = {"privateKey": key, "certificate": certificate, "extraCertChain": chain}
        return optionsForClientTLS(server_name, trust_root, extraCertificateOptions=own)
    return CertificateOptions(
        privateKey=key,  # type: ignore[arg-type]  # see above
        certificate=certificate,  # type: ignore[arg-type]  # see above
        extraCertChain=chain,  # type: ignore[arg-type]  # see above
        trustRoot=trust_root,
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
