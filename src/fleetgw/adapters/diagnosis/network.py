"""Checks of a server's address, TLS and protocol. Every function blocks."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve
from cryptography import x509

from fleetgw.adapters.diagnosis.certificates import certificate_findings, issuer, subjects
from fleetgw.adapters.diagnosis.findings import good, will_not_work
from fleetgw.adapters.text.addresses import address
from fleetgw.domain.ports import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

T = TypeVar("T")

TIMEOUT_S = 3.0
"""Timeout of each step: a connection, a TLS handshake, a response."""

_QUESTION = b"PING\r\n\r\n"
"""Redis answers it; HTTP servers, TLS servers and AMQP brokers reply with an error of their own; others close."""

_GREETINGS = (
    (b"+PONG", "Redis"),
    (b"-NOAUTH", "Redis"),
    (b"-DENIED", "Redis"),
    (b"HTTP/", "an HTTP server"),
    (b"\x15\x03", "a TLS server"),
    (b"AMQP", "an AMQP broker"),
    (b"SSH-", "an SSH server"),
    (b"\xff\0\0\0\0\0\0\0", "a ZeroMQ socket"),
)


def check_reachable(host: str, port: int) -> Generator[Finding, None, bool]:
    """Resolve the name and connect; return whether both succeeded."""
    where = address(host, port)
    try:
        found = ", ".join(dict.fromkeys(str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
        yield will_not_work(
            f"{host} cannot be resolved: {_reason(error)}", "correct the host's name, or look at this machine's DNS"
        )
        return False
    try:
        socket.create_connection((host, port), TIMEOUT_S).close()
    except TimeoutError:
        yield will_not_work(f"{where} does not answer ({found})", "look at firewalls and routes between here and there")
        return False
    except ConnectionRefusedError:
        yield will_not_work(
            f"{where} refuses connections: nobody listens there", "start the server, or correct the address or port"
        )
        return False
    except OSError as error:
        yield will_not_work(f"{where} cannot be reached: {error.strerror or error}", "look at the network of this machine")
        return False
    yield good(f"{where} takes connections" + ("" if host in found else f" ({found})"))
    return True


def check_alternatives(
    places: Iterable[T], look: Callable[[T], Generator[Finding, None, bool]]
) -> Generator[Finding, None, list[T]]:
    """Check servers that can replace each other; return the usable ones.

    A problem of one server is only a warning when another server is usable.
    """
    usable: list[T] = []
    failed: list[Finding] = []
    for place in places:
        found: list[Finding] = []
        if _exhaust(look(place), found):
            usable.append(place)
            yield from found
        else:
            failed += found
    for finding in failed:
        replaceable = usable and finding.verdict is Verdict.WILL_NOT_WORK
        yield evolve(finding, verdict=Verdict.WORTH_A_LOOK) if replaceable else finding
    return usable


def _exhaust(findings: Generator[Finding, None, bool], found: list[Finding]) -> bool:
    while True:
        try:
            found.append(next(findings))
        except StopIteration as end:
            return bool(end.value)


def check_tls(host: str, port: int, context: ssl.SSLContext, server_name: str) -> Generator[Finding, None, bool]:
    """Try a TLS handshake and check the server's certificate; return whether the handshake succeeded."""
    where = address(host, port)
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_S) as raw,
            context.wrap_socket(raw, server_hostname=server_name) as connection,
        ):
            certificate, version = connection.getpeercert(binary_form=True), connection.version()
    except ssl.SSLCertVerificationError as error:
        yield will_not_work(
            f"{where}: its certificate is not accepted: {error.verify_message}{_shown_certificate(host, port)}",
            "name the authority that signed it as ca_file, use the host name that it was made for, or have it renewed",
        )
        return False
    except (OSError, ValueError) as error:
        yield will_not_work(f"{where}: no TLS there: {_reason(error)}", "turn TLS off for it, or name the port that has TLS")
        return False
    yield good(f"{where} speaks {version}")
    if certificate is not None:
        yield from certificate_findings([x509.load_der_x509_certificate(certificate)], f"{where}'s certificate")
    return True


def guess_server(host: str, port: int) -> str:
    """Guess the kind of server at a port that does not speak the expected protocol; returns a part of a sentence."""
    answer = b""
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            connection.settimeout(1)
            connection.sendall(_QUESTION)
            answer = connection.recv(64)
    except OSError:
        pass
    for start, name in _GREETINGS:
        if answer.startswith(start):
            return f"it looks like {name}"
    return f"it says {answer[:20]!r}" if answer else "it does not say what it is"


def _shown_certificate(host: str, port: int) -> str:
    """Description of a certificate that was not accepted; empty when it cannot be read."""
    try:
        pem = ssl.get_server_certificate((host, port), timeout=TIMEOUT_S)
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except (OSError, ValueError):
        return ""
    return (
        f" (it is for {subjects(certificate)}, from {issuer(certificate)}, until {certificate.not_valid_after_utc:%Y-%m-%d})"
    )


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
