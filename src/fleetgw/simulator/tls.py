"""TLS as a vehicle does it: its own certificate, and the authority that it trusts to sign the server's."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL.crypto import FILETYPE_PEM, X509, Error, PKey, load_privatekey
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
    """What a ``TLSMemoryBIOFactory`` of a vehicle needs.

    :param certificate_pem: the vehicle's certificate, followed by its intermediates, if any.
    :param key_pem: its private key.
    :param authority_pem: whom to trust, one certificate or more; None for the machine's own list.
    :param server_name: the name that the server's certificate must carry; None looks at the signature only.
    :raises ValueError: a PEM text cannot be read.
    """
    chain = [X509.from_cryptography(certificate) for certificate in x509.load_pem_x509_certificates(certificate_pem)]
    key = _private_key(key_pem)
    if authority_pem is None:
        trust_root = platformTrust()
    else:
        trust_root = trustRootFromCertificates(
            Certificate.loadPEM(certificate.public_bytes(Encoding.PEM))
            for certificate in x509.load_pem_x509_certificates(authority_pem)
        )
    if server_name is None:
        return CertificateOptions(
            privateKey=key,
            certificate=chain[0],
            extraCertChain=chain[1:],
            trustRoot=trust_root,
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
    own = {"privateKey": key, "certificate": chain[0], "extraCertChain": chain[1:]}
    return optionsForClientTLS(server_name, trust_root, extraCertificateOptions=own)


def _private_key(pem: bytes) -> PKey:
    try:
        return load_privatekey(FILETYPE_PEM, pem)
    except Error as error:
        raise ValueError("the private key is no PEM text that OpenSSL can read") from error
