"""Can the certificates be used?"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from fleetgw.adapters.certificate_bundle import read_bundle
from fleetgw.adapters.openssl_reasons import reason_of
from fleetgw.adapters.settings.files import read_regular_file
from fleetgw.adapters.settings.findings import Findings, Surroundings
from fleetgw.adapters.settings.secrets import reason
from fleetgw.app.config.sections import Config, Tls
from fleetgw.app.config.sink_sections import ClientTls
from fleetgw.app.config.vehicle_authorities import check_vehicle_authorities
from fleetgw.domain.errors import ConfigurationError

EXPIRY_WARNING = timedelta(days=30)


def check_server_certificates(config: Config, findings: Findings, surroundings: Surroundings) -> None:
    """The files of ``tls`` hold what they should, belong together, have not expired, and OpenSSL takes them."""
    tls = config.tls
    if findings.usable("tls.ca_file"):
        authorities = _read_authorities(tls.ca_file, "tls.ca_file", findings)
        if findings.usable("identity"):
            check_vehicle_authorities(config, authorities, findings)
    if findings.usable("tls.server_cert") and findings.usable("tls.server_key"):
        chain = _check_pair(tls.server_cert, tls.server_key, "tls", findings)
        if chain:
            _check_expiry(chain[0], findings, surroundings)
    if findings.usable("tls") and not findings.refuses("tls"):
        _check_context(tls, findings)


def _check_context(tls: Tls, findings: Findings) -> None:
    """Make what the start makes of the files: OpenSSL has rules of its own."""
    from fleetgw.adapters.ingress.tls_context import (  # Twisted's TLS, which checking alone can do without
        TlsFiles,
        make_context,
    )

    try:
        make_context(TlsFiles(tls.ca_file, tls.server_cert, tls.server_key))
    except ConfigurationError as error:
        for problem in error.problems:
            findings.refuse(problem.path, problem.what, problem.fix)


def check_client_tls(tls: ClientTls | None, path: str, findings: Findings) -> None:
    """The files of a client's TLS section hold what they should; a certificate has its key."""
    if tls is None or not findings.usable(path):
        return
    if tls.ca_file is not None:
        _read_certificates(tls.ca_file, f"{path}.ca_file", findings)
    if tls.server_cert is not None and tls.server_key is not None:
        _check_pair(tls.server_cert, tls.server_key, path, findings)
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


def _check_pair(cert: Path, key: Path, path: str, findings: Findings) -> list[x509.Certificate]:
    """Check a certificate and its key; the certificates that could be read, our own first."""
    chain = _read_certificates(cert, f"{path}.server_cert", findings)
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


def _read_certificates(file: Path, path: str, findings: Findings) -> list[x509.Certificate]:
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


def _read_authorities(file: Path, path: str, findings: Findings) -> Sequence[x509.Certificate]:
    """The certificates that the gateway takes from a file; none, and a problem, when there are none."""
    with suppress(OSError):
        bundle = read_bundle(read_regular_file(file))
        if bundle.certificates:
            for block in bundle.unreadable:
                findings.warn(path, f"{file}: {block}", "replace or remove it; the others of the file are used")
            return bundle.certificates
    if not _read_certificates(file, path, findings):
        return ()
    fix = "must be a PEM file with at least one certificate (BEGIN CERTIFICATE)"
    findings.refuse(path, f"{file} holds no certificate that can be used", fix)
    return ()


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


def _check_expiry(certificate: x509.Certificate, findings: Findings, surroundings: Surroundings) -> None:
    path, renew = "tls.server_cert", "renew it"
    try:
        ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    except ValueError:
        findings.refuse(path, "the certificate has no dates that can be read", "use one that has")
        return
    if ends < surroundings.now:
        findings.warn(path, f"the certificate expired on {ends:%Y-%m-%d}: no vehicle connects", renew)
    elif begins > surroundings.now:
        what = f"the certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC: no vehicle connects"
        findings.warn(path, what, "use one that is, or set the clock")
    elif ends - surroundings.now < EXPIRY_WARNING:
        findings.warn(path, f"the certificate expires on {ends:%Y-%m-%d}", renew)
