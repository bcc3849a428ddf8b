"""The status port and the metrics port, in memory."""

import json
from pathlib import Path

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from fleetgw.adapters.metrics.prometheus import PrometheusMetrics
from fleetgw.adapters.monitoring.sites import make_metrics_site, make_status_site
from fleetgw.domain.metrics import NUM_CONNECTIONS
from fleetgw.testing.metrics_contract import COUNTED

CASES = [
    case
    for case in json.loads((Path(__file__).resolve().parents[1] / "vectors" / "stream.json").read_text())["cases"]
    if case["name"].startswith(("status port: ", "metrics port: "))
]


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
            "status port": make_status_site(lambda: True, Clock()),
            "metrics port": make_metrics_site(lambda: b"", Clock()),
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
    def test_unavailable_from_when_the_gateway_stops(self) -> None:
        serving = True
        connection = Connection(make_status_site(lambda: serving, Clock()))
        self.assertEqual(connection.ask("GET /status HTTP/1.1\r\n\r\n")[::2], ("HTTP/1.1 200 OK", b"ok"))
        serving = False
        status_line, _, body = connection.ask("GET /status HTTP/1.1\r\n\r\n")
        self.assertEqual((status_line, body), ("HTTP/1.1 503 Service Unavailable", b"stopping"))


class MetricsSiteTests(SynchronousTestCase):
    def test_the_text_is_made_for_each_request(self) -> None:
        metrics = PrometheusMetrics()
        counter = metrics.counter(COUNTED, record_type="V", dispatcher="kafka")
        open_connections = metrics.gauge(NUM_CONNECTIONS)

        def exposition() -> bytes:
            open_connections.set_to(3)
            return metrics.exposition()

        connection = Connection(make_metrics_site(exposition, Clock()))
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

        status_line, _, body = Connection(make_metrics_site(exposition, Clock())).ask("GET /metrics HTTP/1.1\r\n\r\n")
        self.assertEqual(status_line, "HTTP/1.1 500 Internal Server Error")
        self.assertNotIn(b"secret", body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class LimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.connection = Connection(make_status_site(lambda: True, self.clock))

    def test_a_body_is_read_past_and_not_kept(self) -> None:
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

    def test_headers_without_an_end_are_cut(self) -> None:
        self.connection.protocol.dataReceived(b"GET /status HTTP/1.1\r\n" + b"a: b\r\n" * 10_000)
        self.assertTrue(self.connection.transport.disconnecting)
        self.assertIn(b"400 Bad Request", self.connection.transport.value())

    def test_a_request_that_comes_byte_by_byte_has_a_minute_in_all(self) -> None:
        for _ in range(11):
            self.connection.protocol.dataReceived(b"G")
            self.clock.advance(5)
        self.assertFalse(self.connection.transport.disconnecting)
        self.clock.advance(5)
        self.assertTrue(self.connection.transport.disconnecting)

    def test_each_request_has_a_minute_of_its_own(self) -> None:
        for _ in range(3):
            self.clock.advance(59)
            self.assertEqual(self.connection.ask("GET /status HTTP/1.1\r\n\r\n")[2], b"ok")
        self.clock.advance(60)
        self.assertTrue(self.connection.transport.disconnecting)

    def test_nothing_is_left_running(self) -> None:
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.connection.protocol.connectionLost(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
