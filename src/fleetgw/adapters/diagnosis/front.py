"""Checks the server at the public address: the gateway itself, or a load balancer that ends TLS before it."""

from __future__ import annotations

import socket
import warnings
from typing import TYPE_CHECKING

from attrs import frozen
from OpenSSL import SSL

from fleetgw.adapters.certificates.openssl_reasons import openssl_text
from fleetgw.adapters.diagnosis.certificates import issuer, subjects
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.text.addresses import address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography import x509

    from fleetgw.domain.ports import Finding

TIMEOUT_S = 5.0

MAX_NAMES_BYTES = 4_096
"""Longest list of authorities that a server may name as it asks for a certificate; vehicles do not answer a longer one."""


@frozen
class Front:
    """The server at an address, as a client without a certificate sees it.

    :ivar chain: the certificates that it shows, its own first.
    :ivar asks_for_certificate: whether it asks clients for one.
    :ivar names_bytes: length of the list of authorities that it asks for.
    """

    chain: Sequence[x509.Certificate]
    asks_for_certificate: bool
    names_bytes: int


class NoFront(Exception):
    """Nothing answers with TLS. ``str()`` is the reason."""


def look(host: str, port: int, connect_to: str = "") -> Front:
    """Connect as a vehicle would, without a certificate. Blocks, at most some times ``TIMEOUT_S``.

    :param connect_to: a host name or address in place of ``host``, which the server is told all the same.
    :raises NoFront: there is no connection, or no TLS.
    """
    asked = False

    def note(connection: SSL.Connection, _where: int, _result: int) -> None:
        nonlocal asked
        asked = asked or b"certificate request" in connection.get_state_string()

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_info_callback(note)
    try:
        with socket.create_connection((connect_to or host, port), TIMEOUT_S) as plain:
            connection = SSL.Connection(context, plain)
            connection.set_tlsext_host_name(host.encode("idna"))
            connection.set_connect_state()
            plain.settimeout(None)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(TIMEOUT_S))
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(TIMEOUT_S))
            connection.do_handshake()
            chain = connection.get_peer_cert_chain(as_cryptography=True) or []
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of the class of the names
                names = connection.get_client_ca_list()
    except SSL.WantReadError as error:
        raise NoFront(f"no answer within {TIMEOUT_S:.0f} s") from error
    except SSL.Error as error:
        raise NoFront(f"no TLS: {openssl_text(error)}") from error
    except (OSError, UnicodeError) as error:
        raise NoFront(str(error) or type(error).__name__) from error
    return Front(chain, asked, sum(len(name.der()) for name in names))


def front_findings(host: str, port: int, chain: Sequence[x509.Certificate], connect_to: str = "") -> Iterator[Finding]:
    """Findings on the server at the public address.

    :param chain: of ``tls.server_cert``, the own certificate first.
    """
    where = address(host, port)
    try:
        front = look(host, port, connect_to)
    except NoFront as error:
        what = f"{where}: cannot be reached from here: {error}"
        yield worth_a_look(what, "see whether vehicles can: the name's address, a firewall, the forwarding of the port")
        return
    shown = front.chain[0] if front.chain else None
    if shown is None or not front.asks_for_certificate:
        yield will_not_work(
            f"{where}: the server there asks for no client certificate: a load balancer or a proxy ends TLS",
            "have it pass TCP through (such as an AWS Network Load Balancer with a TCP listener)",
        )
    elif shown != chain[0]:
        yield will_not_work(
            f"{where}: the server there shows another certificate, for {subjects(shown)}, issued by {issuer(shown)}",
            "see whether a load balancer ends TLS, or another program has the port; after a renewal, reload the gateway",
        )
    else:
        yield good(f"{where}: the gateway's certificate, and it asks for the vehicle's")
    if front.names_bytes > MAX_NAMES_BYTES:
        what = f"{where}: the server there names {front.names_bytes:,} bytes of authorities that it accepts"
        yield will_not_work(what, "shorten the list, or have it name none: vehicles answer such a list with no certificate")


def _timeval(seconds: float) -> bytes:
    return int(seconds).to_bytes(8, "little") + (0).to_bytes(8, "little")
