"""The member ``ca``: the authorities by which a vehicle verifies the gateway's certificate."""

from __future__ import annotations

import ssl
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL.crypto import X509, X509Store, X509StoreContext, X509StoreContextError, X509StoreFlags
from service_identity import VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, verify_service_identity

from fleetgw.adapters.certificates.bundle import read_bundle
from fleetgw.adapters.diagnosis.certificates import issuer, subjects
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography import x509

    from fleetgw.domain.ports import Finding

MAX_AUTHORITIES = 10
"""A chain has two or three; a longer list is a bundle such as the operating system's, which vehicles do not take."""

MAX_BYTES = 32_768
"""Longest text of ``ca``."""

_LONGEST_CHAIN = 8

_EXPIRES_SOON_DAYS = 60


def authorities_of(chain: Sequence[x509.Certificate], known: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The issuers above the gateway's own certificate, up to the root as far as that is there.

    The own certificate is left out: it is renewed more often than vehicles' configurations are.

    :param chain: of ``tls.server_cert``, the own certificate first.
    :param known: further authorities, such as the operating system's, in which missing issuers are looked for.
    """
    own, *above = chain
    if _issued(own, own):
        return [own]  # it is its own authority
    found = list(above)
    top = found[-1] if found else own
    while not _issued(top, top) and len(found) < _LONGEST_CHAIN:
        issuers = (each for each in known if each.subject == top.issuer and _issued(top, each))
        above_it = next(issuers, None)
        if above_it is None:
            break
        found.append(above_it)
        top = above_it
    return found


def system_authorities() -> list[x509.Certificate]:
    """The authorities that this machine trusts; empty where it has no file of them."""
    file = ssl.get_default_verify_paths().cafile
    if file is None:
        return []
    try:
        content = Path(file).read_bytes()
    except OSError:
        return []
    with warnings.catch_warnings(action="ignore"):  # the list is the system's, and so are its oddities
        return list(read_bundle(content).certificates)


def as_text(authorities: Sequence[x509.Certificate]) -> str:
    """The text of ``ca``."""
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in authorities)


def check_authority(
    text: object, chain: Sequence[x509.Certificate], hostname: str, now: datetime | None = None
) -> Iterator[Finding]:
    """Findings on ``ca``: whether a vehicle that trusts it alone accepts the gateway's certificate for the host name.

    :param chain: what the gateway shows to a vehicle, its own certificate first.
    """
    now = now or datetime.now(UTC)
    if not isinstance(text, str) or not text.strip():
        yield will_not_work("ca: is missing", "give the certificates of the authorities that issued tls.server_cert, in PEM")
        return
    bundle = read_bundle(text.encode("utf-8", "replace"))
    for block in bundle.unreadable:
        yield will_not_work(f"ca: {block}", "leave it out, or replace it")
    authorities = bundle.certificates
    if not authorities:
        yield will_not_work("ca: holds no certificate", "give PEM: a text that begins with -----BEGIN CERTIFICATE-----")
        return
    if len(authorities) > MAX_AUTHORITIES or len(text) > MAX_BYTES:
        what = f"ca: has {len(authorities)} certificates and {len(text):,} bytes, too many for a vehicle"
        yield will_not_work(what, "give only those that issued the gateway's certificate, not a list of all authorities")
    yield from _dates(authorities, now)
    if chain[0] in authorities and not _issued(chain[0], chain[0]):
        what = "ca: holds the gateway's own certificate; once that is renewed, it says nothing"
        yield worth_a_look(what, "give its issuers alone")
    yield from _name(chain[0], hostname)
    yield from _chain(authorities, chain, now)


def _dates(authorities: Sequence[x509.Certificate], now: datetime) -> Iterator[Finding]:
    for each in authorities:
        ends = each.not_valid_after_utc
        if ends <= now:
            yield will_not_work(f"ca: {subjects(each)} expired on {ends:%Y-%m-%d}", "replace it by the authority's new one")
        elif (ends - now).days < _EXPIRES_SOON_DAYS:
            what = f"ca: {subjects(each)} expires on {ends:%Y-%m-%d}; vehicles do not connect after that"
            yield worth_a_look(what, "send the new authority to the vehicles before")


def _name(own: x509.Certificate, hostname: str) -> Iterator[Finding]:
    try:
        verify_service_identity(extract_patterns(own), [DNS_ID(hostname)], [])
    except (VerificationError, ValueError):
        yield will_not_work(
            f"hostname: {hostname} is not among the names of the gateway's certificate ({subjects(own)})",
            "use one of its names, or a certificate for this one",
        )


def _chain(authorities: Sequence[x509.Certificate], chain: Sequence[x509.Certificate], now: datetime) -> Iterator[Finding]:
    own, *intermediates = chain
    store = X509Store()
    for each in authorities:
        store.add_cert(X509.from_cryptography(each))
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(now)
    context = X509StoreContext(store, X509.from_cryptography(own), [X509.from_cryptography(each) for each in intermediates])
    try:
        context.verify_certificate()
    except X509StoreContextError as error:
        what = f"ca: does not verify the gateway's certificate, which {issuer(own)} issued: {error}"
        fix = "renew the certificate" if "expired" in str(error) else "give the authorities that issued it (--ca FILE)"
        yield will_not_work(what, fix)
        return
    first_end = min(each.not_valid_after_utc for each in authorities)
    yield good(f"ca: verifies the gateway's certificate, until {first_end:%Y-%m-%d}")
    if not any(_issued(each, each) for each in authorities):
        top = authorities[-1]
        what = f"ca: ends with {subjects(top)}, which is no root"
        yield worth_a_look(
            what, f"add the certificate of {issuer(top)} (--ca FILE): not every vehicle accepts a part of a chain"
        )


def _issued(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
