"""The files of certificates and keys that settings name: do they hold what they should?"""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from fleetgw.adapters.openssl_reasons import reason_of
from fleetgw.adapters.settings.client_tls import ClientTls
from fleetgw.adapters.settings.files import read_regular_file
from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.secrets import reason


def check_client_tls(tls: ClientTls | None, path: str, findings: Findings) -> None:
    """The files of a client's TLS section hold what they should; a certificate has its key."""
    if tls is None or not findings.usable(path):
        return
    if tls.ca_file is not None:
        read_certificates(tls.ca_file, f"{path}.ca_file", findings)
    if tls.server_cert is not None and tls.server_key is not None:
        check_pair(tls.server_cert, tls.server_key, path, findings)
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


def check_pair(cert: Path, key: Path, path: str, findings: Findings) -> list[x509.Certificate]:
    """Check a certificate and its key; the certificates that could be read, our own first."""
    chain = read_certificates(cert, f"{path}.server_cert", findings)
    private_key = _read_private_key(key, f"{path}.server_key", findings)
    if not chain or not private_key:
        return chain
    try:
        certified = _encoded(chain[0].public_key())
    except (ValueError, UnsupportedAlgorithm):
        findings.refuse(
            f"{path}.server_cert", f"{cert} is for a key of a kind that is not known", "use EC P-256, or RSA of 2048 bits"
        )
        return []
    if certified != _encoded(private_key.public_key()):
        findings.refuse(
            f"{path}.server_key", f"{key} is not the key of {cert}", "name the key that the certificate was made for"
        )
    return chain


def _encoded(public_key: PublicKeyTypes) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def read_certificates(file: Path, path: str, findings: Findings) -> list[x509.Certificate]:
    """The certificates in a PEM file; none, and a problem, when it cannot be read."""
    fix = "must be a PEM file with at least one certificate (BEGIN CERTIFICATE)"
    if (pem := _read(file, path, fix, findings)) is None:
        return []
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):
        pass
    if b"PRIVATE KEY" in pem:
        what = "holds a private key, no certificate: are the two swapped?"
    elif _is_der(pem):
        what, fix = "is not PEM, but looks like DER", f"convert it: openssl x509 -inform DER -in {file} -out NEW_FILE"
    else:
        what = "holds no readable certificate"
    findings.refuse(path, f"{file} {what}", fix)
    return []


def _read_private_key(file: Path, path: str, findings: Findings) -> PrivateKeyTypes | None:
    fix = "must be a PEM file with a private key (BEGIN PRIVATE KEY), not encrypted"
    if (pem := _read(file, path, fix, findings)) is None:
        return None
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        what, fix = "is encrypted", f"take its passphrase off: openssl pkey -in {file} -out NEW_FILE; {fix}"
    except (ValueError, UnsupportedAlgorithm):
        if b"CERTIFICATE" in pem:
            what = "holds a certificate, no key: are the two swapped?"
        elif _is_der(pem):
            what, fix = "is not PEM, but looks like DER", f"convert it: openssl pkey -inform DER -in {file} -out NEW_FILE"
        else:
            what = "holds no readable private key"
    findings.refuse(path, f"{file} {what}", fix)
    return None


def _is_der(content: bytes) -> bool:
    return content[:1] == b"\x30" and b"-----" not in content  # a SEQUENCE, which certificates and keys are


def _read(file: Path, path: str, fix: str, findings: Findings) -> bytes | None:
    try:
        pem = read_regular_file(file)
    except OSError as error:
        findings.refuse(path, f"{file} cannot be read: {reason(error)}", fix)
        return None
    if not pem.strip():
        findings.refuse(path, f"{file} is empty", fix)
        return None
    return pem
