"""The status port and the metrics port, in memory."""

import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from fleetgw.adapters.listening.refusals import Refusals
from fleetgw.adapters.metrics.prometheus import PrometheusExporter
from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.adapters.monitoring.client_faults import ClientFaults
from fleetgw.adapters.monitoring.metrics_site import make_metrics_site
from fleetgw.adapters.monitoring.site import MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, PageSite
from fleetgw.app.config.sections import Config
from fleetgw.app.operations.api import GatewayViews, operator_routes
from fleetgw.domain.health import Phase
from fleetgw.domain.metrics import NUM_CONNECTIONS
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.metrics_contract import COUNTED

CASES = [
    case
    for case in json.loads((Path(__file__).resolve().parents[1] / "vectors" / "stream.json").read_text())["cases"]
    if case["name"].startswith(("status port: ", "metrics port: "))
]


def refusals(listener: str = "status", metrics: ReadableMetrics | None = None) -> Refusals:
    return Refusals(listener, metrics or ReadableMetrics(), ReadableLog(), Clock().seconds)


def faults(listener: str = "status", metrics: ReadableMetrics | None = None) -> ClientFaults:
    return ClientFaults(listener, metrics or ReadableMetrics(), ReadableLog(), Clock().seconds)


def status_site(
    clock: Clock, phase: Callable[[], Phase] = lambda: Phase.SERVING, metrics: ReadableMetrics | None = None
) -> PageSite:
    health = mock.Mock()
    type(health).phase = mock.PropertyMock(side_effect=phase)
    views = GatewayViews(
        health,
        lambda: b"",
        lambda: Config(port=0, tls=None, records={}),
        log_lines=mock.Mock(),
        profiler=mock.Mock(),
        traces=mock.Mock(),
        observed=mock.Mock(),
    )
    return PageSite(operator_routes(views), clock, refusals(metrics=metrics), faults(metrics=metrics))


def metrics_site(exposition: Callable[[], bytes]) -> Site:
    return make_metrics_site(exposition, Clock(), refusals("metrics"), faults("metrics"))


class Connection:
    """One connection to a site."""

    def __init__(self, site: Site) -> None:
        site.startFactory()
        self.protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.transport = StringTransport()
        self.transport.abortConnection = self.transport.loseConnection
        self.protocol.makeConnection(self.transport)

    def ask(self, request: str) -> tuple[str, dict[str, str], bytes]:
        """Status line, headers, body."""
        self.transport.clear()
        self.protocol.dataReceived(request.encode())
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        status_line, *headers = head.decode().split("\r\n")
        return status_line, dict(header.split(": ", 1) for header in headers), body


class GoServerVectorTests(SynchronousTestCase):
    def test_answers(self) -> None:
        sites = {
            "status port": status_site(Clock()),
            "metrics port": metrics_site(lambda: b""),
        }
        for case in CASES:
            with self.subTest(case["name"]):
                connection = Connection(sites[case["plain_tcp_to"]])
                step, expected = case["steps"]
                status_line, headers, body = connection.ask(step["send_http"])
                expected = expected["recv_http"]
                self.assertEqual(status_line, expected["status_line"])
                self.assertEqual(body, expected["body"].encode())
                headers["Date"] = "<date>"
                self.assertEqual(headers, dict(expected["headers"]) | {"Server": "fleetgw"})
                self.assertFalse(connection.transport.disconnecting)
        self.assertEqual(len(CASES), 7)


class StatusSiteTests(SynchronousTestCase):
    def test_unavailable_once_the_gateway_stops(self) -> None:
        phase = Phase.STARTING
        connection = Connection(status_site(Clock(), lambda: phase))
        self.assertEqual(connection.ask("GET /status HTTP/1.1\r\n\r\n")[::2], ("HTTP/1.1 200 OK", b"ok"))
        phase = Phase.SERVING
        self.assertEqual(connection.ask("GET /status HTTP/1.1\r\n\r\n")[::2], ("HTTP/1.1 200 OK", b"ok"))
        phase = Phase.DRAINING
        status_line, _, body = connection.ask("GET /status HTTP/1.1\r\n\r\n")
        self.assertEqual((status_line, body), ("HTTP/1.1 503 Service Unavailable", b"stopping"))


