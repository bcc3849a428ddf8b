"""Findings of the doctor about certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from fleetgw.adapters.certificates.files import (
    UnusableCertificateFile,
    check_pair,
    read_authorities,
    read_certificates,
    read_private_key,
    validity,
)
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.domain.health import Validity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fleetgw.domain.ports import Finding


def client_files_findings(ca_file: Path | None, certificate: Path | None, key: Path | None) -> Iterator[Finding]:
    """Findings on the files of a client's TLS, those that are given."""
    if ca_file:
        yield from authorities_findings(ca_file)
    if certificate and key:
        yield from own_certificate_findings(certificate, key)


def own_certificate_findings(certificate: Path, key: Path, now: datetime | None = None) -> Iterator[Finding]:
    """Findings on a certificate of our own: its dates, its chain, its key."""
    try:
        chain = read_certificates(certificate)
    except UnusableCertificateFile as error:
        yield will_not_work(error.what, error.fix)
        return
    yield from certificate_findings(chain, certificate.name, now)
    yield from _chain_findings(chain, certificate.name)
    try:
        check_pair(chain[0], certificate, read_private_key(key), key)
    except UnusableCertificateFile as error:
        yield will_not_work(error.what, error.fix)
    else:
        yield good(f"{key.name} is its key")


def authorities_findings(file: Path, now: datetime | None = None) -> Iterator[Finding]:
    """Findings on a file of authorities that peers are verified with."""
    try:
        bundle = read_authorities(file)
    except UnusableCertificateFile as error:
        yield will_not_work(error.what, error.fix)
        return
    for block in bundle.unreadable:
        yield worth_a_look(f"{file.name}: {block}", "replace or remove it; the others of the file are used")
    authorities = bundle.certificates
    now = now or datetime.now(UTC)
    expired = [each for each in authorities if validity(each, now) is Validity.EXPIRED]
    usable = [each for each in authorities if each not in expired]
    if not usable:
        yield will_not_work(f"{file.name}: every authority has expired", "get the present ones (Tesla's: fleetgw fetch-ca)")
        return
    first = min(usable, key=lambda each: each.not_valid_after_utc)
    count = "1 authority" if len(usable) == 1 else f"{len(usable)} authorities"
    yield good(f"{file.name}: {count}, the first to expire is {_name(first)} ({_until(first, now)})")
    if expired:
        yield worth_a_look(f"{file.name}: expired: {', '.join(map(_name, expired))}", "replace or remove them")


def certificate_findings(chain: Sequence[x509.Certificate], name: str, now: datetime | None = None) -> Iterator[Finding]:
    """Findings on a certificate: its subjects, its issuer, its dates."""
    now = now or datetime.now(UTC)
    certificate = chain[0]
    what = f"{name}: for {subjects(certificate)}, issued by {issuer(certificate)}, {_until(certificate, now)}"
    match validity(certificate, now):
        case Validity.EXPIRED:
            yield will_not_work(what, "renew it, or set this machine's clock if that is wrong")
        case Validity.NOT_YET_VALID:
            begins = certificate.not_valid_before_utc
            what = f"{name}: not valid before {begins:%Y-%m-%d %H:%M} UTC, this clock says {now:%Y-%m-%d %H:%M}"
            yield will_not_work(what, "set this machine's clock, or use a certificate that is valid now")
        case Validity.EXPIRES_SOON:
            yield worth_a_look(what, "renew it soon")
        case Validity.VALID:
            yield good(what)


def _chain_findings(chain: Sequence[x509.Certificate], name: str) -> Iterator[Finding]:
    for lower, upper in pairwise(chain):
        try:
            lower.verify_directly_issued_by(upper)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            yield will_not_work(
                f"{name}: {_name(upper)} did not issue {_name(lower)}, which stands before it",
                "order the file: our certificate first, then its issuer, then the issuer of that",
            )
            return
    last = chain[-1]
    if len(chain) > 1 or last.issuer == last.subject:
        yield good(f"chain: {' < '.join(map(_name, chain))}" + ("" if last.issuer == last.subject else f" < {issuer(last)}"))
    else:
        yield good(f"chain: {_name(last)} < {issuer(last)}, which the other side must know")


def _until(certificate: x509.Certificate, now: datetime) -> str:
    ends = certificate.not_valid_after_utc
    if ends < now:
        return f"expired on {ends:%Y-%m-%d}"
    days = (ends - now).days
    return f"valid until {ends:%Y-%m-%d}, {days} day{'' if days == 1 else 's'} left"


def subjects(certificate: x509.Certificate) -> str:
    """Names and addresses of a certificate, four at most."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return _name(certificate)
    shown = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return ", ".join(shown[:4]) + (" ..." if len(shown) > 4 else "") if shown else _name(certificate)


def _name(certificate: x509.Certificate) -> str:
    return _common_name(certificate.subject)


def issuer(certificate: x509.Certificate) -> str:
    """Common name of a certificate's issuer."""
    return _common_name(certificate.issuer)


def _common_name(name: x509.Name) -> str:
    names = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else name.rfc4514_string() or "(no name)"
