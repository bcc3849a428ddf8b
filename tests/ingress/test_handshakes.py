"""Metrics of handshakes: their duration, and sessions that clients offer to resume, as OpenSSL's own clients do."""

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.ingress.client_hello import HelloReader, NoClientHello
from tests.support.client_certificates import client_certificate, root_authority
from tests.support.connected_tls import SERVER, move
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.raw_vehicle import RawClientTls


def offers_resumption(data: bytes) -> bool | None:
    """Whether a client offers to resume a session; None while more bytes are needed, False for no ClientHello."""
    try:
        hello = HelloReader().read(data)
    except NoClientHello:
        return False
    return None if hello is None else hello.offers_resumption


class Client:
    """A client of OpenSSL, with the session of an earlier handshake where it is given."""

    def __init__(self, version: int, *, has_tickets: bool = True) -> None:
        self.to_client, self.to_server = SSL.Context(SSL.TLS_METHOD), SSL.Context(SSL.TLS_METHOD)
        self.to_server.use_certificate(SERVER.certificate)
        self.to_server.use_privatekey(SERVER.key)
        self.to_server.set_session_id(b"tests")
        for context in (self.to_client, self.to_server):
            context.set_min_proto_version(version)
            context.set_max_proto_version(version)
            if not has_tickets:
                context.set_options(SSL.OP_NO_TICKET)

    def session(self) -> SSL.Session:
        """The session of a whole handshake."""
        client, server = SSL.Connection(self.to_client, None), SSL.Connection(self.to_server, None)
        client.set_connect_state()
        server.set_accept_state()
        for _ in range(3):
            for end, other in ((client, server), (server, client)):
                with contextlib.suppress(SSL.WantReadError):
                    end.do_handshake()
                move(end, other)
        with contextlib.suppress(SSL.WantReadError):
            client.recv(1)  # TLS 1.3 brings its tickets after the handshake
        session = client.get_session()
        assert session is not None
        client.set_shutdown(SSL.SENT_SHUTDOWN)  # OpenSSL forgets the session of a connection that was not shut down
        return session

    def hello(self, session: SSL.Session | None = None) -> bytes:
        """The first bytes of a client."""
        client = SSL.Connection(self.to_client, None)
        client.set_connect_state()
        if session is not None:
            client.set_session(session)
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        return client.bio_read(65536)


class ClientHelloTests(SynchronousTestCase):
    def test_clients_that_know_a_session_and_clients_that_do_not(self) -> None:
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            for has_tickets in (True, False):
                with self.subTest(version=version, has_tickets=has_tickets):
                    client = Client(version, has_tickets=has_tickets)
                    self.assertIs(offers_resumption(client.hello()), False)
                    self.assertIs(offers_resumption(client.hello(client.session())), True)

    def test_a_hello_in_parts_is_read_once_it_is_whole(self) -> None:
        client = Client(SSL.TLS1_3_VERSION)
        hello = client.hello(client.session())
        for size in range(len(hello)):
            self.assertIsNone(offers_resumption(hello[:size]))
        self.assertIs(offers_resumption(hello + b"more"), True)

    @given(st.binary(max_size=300), st.integers(0, 300))
    @example(b"\x16\x03\x01\x00\x00", 0)
    @example(b"\x16\x03\x01\x00\x01\x01", 0)
    def test_any_bytes_are_answered(self, data: bytes, cut: int) -> None:
        self.assertIn(offers_resumption(data), (None, True, False))
        hello = Client(SSL.TLS1_2_VERSION).hello()
        changed = hello[:5] + data + hello[5 + cut :]
        self.assertIn(offers_resumption(changed), (None, True, False))

    def test_extensions_of_a_stranger_are_bounded(self) -> None:
        numbered = b"".join(number.to_bytes(2) + b"\0\0" for number in range(1000, 4900))
        body = bytes(34) + b"\0\0\2\0\0\1\0" + (len(numbered) + 4).to_bytes(2) + numbered + b"\0\x29\0\0"
        message = b"\1" + len(body).to_bytes(3) + body
        self.assertIs(offers_resumption(b"\x16\3\1" + len(message).to_bytes(2) + message), False)


class HandshakeMetricsTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.authority = root_authority("TeslaMotors")
        self.start(authority=self.authority)

    def handshakes(self) -> tuple[int, float]:
        """Number and duration of all handshakes."""
        (family,) = (each for each in self.gateway.parts.metrics.snapshot() if each.metric.name == "tls_handshake_seconds")
        return family.distributions[()].count, family.distributions[()].sum

    def test_the_duration_of_a_handshake(self) -> None:
        vehicle = self.gateway.connect(RawClientTls(client_certificate(self.authority, VIN)))
        self.assertEqual(self.handshakes(), (0, 0))
        vehicle.link.turn()
        self.gateway.clock.advance(0.7)
        self.assertEqual(vehicle.upgrade()[:12], b"HTTP/1.1 101")
        count, duration_s = self.handshakes()
        self.assertEqual((count, round(duration_s, 6)), (1, 0.7))
        vehicle.close()
        self.assertEqual(self.gateway.counted("tls_resumptions_offered_total"), 0)

    def test_a_refused_handshake_has_no_duration(self) -> None:
        vehicle = self.gateway.connect(RawClientTls(None))
        vehicle.link.pump()
        self.assertIsNotNone(vehicle.lost)
        self.assertEqual(self.handshakes(), (0, 0))

    def test_an_offered_resumption_is_counted_also_when_it_comes_in_parts(self) -> None:
        client = Client(SSL.TLS1_3_VERSION)
        hello = client.hello(client.session())
        for parts in ([hello], [hello[:20], hello[20:]], [hello[:1], hello[1:300], hello[300:]]):
            before = self.gateway.counted("tls_resumptions_offered_total")
            vehicle = self.gateway.connect(None)
            for part in parts:
                vehicle.send(part)
            self.assertEqual(self.gateway.counted("tls_resumptions_offered_total"), before + 1)
            vehicle.link.pump()
