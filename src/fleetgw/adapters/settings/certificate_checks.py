"""Checks of the certificate and key files that settings name; each problem is reported at its setting."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from fleetgw.adapters.certificates.files import (
    UnusableCertificateFile,
    check_loadable,
    check_pair,
    read_certificates,
    read_private_key,
)
from fleetgw.adapters.settings.client_tls import ClientTls
from fleetgw.adapters.settings.findings import Findings


def check_client_tls(tls: ClientTls | None, path: str, findings: Findings) -> None:
    """Check that the files of a client's TLS section can be used, and that a certificate has its key."""
    if tls is None or not findings.usable(path):
        return
    if tls.ca_file is not None:
        with refused(f"{path}.ca_file", findings):
            read_certificates(tls.ca_file)
    if tls.server_cert is not None and tls.server_key is not None:
        check_certificate_and_key(tls.server_cert, tls.server_key, path, findings)
        if not findings.refuses(path):
            with _refused_pair(tls.server_cert, tls.server_key, path, findings):
                check_loadable(tls.server_cert, tls.server_key)
    elif tls.server_cert is not None or tls.server_key is not None:
        findings.refuse(path, "has only one of server_cert and server_key", "give both, or none")


def check_certificate_and_key(cert: Path, key: Path, path: str, findings: Findings) -> list[x509.Certificate]:
    """Check a certificate and its key; return the certificates that could be read, our own first."""
    chain: list[x509.Certificate] = []
    private_key = None
    with refused(f"{path}.server_cert", findings):
        chain = read_certificates(cert)
    with refused(f"{path}.server_key", findings):
        private_key = read_private_key(key)
    if chain and private_key is not None:
        with _refused_pair(cert, key, path, findings):
            check_pair(chain[0], cert, private_key, key)
    return chain


@contextmanager
def refused(path: str, findings: Findings) -> Iterator[None]:
    """Report an unusable file at ``path``."""
    try:
        yield
    except UnusableCertificateFile as error:
        findings.refuse(path, error.what, error.fix)


@contextmanager
def _refused_pair(cert: Path, key: Path, path: str, findings: Findings) -> Iterator[None]:
    """Report an unusable file of a certificate or its key at its setting in the section ``path``."""
    try:
        yield
    except UnusableCertificateFile as error:
        name = {cert: "server_cert", key: "server_key"}[error.file]
        findings.refuse(f"{path}.{name}", error.what, error.fix)
