"""Access to the routes of operators: address, Host, origin, token."""

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.listening.refusals import Refusals
from fleetgw.adapters.monitoring.access import AccessControl, AccessRules
from fleetgw.adapters.monitoring.client_faults import ClientFaults
from fleetgw.adapters.monitoring.pages import Access, Answer, Route
from fleetgw.adapters.monitoring.site import MAX_CONNECTIONS_PER_ADDRESS, PageSite
from fleetgw.adapters.monitoring.streams import EVENTS, Stream, StreamReader, Unsubscribe
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.http_connection import HttpConnection, Response

TOKEN = "0123456789abcdef"
BEARER = f"Bearer {TOKEN}"
AFAR = "10.0.0.7"
LOOPBACK_HOSTS = ("localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "gateway.localhost")
FOREIGN_HOSTS = (
    *("evil.example", "localhost.evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost@evil.example"),
    *("evil.example@localhost", "localhost/evil.example", "localhost?evil.example", "localhost#evil.example"),
    *("localhost:80:80", "localhost:evil", "local\thost", "localhost, evil.example", "[::1%25lo]", "[::1"),
    *("127.1", "0.0.0.0", "[::]", ""),
)


class AccessCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = ReadableMetrics()
        self.log = ReadableLog()
        self.access = AccessControl()
        self.refusals = Refusals("status", self.metrics, self.log, self.clock.seconds)
        self.faults = ClientFaults("status", self.metrics, self.log, self.clock.seconds)
        routes = [Route(f"/api/{each.value}", lambda _: Answer(b"shown"), each) for each in Access]
        self.site = PageSite(
            [*routes, Route("/", lambda _: Answer(b"page"), Access.OPERATOR)],
            self.clock,
            self.refusals,
            self.faults,
            self.access,
        )

    def rules(self, token: str | None = TOKEN, *hosts: str) -> None:
        self.access.rules = AccessRules(token and token.encode(), frozenset(hosts))

    def ask(self, path: str, peer: str = "127.0.0.1", **headers: str) -> Response:
        return HttpConnection(self.site, peer).ask("GET", path, **{"Host": "localhost", **headers})

    def refused(self, reason: str) -> float:
        return self.metrics.value("requests_refused_total", "status", reason)


class HostTests(AccessCase):
    def test_probes_are_answered_to_everyone_under_every_name(self) -> None:
        for host in ("", "evil.example", "10.0.0.1:8080"):
            self.assertEqual(self.ask("/api/probe", AFAR, Host=host).body, b"shown")
        self.assertEqual(HttpConnection(self.site, AFAR).ask("GET", "/api/probe").code, 200)

    def test_this_machine_under_a_loopback_name(self) -> None:
        for host in LOOPBACK_HOSTS:
            with self.subTest(host):
                self.assertEqual(self.ask("/api/operator", Host=host).code, 200)

    def test_this_machine_under_a_foreign_name(self) -> None:
        """A browser whose DNS was made to answer with the loopback address: DNS rebinding."""
        connection = HttpConnection(self.site)
        for host in FOREIGN_HOSTS:
            with self.subTest(host):
                response = connection.ask("GET", "/api/operator", Host=host)
                self.assertEqual(response.code, 403)
                told = json.loads(response.body)
                self.assertIn("names no host of this gateway", told["error"])
                self.assertIn("operations.hosts", told["fix"])
        self.assertEqual(HttpConnection(self.site).ask("GET", "/api/operator").code, 403)
        self.assertEqual(self.refused("foreign_host"), len(FOREIGN_HOSTS) + 1)

    def test_a_repeated_host(self) -> None:
        connection = HttpConnection(self.site)
        connection.protocol.dataReceived(b"GET /api/operator HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
        self.assertEqual(connection.received().code, 403)

    def test_another_machine_without_hosts(self) -> None:
        for host in ("localhost", "10.0.0.1:8080"):
            response = self.ask("/api/operator", AFAR, Host=host)
            self.assertEqual(response.code, 403)
            self.assertIn("own machine alone", json.loads(response.body)["error"])

    def test_a_proxy_on_this_machine_speaks_for_others(self) -> None:
        for header in ("Forwarded", "X_Forwarded_For", "x_real_ip", "Via"):
            with self.subTest(header):
                self.assertEqual(self.ask("/api/operator", **{header: "for=10.0.0.7"}).code, 403)
        self.rules(TOKEN, "gw.example.com")
        passed_on = self.ask("/api/operator", Host="gw.example.com", X_Forwarded_For=AFAR)
        self.assertEqual(passed_on.code, 200)
        self.assertEqual(self.ask("/api/operator", X_Forwarded_For=AFAR).code, 403, "the proxy must pass Host on")

    def test_another_machine_with_hosts(self) -> None:
        self.rules(TOKEN, "gw.example.com", "fd00::5")
        for host in ("gw.example.com", "GW.example.com.:8443", "[fd00::5]:8080"):
            with self.subTest(host):
                self.assertEqual(self.ask("/api/operator", AFAR, Host=host).code, 200)
                self.assertEqual(self.ask("/api/operator", Host=host).code, 200)
        for host in ("localhost", "evil.example"):
            with self.subTest(host):
                self.assertEqual(self.ask("/api/operator", AFAR, Host=host).code, 403)
        self.assertEqual(self.ask("/api/operator").code, 200)

    def test_a_page_says_in_text_why(self) -> None:
        response = self.ask("/", AFAR)
        self.assertEqual((response.code, response.headers["Content-Type"]), (403, "text/plain; charset=utf-8"))
        self.assertIn(b"operations.hosts", response.body)


class OriginTests(AccessCase):
    def test_the_own_page(self) -> None:
        origins = {"Origin": "http://localhost:8080"}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}
        for headers in origins:
            with self.subTest(headers):
                self.assertEqual(self.ask("/api/operator", Host="localhost:8080", **headers).code, 200)

    def test_pages_of_other_origins(self) -> None:
        cases = (
            {"Origin": "http://localhost:3000"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
        )
        for headers in cases:
            with self.subTest(headers):
                response = self.ask("/api/operator", Host="localhost:8080", **headers)
                self.assertEqual(response.code, 403)
                self.assertNotIn("Access-Control-Allow-Origin", response.headers)
        self.assertEqual(self.refused("cross_origin"), len(cases))

    def test_a_link_to_the_page(self) -> None:
        followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        self.assertEqual(self.ask("/", **followed).code, 200)

    def test_a_token_is_no_excuse(self) -> None:
        self.rules()
        headers = {"Authorization": BEARER, "Origin": "https://evil.example"}
        self.assertEqual(self.ask("/api/token", **headers).code, 403)


class TokenTests(AccessCase):
    def test_another_token_ends_the_streams_of_the_earlier_one(self) -> None:
        left: list[StreamReader] = []

        def subscribe(reader: StreamReader) -> Unsubscribe:
            return lambda: left.append(reader)

        stream = Route("/api/stream", lambda _: Stream(EVENTS, subscribe), Access.TOKEN)
        self.site = PageSite([stream], self.clock, self.refusals, self.faults, self.access, max_streams=2)
        self.access.use(AccessRules(TOKEN.encode()))
        connection = HttpConnection(self.site)
        connection.send("GET", "/api/stream", Host="localhost", Authorization=BEARER)
        self.access.use(AccessRules(TOKEN.encode()))
        self.assertEqual(left, [], "a reload that leaves the rules as they are")
        self.access.use(AccessRules(b"another token that is long"))
        self.assertEqual(len(left), 1)
        self.assertTrue(connection.received().body.endswith(b"0\r\n\r\n"))
        self.assertEqual(self.ask("/api/stream", Authorization=BEARER).code, 401)

    def test_without_a_token_nothing_of_vehicles_is_shown(self) -> None:
        response = self.ask("/api/token", Authorization=BEARER)
        self.assertEqual(response.code, 403)
        self.assertIn("operations.token", json.loads(response.body)["fix"])
        self.assertEqual(self.refused("no_token_set"), 1)

    def test_the_token(self) -> None:
        self.rules()
        for credentials in (BEARER, f"bearer   {TOKEN}", f"BEARER {TOKEN} "):
            self.assertEqual(self.ask("/api/token", Authorization=credentials).body, b"shown")

    def test_no_token(self) -> None:
        self.rules()
        response = self.ask("/api/token")
        self.assertEqual((response.code, response.headers["WWW-Authenticate"]), (401, "Bearer"))
        self.assertEqual((self.refused("no_token"), self.log.entries), (1, []))

    def test_a_wrong_token(self) -> None:
        self.rules()
        for given in ("", "0123456789abcdeF", "0123456789abcdefg", "0123456789abcde", "\u00e9" * 16, "x" * 8000):
            with self.subTest(given):
                response = self.ask("/api/token", Authorization=f"Bearer {given}")
                self.assertEqual((response.code, response.headers["WWW-Authenticate"]), (401, "Bearer"))
                self.assertNotIn(TOKEN.encode(), response.body)
        for scheme in ("Basic", "Beaker"):
            self.assertEqual(self.ask("/api/token", Authorization=f"{scheme} {TOKEN}").code, 401)
        self.assertEqual(self.ask("/api/token", Authorization=TOKEN).code, 401)
        self.assertEqual(self.refused("wrong_token"), 9)

    def test_one_log_line_in_ten_seconds(self) -> None:
        self.rules()
        stranger, guesser = HttpConnection(self.site, AFAR), HttpConnection(self.site)
        for _ in range(1000):
            stranger.ask("GET", "/api/token", Host="localhost")
            guesser.ask("GET", "/api/token", Host="localhost", Authorization="Bearer wrong")
        self.clock.advance(10)
        guesser.ask("GET", "/api/token", Host="localhost", Authorization="Bearer wrong")
        lines = self.log.fields_of("request_refused")
        self.assertEqual([each["reason"] for each in lines], ["foreign_host", "wrong_token", "wrong_token"])
        self.assertEqual(lines[2]["more_unwritten"], 999)
        self.assertEqual(lines[1]["remote_ip"], "127.0.0.1")

    def test_a_refused_connection_is_told_of_in_words_of_this_port(self) -> None:
        for _ in range(MAX_CONNECTIONS_PER_ADDRESS):
            HttpConnection(self.site)
        with self.assertRaises(ConnectionRefusedError):
            HttpConnection(self.site)
        (line,) = self.log.fields_of("connection_refused")
        self.assertEqual((line["listener"], line["reason"]), ("status", "full_address"))
        self.assertNotIn("identity", str(line["error"]))

    def test_the_token_does_not_open_the_port_to_other_machines(self) -> None:
        self.rules()
        self.assertEqual(self.ask("/api/token", AFAR, Authorization=BEARER).code, 403)

    def test_another_token_from_now_on(self) -> None:
        self.rules()
        self.rules("another-token-of-16")
        self.assertEqual(self.ask("/api/token", Authorization=BEARER).code, 401)
