"""Checks of the certificates in the section ``tls``."""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from fleetgw.adapters.certificates.files import read_authorities, validity
from fleetgw.adapters.settings.certificate_checks import check_certificate_and_key, refused
from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.surroundings import Surroundings
from fleetgw.app.config.sections import Config
from fleetgw.app.config.tls import Tls
from fleetgw.app.config.vehicle_authorities import check_vehicle_authorities
from fleetgw.domain.errors import ConfigurationError
from fleetgw.domain.health import Validity


def check_server_certificates(config: Config, findings: Findings, surroundings: Surroundings) -> None:
    """Check that the files of ``tls`` can be used, that key and certificate match, and that nothing has expired."""
    tls = config.tls
    if findings.usable("tls.ca_file"):
        authorities = _read_authorities(tls.ca_file, "tls.ca_file", findings)
        if findings.usable("identity"):
            check_vehicle_authorities(config, authorities, findings)
    if findings.usable("tls.server_cert") and findings.usable("tls.server_key"):
        chain = check_certificate_and_key(tls.server_cert, tls.server_key, "tls", findings)
        if chain:
            _check_expiry(chain[0], findings, surroundings)
    if findings.usable("tls") and not findings.refuses("tls"):
        _check_context(tls, findings)


def _check_context(tls: Tls, findings: Findings) -> None:
    """Make a TLS context from the files, as the start does: OpenSSL has rules of its own."""
    from fleetgw.adapters.ingress.tls_context import (  # Twisted's TLS, which checking alone can do without
        TlsFiles,
        make_context,
        read_vehicle_authorities,
    )

    try:
        make_context(TlsFiles(tls.ca_file, tls.server_cert, tls.server_key), read_vehicle_authorities(tls.ca_file))
    except ConfigurationError as error:
        for problem in error.problems:
            findings.refuse(problem.path, problem.what, problem.fix)


def _read_authorities(file: Path, path: str, findings: Findings) -> Sequence[x509.Certificate]:
    """The certificates in a file; where there are none, that is noted as a problem."""
    with refused(path, findings):
        bundle = read_authorities(file)
        for block in bundle.unreadable:
            findings.warn(path, f"{file}: {block}", "replace or remove it; the others of the file are used")
        return bundle.certificates
    return ()


def _check_expiry(certificate: x509.Certificate, findings: Findings, surroundings: Surroundings) -> None:
    path = "tls.server_cert"
    try:
        judged = validity(certificate, surroundings.now)
    except ValueError:
        findings.refuse(path, "the certificate has no dates that can be read", "use one that has")
        return
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    match judged:
        case Validity.EXPIRED:
            findings.warn(path, f"the certificate expired on {ends:%Y-%m-%d}: no vehicle connects", "renew it")
        case Validity.NOT_YET_VALID:
            what = f"the certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC: no vehicle connects"
            findings.warn(path, what, "use one that is, or set the clock")
        case Validity.EXPIRES_SOON:
            findings.warn(path, f"the certificate expires on {ends:%Y-%m-%d}", "renew it")
        case Validity.VALID:
            pass
