"""The Airbrake reporter: rate, backoff and timeouts with a scripted client, and requests to a server over TLS."""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface.verify import verifyObject

from fleetgw.adapters.certificates.server_tls import ServerTls
from fleetgw.adapters.errors import airbrake
from fleetgw.adapters.errors.airbrake import STOP_TIMEOUT_S, AirbrakeReporter
from fleetgw.adapters.errors.airbrake_client import MAX_RESPONSE_BYTES, AirbrakeProject
from fleetgw.adapters.errors.null import NullReporter
from fleetgw.adapters.errors.queue import CAPACITY
from fleetgw.adapters.http_client import client as http_client
from fleetgw.adapters.http_client.client import HttpClient, HttpResponse, RequestFailed
from fleetgw.adapters.logs.reporting import ReportingLog
from fleetgw.adapters.secrets.secret import Secret, SecretFile
from fleetgw.domain.ports import IErrorReporter, ILog
from fleetgw.simulator.certificates import make_authority, make_server, make_vehicle
from fleetgw.testing.real_reactor import the_reactor
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor
from tests.support.client_certificates import intermediate_authority, root_authority
from tests.support.deadline import DEADLINE_S
from tests.support.log_contract import LogContract

PROJECT = AirbrakeProject("https://errors.example/", 7, Secret("the-key"), "staging")


class ScriptedClient:
    """Answers with the code that a test sets.

    :ivar code: of the answer; None refuses the connection, 0 never answers.
    :ivar requests: the parameters of each notice: its event and its count.
    """

    def __init__(self) -> None:
        self.code: int | None = 201
        self.requests: list[tuple[str, int]] = []
        self.asked: list[tuple[bytes, str, Headers]] = []
        self.bodies: list[Any] = []

    def request(self, method: bytes, url: str, headers: Headers, body: bytes | None = None) -> Deferred[HttpResponse]:
        self.asked.append((method, url, headers))
        notice = json.loads(body or b"")
        self.bodies.append(notice)
        self.requests.append((notice["errors"][0]["message"], notice["params"]["count"]))
        if self.code is None:
            return fail(RequestFailed("cannot be reached"))
        return succeed(HttpResponse(self.code, Headers(), b"", "broke off")) if self.code else Deferred()


class PaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client: Any = ScriptedClient()
        self.clock, self.log = ThreadlessReactor(), ReadableLog()
        self.reporter = AirbrakeReporter(PROJECT, self.client, self.clock, self.log)
        self.successResultOf(self.reporter.start())

    def report(self, event: str = "e", **fields: object) -> None:
        self.reporter.report(event, fields)
        self.clock.advance(0)

    def test_both_adapters_provide_the_port(self) -> None:
        verifyObject(IErrorReporter, self.reporter)
        verifyObject(IErrorReporter, NullReporter())

    def test_the_first_error_is_reported_at_once(self) -> None:
        self.report("kafka_err", error="why")
        ((method, uri, headers),) = self.client.asked
        self.assertEqual((method, uri), (b"POST", "https://errors.example/api/v3/projects/7/notices"))
        self.assertEqual(headers.getRawHeaders(b"Authorization"), [b"Bearer the-key"])
        self.assertEqual(headers.getRawHeaders(b"Content-Type"), [b"application/json"])
        self.assertEqual(self.client.bodies[0]["params"]["error"], "why")

    def test_like_errors_are_at_most_one_notice_a_second_with_their_number(self) -> None:
        for _ in range(30):
            for _ in range(10):
                self.report()
            self.clock.advance(0.1)
        self.clock.advance(2)
        self.assertLessEqual(len(self.client.requests), 5)
        self.assertEqual(sum(count for _, count in self.client.requests), 300)

    def test_unlike_errors_do_not_wait_for_each_other(self) -> None:
        self.reporter.report("a", {})
        self.reporter.report("b", {"kind": "x"})
        self.reporter.report("b", {"kind": "y"})
        self.clock.advance(0)
        self.assertEqual(self.client.requests, [("a", 1), ("b", 1), ("b", 1)])

    def test_a_server_that_is_away_is_logged_once_and_gets_the_errors_later(self) -> None:
        self.client.code = None
        for _ in range(100):
            self.report()
            self.clock.advance(0.1)
        self.assertEqual(len(self.log.fields_of("airbrake_err")), 1)
        self.assertLess(len(self.client.requests), 10, "attempts become rarer")
        self.client.code, self.client.requests = 201, []
        self.clock.pump([1] * 60)
        self.assertEqual(self.client.requests, [("e", 100)])
        self.client.code, self.client.requests = None, []
        self.report()
        self.client.code = 201
        self.clock.advance(2)
        self.assertEqual(self.client.requests, [("e", 1)] * 2, "the backoff has started over")

    def test_a_notice_that_a_busy_server_rejects_is_retried(self) -> None:
        for code in (429, 503):
            self.client.code, self.client.requests = code, []
            self.report()
            self.client.code = 201
            self.clock.pump([1] * 60)
            self.assertEqual([count for _, count in self.client.requests], [1, 1], code)

    def test_a_notice_that_the_server_refuses_is_not_sent_again(self) -> None:
        self.client.code = 401
        self.reporter.report("a", {})
        self.reporter.report("b", {})
        self.clock.advance(0)
        self.client.code = 201
        self.clock.pump([1] * 60)
        self.assertEqual(self.client.requests, [("a", 1), ("b", 1)])
        (said,) = self.log.fields_of("airbrake_err")
        self.assertIn("answered 401", str(said["error"]))

    def test_dropped_errors_are_logged_when_the_server_accepts_the_others(self) -> None:
        for number in range(CAPACITY + 3):
            self.reporter.report(f"e{number}", {})
        self.clock.advance(0)
        self.assertEqual(len(self.client.requests), CAPACITY)
        self.assertEqual(self.log.fields_of("airbrake_err"), [{"error": "the queue was full", "dropped_errors": 3}])

    def test_the_queue_holds_no_payload_and_no_long_text(self) -> None:
        self.client.code = None
        payload, text = "p" * 1_000_000, "t" * 1_000_000
        self.report(payload_base64=payload, error=text)
        self.report(payload_base64=payload, error=text)
        (queued,) = self.reporter._queue.take_all()
        self.assertEqual(queued.fields.keys(), {"error"})
        self.assertLess(len(str(queued.fields["error"])), 10_000)

    def test_stopping_sends_the_last_errors(self) -> None:
        self.report("a")
        self.report("b")
        self.successResultOf(self.reporter.stop())
        self.assertEqual(self.client.requests, [("a", 1), ("b", 1)])
        self.report("c")
        self.assertEqual(len(self.client.requests), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_waits_for_a_slow_server_in_bounds(self) -> None:
        self.client.code = 0
        self.report("a")
        stopped = self.reporter.stop()
        self.assertNoResult(stopped)
        self.clock.advance(STOP_TIMEOUT_S)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_key_in_a_file_may_be_replaced(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "key")
            file.write_text("old\n")
            project = AirbrakeProject("", 7, SecretFile.read(file), "")
            reporter = AirbrakeReporter(project, self.client, self.clock, self.log)
            reporter.start()
            file.write_text("new\n")
            reporter.report("e", {})
            self.clock.advance(0)
        ((_, uri, headers),) = self.client.asked
        self.assertEqual(headers.getRawHeaders(b"Authorization"), [b"Bearer new"])
        self.assertEqual(uri, "https://api.airbrake.io/api/v3/projects/7/notices")
        self.successResultOf(reporter.stop())


class ReportingLogTests(LogContract, SynchronousTestCase):
    def make_log(self) -> ILog:
        return ReportingLog(ReadableLog(), NullReporter())

    make_broken_log = make_log

    def test_errors_alone_are_reported_and_everything_is_written(self) -> None:
        reported: list[tuple[str, object]] = []
        reporter = NullReporter()
        self.patch(reporter, "report", lambda event, fields: reported.append((event, fields)))
        written = ReadableLog()
        log = ReportingLog(written, reporter)
        for method in (log.debug, log.info, log.warn, log.error):
            method("e", number=1)
        self.assertEqual(reported, [("e", {"number": 1})])
        self.assertEqual([level for level, _, _ in written.entries], ["debug", "info", "warn", "error"])


class Receiver(Resource):
    """An Airbrake server.

    :ivar notices: its sender (the common name of the certificate), its path, its headers and its body.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.notices: list[tuple[str, str, str | None, Any]] = []

    def render_POST(self, request: Request) -> bytes:
        certificate = request.transport.getHandle().get_peer_certificate(as_cryptography=True)
        peer = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        body = json.loads(request.content.read())
        self.notices.append((peer, request.path.decode(), request.getHeader("authorization"), body))
        request.setResponseCode(201)
        return b'{"id":"1","url":""}'


class OverTlsTests(TestCase):
    timeout = DEADLINE_S

    def setUp(self) -> None:
        self.patch(airbrake, "STOP_TIMEOUT_S", DEADLINE_S)
        self.patch(http_client, "REQUEST_TIMEOUT_S", DEADLINE_S)
        now = datetime.now(UTC)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.authority = authority = root_authority("root")
        server, client = make_server(authority, ["127.0.0.1"], now, 30), make_vehicle(authority, "GATEWAY", now, 30)
        for name, content in {
            "ca.crt": authority.certificate_pem(),
            "client.crt": client.certificate_pem(),
            "client.key": client.key_pem(),
            "other-ca.crt": make_authority(now, 30, "other").certificate_pem(),
        }.items():
            (self.folder / name).write_bytes(content)
        trusted = trustRootFromCertificates([Certificate.loadPEM(authority.certificate_pem())])
        options = CertificateOptions(
            privateKey=server.key,
            certificate=server.certificate,
            trustRoot=trusted,  # type: ignore[arg-type]
        )
        self.receiver, self.log = Receiver(), ReadableLog()
        reactor: Any = the_reactor()
        self.port = reactor.listenSSL(0, Site(self.receiver), options, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    def reporter(self, ca_file: str) -> AirbrakeReporter:
        reactor: Any = the_reactor()
        tls = ServerTls(self.folder / ca_file, self.folder / "client.crt", self.folder / "client.key")
        project = AirbrakeProject(f"https://127.0.0.1:{self.port.getHost().port}", 7, Secret("the-key"), "staging")
        return AirbrakeReporter(project, HttpClient(reactor, tls, MAX_RESPONSE_BYTES), reactor, self.log)

    def test_a_notice_arrives_from_our_certificate(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._a_notice_arrives())

    def test_intermediates_behind_our_certificate_are_shown(self) -> Deferred[None]:
        intermediate = intermediate_authority(self.authority, "issues certificates of gateways")
        client = make_vehicle(intermediate, "GATEWAY", datetime.now(UTC), 30)
        (self.folder / "client.crt").write_bytes(client.certificate_pem() + intermediate.certificate_pem())
        (self.folder / "client.key").write_bytes(client.key_pem())
        return Deferred.fromCoroutine(self._a_notice_arrives())

    async def _a_notice_arrives(self) -> None:
        reporter = self.reporter("ca.crt")
        reporter.report("kafka_err", {"error": "why"})
        await reporter.start()
        await reporter.stop()
        ((peer, path, authorization, body),) = self.receiver.notices
        self.assertEqual((peer, path), ("GATEWAY", "/api/v3/projects/7/notices"))
        self.assertEqual(authorization, "Bearer the-key")
        self.assertEqual(body["errors"][0]["message"], "kafka_err")
        self.assertEqual(self.log.entries, [])

    def test_an_unusable_file_is_logged_with_its_name(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._a_file_that_cannot_be_used())

    async def _a_file_that_cannot_be_used(self) -> None:
        reporter = self.reporter("client.key")
        reporter.report("kafka_err", {"error": "why"})
        await reporter.start()
        await reporter.stop()
        self.assertIn("client.key holds a private key, no certificate", str(self.log.fields_of("airbrake_err")[0]["error"]))

    def test_a_server_of_another_authority_gets_nothing(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._a_server_of_another_authority())

    async def _a_server_of_another_authority(self) -> None:
        reporter = self.reporter("other-ca.crt")
        reporter.report("kafka_err", {"error": "why"})
        await reporter.start()
        await reporter.stop()
        self.assertEqual(self.receiver.notices, [])
        self.assertIn("certificate verify failed", str(self.log.fields_of("airbrake_err")[0]["error"]))
