"""Checks that the authorities in ``tls.ca_file`` are issuers of vehicles' certificates."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.app.config.sections import Config
from fleetgw.domain.identity import DEFAULT_ISSUERS

_NAMES_SHOWN = 3


def check_vehicle_authorities(config: Config, authorities: Sequence[x509.Certificate], findings: Findings) -> None:
    """Warn when no authority of ``tls.ca_file`` is an issuer in the identity table.

    :param authorities: the certificates in the file.
    """
    issuers = DEFAULT_ISSUERS.rules.keys() | config.identity.issuers.keys()
    names = [_last_common_name(each) for each in authorities]
    if not authorities or not issuers.isdisjoint(names):
        return
    shown = quoted(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
    what = f"no authority in {config.tls.ca_file} issues vehicles' certificates: it has {shown}"
    if any(map(_may_have_intermediates, authorities)):
        what += "; only a vehicle that sends an intermediate of the issuer table along gets in"
    else:
        what += "; no vehicle gets in"
    findings.warn("tls.ca_file", what, _fix(config.tls.ca_file, engineering=config.use_default_eng_ca))


def _fix(file: Path, *, engineering: bool) -> str:
    command = f"fleetgw fetch-ca {shlex.quote(str(file))} --append" + (" --eng" if engineering else "")
    return f"add Tesla's authorities to it: {command}; for vehicles of your own, name their issuer in identity.issuers"


def _last_common_name(certificate: x509.Certificate) -> str:
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[-1].value) if names else certificate.subject.rfc4514_string() or "(no name)"
    except (ValueError, TypeError):  # cryptography parses names lazily
        return "(a name that cannot be read)"


def _may_have_intermediates(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError, TypeError):
        return False
    return constraints.ca and constraints.path_length != 0
