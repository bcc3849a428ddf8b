"""Checks of the certificates and keys that settings name: each problem at its key."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from fleetgw.adapters.certificates.files import UnusableCertificateFile, check_pair, read_certificates, read_private_key
from fleetgw.adapters.certificates.openssl_reasons import reason_of
from fleetgw.adapters.settings.client_tls import ClientTls
from fleetgw.adapters.settings.findings import Findings


def check_client_tls(tls: ClientTls | None, path: str, findings: Findings) -> None:
    """The files of a client's TLS section hold what they should; a certificate has its key."""
    if tls is None or not findings.usable(path):
        return
    if tls.ca_file is not None:
        with refused(f"{path}.ca_file", findings):
            read_certificates(tls.ca_file)
    if tls.server_cert is not None and tls.server_key is not None:
        check_certificate_and_key(tls.server_cert, tls.server_key, path, findings)
        if not findings.refuses(path):
            _load_pair(tls.server_cert, tls.server_key, path, findings)
    elif tls.server_cert is not None or tls.server_key is not None:
        findings.refuse(path, "has only one of server_cert and server_key", "give both, or none")


def _load_pair(cert: Path, key: Path, path: str, findings: Findings) -> None:
    """Have OpenSSL load a certificate and its key, as a client's start does."""
    from OpenSSL import SSL  # not before: most configurations name no certificate of a client

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    for name, file, load in (
        ("server_cert", cert, context.use_certificate_chain_file),
        ("server_key", key, context.use_privatekey_file),
    ):
        try:
            load(str(file))
        except SSL.Error as error:
            reason = reason_of(error)
            fix = reason.fix or "use EC P-256, or RSA of at least 2048 bits, in a PEM file"
            findings.refuse(f"{path}.{name}", f"{file} cannot be used: {reason.what}", fix)
            return


def check_certificate_and_key(cert: Path, key: Path, path: str, findings: Findings) -> list[x509.Certificate]:
    """Check a certificate and its key; the certificates that could be read, our own first."""
    chain: list[x509.Certificate] = []
    private_key = None
    with refused(f"{path}.server_cert", findings):
        chain = read_certificates(cert)
    with refused(f"{path}.server_key", findings):
        private_key = read_private_key(key)
    if chain and private_key is not None:
        try:
            check_pair(chain[0], cert, private_key, key)
        except UnusableCertificateFile as error:
            findings.refuse(f"{path}.{'server_key' if error.file == key else 'server_cert'}", error.what, error.fix)
    return chain


@contextmanager
def refused(path: str, findings: Findings) -> Iterator[None]:
    """Have the file that cannot be used refused at ``path``."""
    try:
        yield
    except UnusableCertificateFile as error:
        findings.refuse(path, error.what, error.fix)
