"""Routes: patterns, methods, bodies, errors."""

import json

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.monitoring.channel import MAX_BODY_BYTES
from fleetgw.adapters.monitoring.pages import ANY_METHOD, Access, Answer, PageRefusal, PageRequest, Route, json_answer
from fleetgw.adapters.monitoring.site import PageSite
from tests.monitoring.test_pages import faults, refusals
from tests.support.http_connection import HttpConnection, Response


class RouteCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.requests: list[PageRequest] = []

        def page(request: PageRequest) -> Answer:
            self.requests.append(request)
            return json_answer({"vin": request.values.get("vin")})

        patterns = {"/plain.path": ("GET",), "/api/vehicles": ("GET",), "/api/vehicles/{vin}": ("GET",)}
        routes = [Route(pattern, page, Access.PROBE, methods) for pattern, methods in patterns.items()]
        routes += [
            Route("/api/traces", page, Access.PROBE),
            Route("/api/traces", page, Access.PROBE, ("POST",)),
            Route("/any", page, Access.PROBE, ANY_METHOD),
        ]
        self.site = PageSite(routes, self.clock, refusals(), faults())

    def ask(self, method: str, target: str, body: bytes = b"") -> Response:
        return HttpConnection(self.site).ask(method, target, body, Host="localhost")


class PatternTests(RouteCase):
    def test_values(self) -> None:
        for target, vin in (("X1", "X1"), ("a%20b", "a b"), ("a%2Fb", "a/b"), ("%C3%A9", "\u00e9"), ("%FF", "\ufffd")):
            with self.subTest(target):
                response = self.ask("GET", f"/api/vehicles/{target}")
                self.assertEqual(json.loads(response.body), {"vin": vin})

    def test_query(self) -> None:
        self.ask("GET", "/api/vehicles?search=a%20b&limit=3&limit=4&empty=")
        self.assertEqual(self.requests[0].query, {"search": "a b", "limit": "3", "empty": ""})

    def test_unknown_paths(self) -> None:
        for target in ("/api/vehicles/", "/api/vehicles/a/b", "/plainxpath", "/api", "//api/vehicles", "/x/../plain.path"):
            with self.subTest(target):
                self.assertEqual(self.ask("GET", target).code, 404)
        self.assertEqual(self.requests, [])

    def test_an_unknown_path_of_the_api_answers_with_json(self) -> None:
        response = self.ask("GET", "/api/nothing")
        self.assertEqual((response.code, response.headers["Content-Type"]), (404, "application/json"))
        self.assertEqual(json.loads(response.body).keys(), {"error", "fix"})

    def test_unusual_bytes(self) -> None:
        cases = {b"/\xff\xfe": 400, b"/\x00": 400, b"/%": 404, b"/api/vehicles/%zz": 200, b"/" + b"a/" * 4000: 404}
        for target, code in cases.items():
            with self.subTest(target[:20]):
                connection = HttpConnection(self.site)
                connection.protocol.dataReceived(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertEqual(connection.received().code, code)


class MethodTests(RouteCase):
    def test_wrong_methods(self) -> None:
        for method, target, allowed in (
            ("POST", "/api/vehicles", "GET, HEAD"),
            ("DELETE", "/api/traces", "GET, HEAD, POST"),
            ("OPTIONS", "/plain.path", "GET, HEAD"),
            ("get", "/plain.path", "GET, HEAD"),
            ("TRACE", "/plain.path", "GET, HEAD"),
        ):
            with self.subTest(method=method, target=target):
                response = self.ask(method, target)
                self.assertEqual((response.code, response.headers["Allow"]), (405, allowed))
        self.assertEqual(self.requests, [])

    def test_each_method_has_its_route(self) -> None:
        self.ask("GET", "/api/traces")
        self.ask("POST", "/api/traces", b"{}")
        self.assertEqual([(each.method, each.body) for each in self.requests], [("GET", b""), ("POST", b"{}")])

    def test_head(self) -> None:
        response = self.ask("HEAD", "/api/vehicles/X")
        self.assertEqual((response.code, response.headers["Content-Length"], response.body), (200, "12", b""))

    def test_any_method(self) -> None:
        for method in ("GET", "PUT", "BREW"):
            self.assertEqual(self.ask(method, "/any").code, 200)


class FailureTests(SynchronousTestCase):
    """A page that raises, at once or later, answers as its path does: JSON under ``/api``, else text."""

    def answer(self, path: str, error: Exception, *, later: bool) -> tuple[int, bytes]:
        def page(_request: PageRequest) -> Deferred[Answer]:
            if later:
                return fail(error)
            raise error

        site = PageSite([Route(path, page, Access.PROBE)], Clock(), refusals(), faults())
        response = HttpConnection(site).ask("GET", path)
        return response.code, response.body

    def test_a_refusal(self) -> None:
        for later in (False, True):
            with self.subTest(later=later):
                refusal = PageRefusal("it is out", "come back", 404)
                self.assertEqual(
                    self.answer("/api/x", refusal, later=later), (404, b'{"error": "it is out", "fix": "come back"}')
                )
                self.assertEqual(self.answer("/x", refusal, later=later), (404, b"it is out; come back\n"))

    def test_a_defect(self) -> None:
        for later in (False, True):
            with self.subTest(later=later):
                code, body = self.answer("/api/x", RuntimeError("secret"), later=later)
                self.assertEqual((code, json.loads(body)["error"]), (500, "internal error"))
                self.assertNotIn(b"secret", body)
                self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class BodyTests(RouteCase):
    def test_the_largest_body(self) -> None:
        self.assertEqual(self.ask("POST", "/api/traces", b"x" * MAX_BODY_BYTES).code, 200)
        self.assertEqual(self.requests[0].body, b"x" * MAX_BODY_BYTES)

    def test_a_larger_body(self) -> None:
        response = self.ask("POST", "/api/traces", b"x" * (MAX_BODY_BYTES + 1))
        self.assertEqual(response.code, 413)
        self.assertIn(str(MAX_BODY_BYTES), json.loads(response.body)["fix"])
        self.assertEqual(self.requests, [])

    def test_a_larger_body_in_chunks(self) -> None:
        connection = HttpConnection(self.site)
        connection.protocol.dataReceived(
            b"POST /api/traces HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4096
        )
        (request,) = connection.protocol.requests
        for _ in range(20):
            connection.protocol.dataReceived(b"\r\n1000\r\n" + b"x" * 4096)
        self.assertEqual(request.content.getvalue(), b"")
        connection.protocol.dataReceived(b"\r\n0\r\n\r\n")
        self.assertEqual(connection.received().code, 413)

    def test_a_body_that_arrives_slowly(self) -> None:
        connection = HttpConnection(self.site)
        connection.protocol.dataReceived(b"POST /api/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
        for _ in range(10):
            self.assertEqual(connection.transport.value(), b"")
            connection.protocol.dataReceived(b"x")
            self.clock.advance(1)
        self.assertEqual(connection.received().code, 408)
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(self.requests, [])

    def test_a_body_of_a_route_without_any_is_ignored(self) -> None:
        self.assertEqual(self.ask("POST", "/any", b"x" * (MAX_BODY_BYTES + 1)).code, 200)
