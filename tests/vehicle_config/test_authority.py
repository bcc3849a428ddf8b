"""The authorities that vehicles verify the gateway with, and the server at the public address."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.diagnosis import front
from fleetgw.adapters.diagnosis.front import front_findings
from fleetgw.app.vehicle_config.authority import MAX_AUTHORITIES, as_text, authorities_of, check_authority
from fleetgw.domain.ports import Verdict
from fleetgw.simulator.certificates import Credential, make_authority, make_server
from tests.support.client_certificates import intermediate_authority, root_authority
from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port

HOST = "telemetry.example.com"
NOW = datetime.now(UTC)
ROOT = root_authority("Root", timedelta(days=365))
MIDDLE = intermediate_authority(ROOT, "Middle")
SERVER = make_server(MIDDLE, [HOST], NOW, 20)
CHAIN = [SERVER.certificate, MIDDLE.certificate]


def found(text: object, host: str = HOST, now: datetime = NOW) -> list[str]:
    findings = check_authority(text, CHAIN, host, now)
    return [f"{each.verdict.name}: {each.what}; {each.fix}" for each in findings if each.verdict is not Verdict.GOOD]


class AuthorityTests(SynchronousTestCase):
    def only(self, text: object, host: str = HOST, now: datetime = NOW) -> str:
        (one,) = found(text, host, now)
        return one

    def test_the_issuers_without_our_own(self) -> None:
        self.assertEqual(authorities_of(CHAIN, [ROOT.certificate]), [MIDDLE.certificate, ROOT.certificate])
        self.assertEqual(authorities_of([SERVER.certificate], [ROOT.certificate, MIDDLE.certificate])[-1], ROOT.certificate)
        self.assertEqual(authorities_of(CHAIN, []), [MIDDLE.certificate])
        self.assertEqual(authorities_of([ROOT.certificate], []), [ROOT.certificate], "its own authority")

    def test_a_chain_that_verifies(self) -> None:
        self.assertEqual(found(as_text([ROOT.certificate])), [], "the gateway sends the one between")

    def test_a_chain_without_its_root(self) -> None:
        self.assertIn("no root", found(as_text([MIDDLE.certificate]))[-1])

    def test_another_authority(self) -> None:
        other = make_authority(NOW, 365, "Other")
        self.assertIn(
            "does not verify the gateway's certificate, which Middle issued", self.only(as_text([other.certificate]))
        )

    def test_expired(self) -> None:
        late = NOW + timedelta(days=400)
        expired = "".join(found(as_text([ROOT.certificate]), now=late))
        self.assertIn("WILL_NOT_WORK: ca: Root expired on", expired)
        self.assertIn(
            "WORTH_A_LOOK: ca: Root expires on", "".join(found(as_text([ROOT.certificate]), now=NOW + timedelta(days=330)))
        )
        self.assertIn("renew the certificate", "".join(found(as_text([ROOT.certificate]), now=NOW + timedelta(days=25))))

    def test_a_bundle_in_place_of_a_chain(self) -> None:
        others = [make_authority(NOW, 365, f"CA {number}").certificate for number in range(MAX_AUTHORITIES)]
        self.assertIn("too many for a vehicle", self.only(as_text([ROOT.certificate, *others])))

    def test_a_host_that_the_certificate_does_not_have(self) -> None:
        self.assertIn(
            f"other.example.com is not among the names of the gateway's certificate ({HOST})",
            self.only(as_text([ROOT.certificate]), "other.example.com"),
        )

    def test_our_own_certificate(self) -> None:
        self.assertIn("once that is renewed", "".join(found(as_text([SERVER.certificate, ROOT.certificate]))))

    def test_no_certificates(self) -> None:
        for text, named in (
            ("", "is missing"),
            (None, "is missing"),
            (7, "is missing"),
            ("certs/ca.crt", "holds no certificate"),
            ("\ud800", "holds no certificate"),
            ("\x00", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no certificate"),
        ):
            self.assertIn(named, found(text)[-1])


class OneClient:
    """A TLS server in a thread, for one client.

    :ivar port: on 127.0.0.1.
    """

    def __init__(self, own: Credential, context: SSL.Context | None = None, *, speaks: bool = True) -> None:
        context = context or SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(own.certificate)
        context.use_privatekey(own.key)
        self._context, self._speaks = context, speaks
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        with plain, contextlib.suppress(SSL.Error, OSError):
            if not self._speaks:
                plain.recv(1)
                plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            connection = SSL.Connection(self._context, plain)
            connection.set_accept_state()
            connection.do_handshake()
            plain.recv(1)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(DEADLINE_S)


def asking(names: Path | None = None) -> SSL.Context:
    """A context that asks for a certificate, and names the authorities of a file."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    if names is not None:
        context.load_client_ca(str(names).encode())
    return context


class FrontTests(SynchronousTestCase):
    def found(self, server: OneClient) -> list[tuple[Verdict, str]]:
        findings = list(front_findings(HOST, server.port, CHAIN, "127.0.0.1"))
        server.close()
        return [(each.verdict, each.what) for each in findings]

    def test_the_gateway(self) -> None:
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            context = asking()
            context.set_max_proto_version(version)
            ((verdict, what),) = self.found(OneClient(SERVER, context))
            self.assertEqual(
                (verdict, what.partition(": ")[2]),
                (Verdict.GOOD, "the gateway's certificate, and it asks for the vehicle's"),
            )

    def test_a_load_balancer_that_ends_tls(self) -> None:
        ((verdict, what),) = self.found(OneClient(SERVER))
        self.assertEqual(verdict, Verdict.WILL_NOT_WORK)
        self.assertIn("asks for no client certificate", what)

    def test_another_certificate(self) -> None:
        other = make_server(ROOT, ["lb.example.com"], NOW, 20)
        ((verdict, what),) = self.found(OneClient(other, asking()))
        self.assertEqual(verdict, Verdict.WILL_NOT_WORK)
        self.assertIn("another certificate, for lb.example.com, issued by Root", what)

    def test_a_long_list_of_accepted_authorities(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            names = Path(folder, "ca.pem")
            names.write_bytes(b"".join(make_authority(NOW, 9, f"One of many, {n}").certificate_pem() for n in range(60)))
            server = OneClient(SERVER, asking(names))
        self.assertIn("bytes of authorities", self.found(server)[-1][1])

    def test_nothing_and_no_tls(self) -> None:
        ((verdict, what),) = [(each.verdict, each.what) for each in front_findings(HOST, free_port(), CHAIN, "127.0.0.1")]
        self.assertEqual(verdict, Verdict.WORTH_A_LOOK)
        self.assertIn("cannot be reached from here", what)
        ((verdict, what),) = self.found(OneClient(SERVER, speaks=False))
        self.assertIn("no TLS", what)

    def test_a_server_that_says_nothing(self) -> None:
        self.patch(front, "TIMEOUT_S", 1.0)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            (finding,) = front_findings(HOST, port, CHAIN, "127.0.0.1")
        self.assertIn("no answer within 1 s", finding.what)
