"""Failed TLS handshakes in words: the cause, and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from fleetgw.adapters.certificates.openssl_reasons import openssl_text
from fleetgw.adapters.ingress.certificate import ShownCertificate, shown_date
from fleetgw.adapters.ingress.openssl_library import ffi as _ffi
from fleetgw.adapters.ingress.openssl_library import lib as _lib

if TYPE_CHECKING:
    from fleetgw.adapters.ingress.tls_context import VehicleTls

_CLOCK_FIX = "where that date is right, have the certificate renewed; where it is not past, set this machine's clock"
_BALANCER_FIX = "a load balancer in front must pass TCP through and not end TLS"
_OUR_CHAIN_FIX = (
    'have "ca" of the fleet_telemetry_config hold the authorities that have issued tls.server_cert, and tls.server_cert its'
    " whole chain, for the host name that the vehicle connects to"
)


@frozen
class _Cause:
    """One cause of failure.

    :ivar part: the part of OpenSSL's text that tells it.
    :ivar reason: the label of the metric.
    :ivar what: in words; ``{subject}``, ``{issuer}``, ``{begins}`` and ``{ends}`` are those of the refused certificate.
    """

    part: str
    reason: str
    what: str
    fix: str


_CAUSES = tuple(
    _Cause(part, reason or part, what, fix)
    for part, reason, what, fix in (
        ("certificate has expired", "", "the certificate of {subject} expired on {ends}", _CLOCK_FIX),
        (
            "certificate is not yet valid",
            "",
            "the certificate of {subject} is not valid before {begins}",
            "set this machine's clock, or wait until then",
        ),
        ("certificate revoked", "", "the certificate of {subject} is revoked", "use another certificate"),
        (
            "unable to get local issuer certificate",
            "",
            "tls.ca_file has no authority {issuer}, which has issued the certificate of {subject}",
            "add its certificate to tls.ca_file; fleetgw fetch-ca gets the authorities of vehicles on the road, with --eng"
            " those of engineering vehicles",
        ),
        (
            "self-signed certificate",
            "certificate verify failed",
            "the certificate of {subject} is signed by itself, and is not in tls.ca_file",
            "use a certificate of an authority in tls.ca_file; fleetgw fetch-ca gets the authorities of vehicles",
        ),
        (
            "certificate signature failure",
            "certificate verify failed",
            "the certificate of {subject} is signed by another authority than the {issuer} in tls.ca_file",
            "put the authority that has signed it into tls.ca_file; fleetgw fetch-ca gets the present ones of vehicles",
        ),
        (
            "unsuitable certificate purpose",
            "",
            "the certificate of {subject}, issued by {issuer}, is not for clients",
            "use a certificate whose extended key usage has clientAuth (1.3.6.1.5.5.7.3.2)",
        ),
        (
            "certificate verify failed",
            "",
            "the certificate of {subject}, issued by {issuer}, is refused",
            "fleetgw explain-cert FILE tells more about a certificate",
        ),
        (
            "http request",
            "",
            "plain HTTP came to the port for TLS",
            f"use wss:// or https://; {_BALANCER_FIX}; health probes ask status_port",
        ),
        (
            "no application protocol",
            "",
            "the client does not offer http/1.1 (ALPN)",
            f"have it offer http/1.1, or nothing; {_BALANCER_FIX}",
        ),
        (
            "no shared cipher",
            "",
            "client and gateway have no cipher in common",
            "have the client offer a cipher of TLS 1.3, or ECDHE with AES-GCM; tls.server_cert must have a key of a kind"
            " that it knows, such as EC P-256",
        ),
        (
            "peer did not return a certificate",
            "",
            "the client has no certificate",
            f"vehicles have one, browsers and health probes have none: probe TCP alone, or status_port; {_BALANCER_FIX}:"
            " it cannot show the vehicle's certificate",
        ),
        ("unsupported protocol", "", "the client speaks no version from TLS 1.2 on", "have it speak TLS 1.2 or TLS 1.3"),
        (
            "wrong version number",
            "",
            "the first bytes are not TLS",
            f"have the client speak TLS; {_BALANCER_FIX}, without the PROXY protocol",
        ),
        (
            "alert unknown ca",
            "",
            "the client does not know the authority that has issued the gateway's certificate",
            _OUR_CHAIN_FIX,
        ),
        ("alert bad certificate", "", "the client refuses the gateway's certificate", _OUR_CHAIN_FIX),
        ("alert certificate unknown", "", "the client refuses the gateway's certificate", _OUR_CHAIN_FIX),
        (
            "alert certificate expired",
            "",
            "the client says that the gateway's certificate has expired",
            "renew tls.server_cert; the gateway reads it again within a minute, or on SIGHUP",
        ),
    )
)

_UNKNOWN = _Cause("", "other", "the bytes are no correct TLS", "see the error; fleetgw trace --ip shows the conversation")

_PROXY_PROTOCOL = (b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n")
OPENING_BYTES = 12
"""Number of first bytes of a connection that tell the PROXY protocol, of either version."""

HANDSHAKE_REASONS = tuple(dict.fromkeys(cause.reason for cause in _CAUSES))
"""Label values of failed handshakes; of all others it is ``other``."""


@frozen
class HandshakeFailure:
    """A handshake that has failed.

    :ivar reason: the metric's label.
    :ivar error: OpenSSL's text.
    :ivar what: the cause, in words.
    :ivar fix: the remedy.
    :ivar certificate: the client's certificate that was refused, or an authority of its chain; None where none was.
    """

    reason: str
    error: str
    what: str
    fix: str
    certificate: ShownCertificate | None

    @property
    def claimed_id(self) -> str:
        """The device id that the refused certificate names, which need not be true; empty where there is none."""
        certificate = self.certificate
        return certificate.subject.replace(".", "-") if certificate is not None and not certificate.depth else ""


def explain(error: str, certificate: ShownCertificate | None, opening: bytes) -> HandshakeFailure:
    """Explain a failed handshake.

    :param error: OpenSSL's text.
    :param certificate: the certificate that was refused.
    :param opening: the first bytes of the connection.
    """
    cause = next((known for known in _CAUSES if known.part in error), _UNKNOWN)
    what, fix = cause.what, cause.fix
    of = certificate or ShownCertificate("", "", None, None)
    subject = f'"{of.subject}"' if of.depth == 0 else f'"{of.subject}", an authority of the client\'s chain,'
    begins, ends = shown_date(of.not_before), shown_date(of.not_after)
    what = what.format(subject=subject, issuer=f'"{of.issuer}"', begins=begins, ends=ends)
    if opening.startswith(_PROXY_PROTOCOL):
        what, fix = "a header of the PROXY protocol came before TLS", "turn the PROXY protocol off at the load balancer"
    return HandshakeFailure(cause.reason, error, what, fix, certificate)


def explain_error(error: BaseException | None, connection: VehicleTls | None, opening: bytes = b"") -> HandshakeFailure:
    """Explain an error that has ended a handshake.

    :param error: pyOpenSSL's, with OpenSSL's errors.
    :param connection: None when it is gone.
    :param opening: as for ``explain``.
    """
    pointer: Any = connection
    result = _lib.SSL_get_verify_result(pointer._ssl) if connection is not None else 0
    problem = _ffi.string(_lib.X509_verify_cert_error_string(result)).decode() if result else ""
    text = openssl_text(error) + (f": {problem}" if problem else "")
    return explain(text, connection.refused_certificate if connection is not None else None, opening)
