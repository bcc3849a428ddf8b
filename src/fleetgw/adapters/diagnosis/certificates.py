"""What there is to say about certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from fleetgw.adapters.certificate_bundle import read_bundle
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from fleetgw.domain.ports import Finding

RENEW_WITHIN = timedelta(days=30)


def own_certificate_findings(certificate: Path, key: Path, now: datetime | None = None) -> Iterator[Finding]:
    """A certificate that we show to others: its dates, its chain, whether the key is its own."""
    chain = yield from _read(certificate)
    if not chain:
        return
    yield from certificate_findings(chain, certificate.name, now)
    yield from _chain_findings(chain, certificate.name)
    try:
        private_key = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        yield will_not_work(f"{key} cannot be used: {error}", "must be a PEM file with a private key, not encrypted")
        return
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        certified = chain[0].public_key().public_bytes(*spki)
    except (ValueError, UnsupportedAlgorithm):
        yield will_not_work(
            f"{certificate.name} is for a key of a kind that is not known", "use EC P-256, or RSA of 2048 bits"
        )
        return
    if private_key.public_key().public_bytes(*spki) == certified:
        yield good(f"{key.name} is its key")
    else:
        yield will_not_work(f"{key} is not the key of {certificate.name}", "name the key that the certificate was made for")


def authorities_findings(file: Path, now: datetime | None = None) -> Iterator[Finding]:
    """A file of authorities that others are verified with."""
    authorities = yield from _read_authorities(file)
    if not authorities:
        return
    now = now or datetime.now(UTC)
    expired = [_name(each) for each in authorities if each.not_valid_after_utc < now]
    left = [each for each in authorities if each.not_valid_after_utc >= now]
    if not left:
        yield will_not_work(f"{file.name}: every authority has expired", "get the present ones (Tesla's: fleetgw fetch-ca)")
        return
    first = min(left, key=lambda each: each.not_valid_after_utc)
    count = "1 authority" if len(left) == 1 else f"{len(left)} authorities"
    yield good(f"{file.name}: {count}, the first to expire is {_name(first)} ({_until(first, now)})")
    if expired:
        yield worth_a_look(f"{file.name}: expired: {', '.join(expired)}", "replace or remove them")


def certificate_findings(chain: Sequence[x509.Certificate], name: str, now: datetime | None = None) -> Iterator[Finding]:
    """Whom a certificate is for, who says so, and until when."""
    now = now or datetime.now(UTC)
    certificate = chain[0]
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    what = f"{name}: for {subjects(certificate)}, issued by {issuer(certificate)}, {_until(certificate, now)}"
    if ends < now:
        yield will_not_work(what, "renew it, or set this machine's clock if that is wrong")
    elif begins > now:
        what = f"{name}: not valid before {begins:%Y-%m-%d %H:%M} UTC, this clock says {now:%Y-%m-%d %H:%M}"
        yield will_not_work(what, "set this machine's clock, or use a certificate that is valid now")
    elif ends - now < RENEW_WITHIN:
        yield worth_a_look(what, "renew it soon")
    else:
        yield good(what)


def _read_authorities(file: Path) -> Generator[Finding, None, Sequence[x509.Certificate]]:
    try:
        bundle = read_bundle(file.read_bytes())
    except OSError as error:
        yield will_not_work(f"{file} cannot be read: {error.strerror}", "name a file that this user can read")
        return ()
    if not bundle.certificates:
        yield will_not_work(f"{file} holds no readable certificate", "must be a PEM file (BEGIN CERTIFICATE)")
    for block in bundle.unreadable:
        yield worth_a_look(f"{file.name}: {block}", "replace or remove it; the others of the file are used")
    return bundle.certificates


def _read(file: Path) -> Generator[Finding, None, list[x509.Certificate]]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        yield will_not_work(f"{file} cannot be read: {error.strerror}", "name a file that this user can read")
    except (ValueError, x509.InvalidVersion):
        yield will_not_work(f"{file} holds no readable certificate", "must be a PEM file (BEGIN CERTIFICATE)")
    return []


def _chain_findings(chain: Sequence[x509.Certificate], name: str) -> Iterator[Finding]:
    for lower, upper in pairwise(chain):
        try:
            lower.verify_directly_issued_by(upper)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            yield will_not_work(
                f"{name}: {_name(upper)} did not issue {_name(lower)}, which stands before it",
                "order the file: our certificate first, then who issued it, then who issued that",
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
    """The names and addresses that a certificate is for, in brief."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return _name(certificate)
    shown = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return ", ".join(shown[:4]) + (" ..." if len(shown) > 4 else "") if shown else _name(certificate)


def _name(certificate: x509.Certificate) -> str:
    return _common_name(certificate.subject)


def issuer(certificate: x509.Certificate) -> str:
    """Who says so."""
    return _common_name(certificate.issuer)


def _common_name(name: x509.Name) -> str:
    names = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else name.rfc4514_string() or "(no name)"