class MetricsSiteTests(SynchronousTestCase):
    def test_the_text_is_made_for_each_request(self) -> None:
        metrics = MetricStore()
        counter = metrics.counter(COUNTED, record_type="V", dispatcher="kafka")
        open_connections = metrics.gauge(NUM_CONNECTIONS)

        metrics.before_export(lambda: open_connections.set_to(3))
        connection = Connection(metrics_site(PrometheusExporter(metrics).exposition))
        for total in (1, 2):
            counter.add(1)
            status_line, headers, body = connection.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(status_line, "HTTP/1.1 200 OK")
            self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
            self.assertEqual(int(headers["Content-Length"]), len(body))
            self.assertIn(b'counted{dispatcher="kafka",record_type="V"} %d\n' % total, body)
            self.assertIn(b"num_connections 3\n", body)

    def test_a_text_that_cannot_be_made_is_500_without_its_traceback(self) -> None:
        def exposition() -> bytes:
            raise RuntimeError("secret")

        status_line, _, body = Connection(metrics_site(exposition)).ask("GET /metrics HTTP/1.1\r\n\r\n")
        self.assertEqual(status_line, "HTTP/1.1 500 Internal Server Error")
        self.assertNotIn(b"secret", body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class LimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.connection = Connection(status_site(self.clock))

    def test_a_body_is_discarded(self) -> None:
        self.connection.protocol.dataReceived(b"POST /status HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
        (request,) = self.connection.protocol.requests
        self.connection.protocol.dataReceived(b"x" * 100_000)
        self.assertEqual(request.content.getvalue(), b"")
        self.assertEqual(self.connection.transport.value(), b"")

    def test_a_form_is_not_parsed(self) -> None:
        for content_type in ("multipart/form-data; boundary=b", "application/x-www-form-urlencoded"):
            request = f"POST /status HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: 3\r\n\r\na=b"
            self.assertEqual(self.connection.ask(request)[::2], ("HTTP/1.1 200 OK", b"ok"))

    def test_a_request_line_without_an_end_is_cut(self) -> None:
        self.connection.protocol.dataReceived(b"GET /" + b"x" * 100_000)
        self.assertTrue(self.connection.transport.disconnecting)
        self.assertIn(b"HTTP/1.1 400 Bad Request\r\n", self.connection.transport.value())
        self.assertTrue(
            self.connection.transport.value().endswith(b"\r\n\r\nthe request line or a header is longer than 16384 bytes\n")
        )

    def test_headers_without_an_end_are_cut(self) -> None:
        self.connection.protocol.dataReceived(b"GET /status HTTP/1.1\r\n" + b"a: b\r\n" * 10_000)
        self.assertTrue(self.connection.transport.disconnecting)
        self.assertIn(b"400 Bad Request", self.connection.transport.value())

    def test_a_request_that_arrives_byte_by_byte_has_ten_seconds_in_total(self) -> None:
        for _ in range(9):
            self.connection.protocol.dataReceived(b"G")
            self.clock.advance(1)
        self.assertFalse(self.connection.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.connection.transport.disconnecting)
        self.assertIn(b"HTTP/1.1 408 Request Time-out\r\n", self.connection.transport.value())
        self.assertTrue(self.connection.transport.value().endswith(b"\r\n\r\nthe request has not arrived within 10 s\n"))

    def test_a_later_request_has_ten_seconds_from_its_first_byte(self) -> None:
        self.connection.ask("GET /status HTTP/1.1\r\n\r\n")
        self.clock.advance(50)
        self.connection.protocol.dataReceived(b"G")
        self.clock.advance(9)
        self.connection.protocol.dataReceived(b"E")
        self.assertFalse(self.connection.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.connection.transport.disconnecting)

    def test_a_later_request_may_begin_behind_the_one_before(self) -> None:
        for begun in ("G", "GET /status HTTP/1.1\r\n"):
            connection = Connection(status_site(self.clock))
            connection.protocol.dataReceived(b"GET /status HTTP/1.1\r\n\r\n" + begun.encode())
            self.clock.advance(9)
            self.assertFalse(connection.transport.disconnecting)
            self.clock.advance(1)
            self.assertTrue(connection.transport.disconnecting)

    def test_a_minute_between_two_requests(self) -> None:
        self.connection.ask("GET /status HTTP/1.1\r\n\r\n")
        for _ in range(3):
            self.clock.advance(59)
            self.assertEqual(self.connection.ask("GET /status HTTP/1.1\r\n\r\n")[2], b"ok")
        self.connection.transport.clear()
        self.clock.advance(60)
        self.assertTrue(self.connection.transport.disconnecting)
        self.assertEqual(self.connection.transport.value(), b"", "nothing was asked")

    def test_nothing_is_left_running(self) -> None:
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.connection.protocol.connectionLost(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PresenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.metrics = ReadableMetrics()
        self.site = status_site(Clock(), metrics=self.metrics)

    def connect(self, host: str) -> StringTransport | None:
        """A connection's transport; None when it is refused."""
        address = IPv4Address("TCP", host, 1)
        protocol = self.site.buildProtocol(address)
        if protocol is None:
            return None
        transport = StringTransport(peerAddress=address)
        transport.abortConnection = lambda: (
            transport.loseConnection() or protocol.connectionLost(Failure(ConnectionAborted()))
        )
        protocol.makeConnection(transport)
        return transport

    def refused(self, reason: str) -> float:
        return self.metrics.value("connections_refused_total", "status", reason)

    def test_one_address(self) -> None:
        self.assertTrue(all(self.connect("10.0.0.1") for _ in range(MAX_CONNECTIONS_PER_ADDRESS)))
        self.assertIsNone(self.connect("10.0.0.1"))
        self.assertEqual(self.refused("full_address"), 1)
        self.assertIsNotNone(self.connect("10.0.0.2"))

    def test_the_address_with_most_connections_loses_its_oldest(self) -> None:
        crowd = [self.connect(f"10.0.0.{1 + number % 4}") for number in range(MAX_CONNECTIONS)]
        prober = self.connect("10.0.0.9")
        self.assertIsNotNone(prober)
        self.assertTrue(crowd[0].disconnecting)
        self.assertEqual(self.refused("crowded_out"), 2)
        self.assertEqual(len(self.site.connections), MAX_CONNECTIONS - 1)

    def test_no_room_at_all(self) -> None:
        self.assertTrue(all(self.connect(f"10.0.0.{number}") for number in range(MAX_CONNECTIONS)))
        self.assertIsNone(self.connect("10.0.1.1"))
        self.assertEqual(self.refused("full"), 1)

    def test_a_closed_connection_makes_room(self) -> None:
        transports = [self.connect("10.0.0.1") for _ in range(MAX_CONNECTIONS_PER_ADDRESS)]
        transports[0].abortConnection()
        self.assertIsNotNone(self.connect("10.0.0.1"))
