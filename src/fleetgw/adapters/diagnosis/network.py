"""Can a server be reached, and is what answers there what it should be? Everything here blocks."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve
from cryptography import x509

from fleetgw.adapters.diagnosis.certificates import certificate_findings, issuer, subjects
from fleetgw.adapters.diagnosis.findings import good, will_not_work
from fleetgw.domain.ports import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

T = TypeVar("T")

TIMEOUT_S = 3.0
"""For each step: a connection, a TLS handshake, an answer."""

_SMALL_TALK = b"PING\r\n\r\n"
"""Redis answers it; HTTP servers, TLS servers and AMQP brokers complain in their own way; others close."""

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


def reach(host: str, port: int) -> Generator[Finding, None, bool]:
    """Resolve the name and connect; whether that worked."""
    where = address(host, port)
    try:
        found = ", ".join(dict.fromkeys(str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    except OSError as error:
        yield will_not_work(
            f"{host} cannot be resolved: {error.strerror or error}", "correct the host's name, or look at this machine's DNS"
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


def look_at_each(
    places: Iterable[T], look: Callable[[T], Generator[Finding, None, bool]]
) -> Generator[Finding, None, list[T]]:
    """Look at servers that stand in for each other; those that can be used.

    What is wrong with one is a problem only where no other can be used.
    """
    usable: list[T] = []
    wrong: list[Finding] = []
    for place in places:
        found: list[Finding] = []
        if _to_the_end(look(place), found):
            usable.append(place)
            yield from found
        else:
            wrong += found
    for finding in wrong:
        mended = usable and finding.verdict is Verdict.WILL_NOT_WORK
        yield evolve(finding, verdict=Verdict.WORTH_A_LOOK) if mended else finding
    return usable


def _to_the_end(findings: Generator[Finding, None, bool], found: list[Finding]) -> bool:
    while True:
        try:
            found.append(next(findings))
        except StopIteration as end:
            return bool(end.value)


def shake_hands(host: str, port: int, context: ssl.SSLContext, server_name: str) -> Generator[Finding, None, bool]:
    """Try TLS and look at the server's certificate; whether the handshake worked."""
    where = address(host, port)
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_S) as raw,
            context.wrap_socket(raw, server_hostname=server_name) as connection,
        ):
            certificate, version = connection.getpeercert(binary_form=True), connection.version()
    except ssl.SSLCertVerificationError as error:
        yield will_not_work(
            f"{where}: its certificate is not accepted: {error.verify_message}{_shown_anyway(host, port)}",
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


def who_answers(host: str, port: int) -> str:
    """A guess at what speaks at a port that does not speak what it should; a part of a sentence."""
    said = b""
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            connection.settimeout(1)
            connection.sendall(_SMALL_TALK)
            said = connection.recv(64)
    except OSError:
        pass
    for beginning, name in _GREETINGS:
        if said.startswith(beginning):
            return f"it looks like {name}"
    return f"it says {said[:20]!r}" if said else "it does not say what it is"


def address(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(text: str, default_port: int) -> tuple[str, int]:
    """Host and port of ``host:port``.

    :raises ValueError: the port is no number.
    """
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), default_port
    return host.strip("[]"), int(port)


def _shown_anyway(host: str, port: int) -> str:
    """Who a certificate that was not accepted is for, and who says so."""
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
