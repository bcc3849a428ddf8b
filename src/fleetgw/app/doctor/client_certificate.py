"""Judges a client certificate as the gateway would: by the same TLS, the same identity rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from attrs import evolve, frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fleetgw.adapters.certificates.bundle import Bundle, read_bundle
from fleetgw.adapters.certificates.files import UnusableCertificateFile, read_authorities, validity
from fleetgw.adapters.files.reading import read_regular_file, unreadable_reason
from fleetgw.adapters.ingress.certificate import facts_from_der, shown
from fleetgw.adapters.ingress.rehearsal import rehearse
from fleetgw.adapters.listening.refusals import Refusal
from fleetgw.app.service.allow_list_maker import make_source
from fleetgw.app.service.live_settings import issuers
from fleetgw.domain.allow_list import Allowed, AllowList, NoList, NotListed
from fleetgw.domain.errors import Unauthorized, UnusableAllowList
from fleetgw.domain.health import Validity
from fleetgw.domain.identity import DEFAULT_ISSUERS, identify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fleetgw.adapters.ingress.certificate import ShownCertificate
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.app.config import Config
    from fleetgw.app.config.vehicles import Allow
    from fleetgw.domain.records import PeerIdentity

_FILE_FIX = "name a file with the vehicle's certificate, in PEM or DER, and its intermediates if it shows any"
_IDENTITY_FIX = (
    "use a certificate of an issuer that identity.issuers of the configuration, or docs/certificates.md, names, with the"
    " VIN as its common name; add an authority of your own to identity.issuers"
)


@frozen
class Remark:
    """One thing about a certificate: the fact, and the remedy."""

    what: str
    fix: str


@frozen
class ClientCertificates:
    """The certificates that a client shows, its own first."""

    chain: Sequence[x509.Certificate]
    remarks: Sequence[Remark]


@frozen
class Judgement:
    """The gateway's answer to a certificate.

    :ivar identity: None where the identity rules give none.
    :ivar refusals: reasons to refuse it; none when it is accepted.
    :ivar remarks: other facts.
    """

    certificate: ShownCertificate
    identity: PeerIdentity | None
    refusals: Sequence[Remark]
    remarks: Sequence[Remark]


def read_client_certificates(file: Path) -> ClientCertificates:
    """Read the certificates of a client, in PEM or DER.

    :raises UnusableCertificateFile: it cannot be read, or has no certificate.
    """
    try:
        content = read_regular_file(file)
    except OSError as error:
        raise UnusableCertificateFile(file, f"cannot be read: {unreadable_reason(error)}", _FILE_FIX) from error
    if b"-----BEGIN" not in content:
        try:
            return ClientCertificates([_readable(x509.load_der_x509_certificate(content))], ())
        except Exception as error:  # exceptions of cryptography share no base class
            raise UnusableCertificateFile(file, "holds no certificate", _FILE_FIX) from error
    bundle = read_bundle(content)
    remarks = [Remark(str(block), "replace or remove it") for block in bundle.unreadable]
    has_key = b"PRIVATE KEY-----" in content
    if not bundle.certificates:
        what = ": ".join(["holds no readable certificate", *[remark.what for remark in remarks[:1]]])
        raise UnusableCertificateFile(file, "holds a private key, and no certificate" if has_key else what, _FILE_FIX)
    if has_key:
        remarks.append(Remark("the file also holds a private key, which nobody but the vehicle needs", "keep it elsewhere"))
    return ClientCertificates([*map(_readable, bundle.certificates)], remarks)


def _readable(certificate: x509.Certificate) -> x509.Certificate:
    shown(certificate)
    return certificate


def judge(certificates: ClientCertificates, config: Config | None, now: datetime) -> Judgement:
    """Judge the certificates of a client.

    :param config: None for the default issuers, and for trust in whoever has issued the certificate.
    :raises UnusableCertificateFile: ``tls.ca_file`` of the configuration cannot be used.
    """
    own, *further = certificates.chain
    refusals: list[Remark] = []
    remarks = [*certificates.remarks]
    if config is None:
        authorities = Bundle((certificates.chain[-1],), ())
        remarks.append(Remark("the authority was not checked", "give --config, whose tls.ca_file names the authorities"))
    else:
        authorities = read_authorities(config.tls.ca_file)
    failure = rehearse(certificates.chain, authorities, now)
    if failure is not None:
        refusals.append(Remark(failure.what, failure.fix))
    try:
        facts = facts_from_der(own.public_bytes(Encoding.DER))
        identity = identify(facts, DEFAULT_ISSUERS if config is None else issuers(config))
    except Unauthorized as error:
        identity = None
        refusals.append(Remark(str(error), _IDENTITY_FIX))
    if not further and _is_authority(own):
        remarks.append(Remark("the certificate is that of an authority", "name the file of the vehicle's own certificate"))
    if validity(own, now) is Validity.EXPIRES_SOON:
        remarks.append(Remark(f"it expires on {own.not_valid_after_utc:%Y-%m-%d}", "have it renewed"))
    return Judgement(shown(own), identity, refusals, remarks)


async def judge_by_list(judgement: Judgement, allow: Allow, reactor: IThreadedReactor) -> Judgement:
    """Judge by the allow list, too: reads its source once.

    :raises ConfigurationError: the client of the source is not installed.
    """
    if judgement.identity is None:
        return judgement
    allow_list = AllowList(allow.stale_s)
    try:
        allow_list.answered(await make_source(allow, reactor).read(), 0.0)
    except UnusableAllowList as error:
        allow_list.failed(str(error))
    match allow_list.decide(judgement.identity.device_id, 0.0):
        case Allowed():
            return judgement
        case NotListed():
            remark = Remark(Refusal.NOT_ALLOWED.what, Refusal.NOT_ALLOWED.fix)
        case NoList(reason):
            remark = Remark(reason, Refusal.NO_ALLOW_LIST.fix)
        case never:
            assert_never(never)
    return evolve(judgement, refusals=[*judgement.refusals, remark])


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except Exception:  # without the extension, or one that cannot be read; the exceptions share no base class
        return False
