"""Authorities with the same name: OpenSSL tries only the first of them as the issuer of a certificate."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509

from fleetgw.adapters.certificates.files import validity
from fleetgw.adapters.ingress.certificate import from_openssl
from fleetgw.domain.health import Validity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from OpenSSL import crypto

Namesakes: TypeAlias = "Mapping[bytes, Sequence[x509.Certificate]]"
"""Authorities by the name that they share, in DER."""


def namesakes_among(authorities: Sequence[x509.Certificate]) -> Namesakes:
    """Authorities that share their name with others."""
    by_name: dict[bytes, list[x509.Certificate]] = defaultdict(list)
    for authority in authorities:
        by_name[authority.subject.public_bytes()].append(authority)
    return {name: sharing for name, sharing in by_name.items() if len(sharing) > 1}


def is_signed_by_namesake(namesakes: Namesakes, signed: crypto.X509, depth: int) -> bool:
    """Whether one of the namesakes, allowed to issue at this depth, has signed a certificate."""
    try:
        certificate = from_openssl(signed)
        sharing = namesakes.get(certificate.issuer.public_bytes(), ())
        return any(_may_issue(each, depth) and _has_signed(each, certificate) for each in sharing)
    except Exception:  # the peer chooses the bytes; nobody has signed an unreadable certificate
        return False


def _may_issue(authority: x509.Certificate, depth: int) -> bool:
    if validity(authority, datetime.now(UTC)) in {Validity.EXPIRED, Validity.NOT_YET_VALID}:
        return False
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return authority.version is x509.Version.v1
    return constraints.ca and (constraints.path_length is None or constraints.path_length >= depth)


def _has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # the peer chooses the bytes, and exceptions of cryptography share no base class
        return False
    return True
