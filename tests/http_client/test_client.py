"""The client against servers that answer anything: in memory, and over TLS with a server that never ends the connection."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.tcp import Client
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.http_headers import Headers
from zope.interface import implementer

from fleetgw.adapters.certificates.server_tls import ServerTls
from fleetgw.adapters.http_client import client
from fleetgw.adapters.http_client.client import REQUEST_TIMEOUT_S, HttpClient, HttpResponse, RequestFailed
from fleetgw.adapters.http_client.connection import MAX_HEAD_BYTES
from fleetgw.simulator.certificates import make_authority, make_server
from fleetgw.testing.real_reactor import the_reactor
from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocol
    from twisted.web.iweb import IResponse

MAX_BYTES = 1000
HEAD = b"HTTP/1.1 200 OK\r\n"


class Resolver:
    def resolveHostName(self, receiver: Any, *_: object, **__: object) -> None:
        receiver.resolutionBegan(None)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", 80))
        receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class ResolvingReactor(MemoryReactorClock):
    nameResolver = Resolver()

    def installNameResolver(self, resolver: Any) -> Any:
        raise NotImplementedError


class InMemoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = ResolvingReactor()
        self.client = HttpClient(self.reactor, ServerTls(), MAX_BYTES)

    def ask(self, body: bytes | None = None) -> Deferred[HttpResponse]:
        return self.client.request(b"POST", "http://fleet.example/vins", Headers({b"X-Name": [b"value"]}), body)

    def connect(self) -> IProtocol:
        factory = self.reactor.tcpClients[-1][2]
        protocol: IProtocol = factory.buildProtocol(None)
        self.transport = StringTransport()
        protocol.makeConnection(self.transport)
        return protocol

    def end(self, server: IProtocol) -> None:
        server.connectionLost(Failure(ConnectionDone()))

    def failure(self, asked: Deferred[HttpResponse]) -> str:
        return str(self.failureResultOf(asked, RequestFailed).value)

    def test_a_request_and_its_response(self) -> None:
        asked = self.ask(b"[1]")
        server = self.connect()
        request = self.transport.value()
        self.assertTrue(request.startswith(b"POST /vins HTTP/1.1\r\n"))
        self.assertIn(b"X-Name: value\r\n", request)
        self.assertTrue(request.endswith(b"\r\n\r\n[1]"))
        for each in (HEAD, b"ETag: 1\r\nContent-Length: 4\r\n\r\n", b"ab", b"cd"):
            self.assertNoResult(asked)
            server.dataReceived(each)
        response = self.successResultOf(asked)
        self.assertEqual((response.code, response.body, response.fault), (200, b"abcd", ""))
        self.assertEqual(response.headers.getRawHeaders(b"ETag"), [b"1"])
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_body_without_a_length_ends_with_the_connection(self) -> None:
        asked = self.ask()
        server = self.connect()
        server.dataReceived(HEAD + b"\r\n[]")
        self.end(server)
        response = self.successResultOf(asked)
        self.assertEqual((response.body, response.fault), (b"[]", ""))

    def test_a_body_that_is_broken_off(self) -> None:
        asked = self.ask()
        server = self.connect()
        server.dataReceived(HEAD + b"Content-Length: 10\r\n\r\n[")
        self.end(server)
        response = self.successResultOf(asked)
        self.assertEqual((response.code, response.body), (200, b"["))
        self.assertIn("broke off its answer", response.fault)

    def test_a_body_that_is_too_long(self) -> None:
        for head in (b"\r\n", b"Content-Length: 1000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nffffff\r\n"):
            with self.subTest(head):
                asked = self.ask()
                server = self.connect()
                server.dataReceived(HEAD + head)
                server.dataReceived(b"x" * MAX_BYTES)
                self.assertTrue(self.transport.disconnected)
                self.end(server)
                response = self.successResultOf(asked)
                self.assertEqual((response.code, response.fault), (200, f"sent more than {MAX_BYTES} bytes"))

    def test_headers_without_an_end(self) -> None:
        for line in (b"X-Header: value\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"X: " + b"y" * 10_000 + b"\r\n"):
            with self.subTest(line[:20]):
                asked = self.ask()
                server = self.connect()
                server.dataReceived(HEAD if line.startswith(b"X") else b"")
                for _ in range(MAX_HEAD_BYTES // len(line)):
                    server.dataReceived(line)
                self.assertNoResult(asked)
                server.dataReceived(line)
                self.assertTrue(self.transport.disconnected)
                self.end(server)
                self.assertEqual(self.failure(asked), f"sent more than {MAX_HEAD_BYTES} bytes")

    def test_no_http(self) -> None:
        asked = self.ask()
        server = self.connect()
        server.dataReceived(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.end(server)
        self.assertTrue(self.failure(asked))

    def test_no_connection(self) -> None:
        asked = self.ask()
        self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(ConnectError()))
        self.reactor.advance(1)
        self.assertIn("cannot be reached: An error occurred while connecting", self.failure(asked))

    def test_a_server_that_does_not_answer_or_not_to_the_end(self) -> None:
        for begun in (b"", HEAD, HEAD + b"Content-Length: 2\r\n\r\n["):
            with self.subTest(begun):
                asked = self.ask()
                self.connect().dataReceived(begun)
                self.reactor.advance(REQUEST_TIMEOUT_S)
                self.assertIn("no answer within 10 s", self.failure(asked))
                self.assertTrue(self.transport.disconnected)

    def test_a_server_that_does_not_take_the_connection(self) -> None:
        asked = self.ask()
        self.reactor.advance(REQUEST_TIMEOUT_S)
        self.assertIn("no answer within 10 s", self.failure(asked))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancelling(self) -> None:
        for begun in (b"", HEAD + b"Content-Length: 2\r\n\r\n["):
            with self.subTest(begun):
                asked = self.ask()
                self.connect().dataReceived(begun)
                asked.cancel()
                self.failureResultOf(asked, CancelledError)
                self.assertTrue(self.transport.disconnected)
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Hanging(Protocol):
    """Begins a body, and then neither goes on nor reads: the end of TLS is not answered."""

    def dataReceived(self, _data: bytes) -> None:
        self.transport.write(HEAD + b"Content-Length: 1000000\r\n\r\n[")
        self.transport.pauseProducing()
        self.factory.asked.callback(self.transport)


class OverTlsTests(TestCase):
    timeout = DEADLINE_S

    async def test_a_server_that_hangs_keeps_no_connection(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        now = datetime.now(UTC)
        authority = make_authority(now, 30)
        server, ca_file = make_server(authority, ["127.0.0.1"], now, 30), Path(folder.name, "ca.crt")
        ca_file.write_bytes(authority.certificate_pem())
        reactor: Any = the_reactor()
        hanging: Any = Factory.forProtocol(Hanging)
        hanging.asked = Deferred()
        options = CertificateOptions(privateKey=server.key, certificate=server.certificate)
        port = reactor.listenSSL(0, hanging, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        in_body, received = Deferred[None](), client._received

        def receive(response: IResponse) -> Any:
            reactor.callLater(0, in_body.callback, None)
            return received(response)

        self.patch(client, "_received", receive)
        self.patch(client, "REQUEST_TIMEOUT_S", DEADLINE_S)
        url = f"https://127.0.0.1:{port.getHost().port}/"
        asked = HttpClient(reactor, ServerTls(ca_file), 100_000).request(b"GET", url, Headers())
        transport = await hanging.asked
        self.addCleanup(transport.abortConnection)
        await in_body
        self.assertEqual(len(self.connections()), 1)
        asked.cancel()
        with self.assertRaises(CancelledError):
            await asked
        self.assertEqual(self.connections(), [])

    def connections(self) -> list[Client]:
        reactor: Any = the_reactor()
        return [each for each in reactor.getReaders() if isinstance(each, Client)]
