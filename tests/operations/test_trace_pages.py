"""The pages of traces over HTTP: requests, refusals, streams."""

from __future__ import annotations

import json
from typing import Any

from fleetgw.adapters.monitoring.site import PageSite
from tests.support.gateway_in_memory import VIN, GatewayCase
from tests.support.http_connection import HttpConnection, Response

TOKEN = "sixteen-letters-or-more"


class PageTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.start(operations={"token": TOKEN}, status_port=8080)
        parts = self.gateway.parts
        parts.traces.start()
        site = parts.pages[0].factory
        assert isinstance(site, PageSite)
        self.site = site

    def connection(self, method: str, path: str, body: bytes = b"", token: str = TOKEN) -> HttpConnection:
        """A connection that has sent a request."""
        connection = HttpConnection(self.site)
        connection.send(method, path, body, Host="localhost", Authorization=f"Bearer {token}")
        self.gateway.clock.advance(0)
        return connection

    def ask(self, method: str, path: str, body: bytes = b"", token: str = TOKEN) -> Response:
        return self.connection(method, path, body, token).received()

    def value(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer."""
        return json.loads(self.ask(method, path, b"" if body is None else json.dumps(body).encode()).body)

    def test_the_life_of_a_trace(self) -> None:
        wanted = json.dumps({"vin": VIN, "for_s": 60}).encode()
        self.assertEqual(self.ask("POST", "/api/traces", wanted).code, 201)
        self.assertEqual(self.ask("POST", "/api/traces", wanted).code, 200)
        (listed,) = self.value("GET", "/api/traces")["traces"]
        self.assertEqual((listed["id"], listed["vin"], listed["ip"], listed["is_on"]), (1, VIN, None, True))
        stream = self.connection("GET", "/api/traces/1/stream")
        self.open_vehicle()
        self.gateway.clock.advance(1)
        self.assertEqual(stream.received().body.count(b'"stage"'), 4)
        lines = self.ask("GET", "/api/traces/1?from=3")
        self.assertEqual(lines.headers["Content-Type"], "application/x-ndjson")
        self.assertEqual([json.loads(line)["n"] for line in lines.body.splitlines()], [3, 4])
        self.assertIs(self.value("POST", "/api/traces/1", {"for_s": 0})["is_on"], False)
        self.assertTrue(stream.received().body.endswith(b"0\r\n\r\n"), "the stream ends with the trace")
        self.assertEqual(self.ask("DELETE", "/api/traces/1").code, 200)
        self.assertEqual(self.value("GET", "/api/traces")["traces"], [])
        stream.close()

    def test_without_the_token(self) -> None:
        for method, path in (
            ("GET", "/api/traces"),
            ("POST", "/api/traces"),
            ("DELETE", "/api/traces/1"),
            ("GET", "/api/traces/1/stream"),
        ):
            self.assertEqual(self.ask(method, path, token="x" * 20).code, 401, (method, path))

    def test_bad_requests(self) -> None:
        for body in (b"", b"[]", b"null", b'{"vin"', b"[" * 10_000, b"\xff\xfe", b'{"vin": "\\ud800", "for_s": 60}'):
            answer = self.ask("POST", "/api/traces", body)
            self.assertEqual(answer.code, 400, body[:20])
            self.assertEqual(json.loads(answer.body).keys(), {"error", "fix"})
        for method, path, code in (
            ("GET", "/api/traces/7", 404),
            ("DELETE", "/api/traces/x", 404),
            ("GET", "/api/traces/7/stream", 404),
            ("PUT", "/api/traces", 405),
        ):
            self.assertEqual(self.ask(method, path).code, code, path)
        self.ask("POST", "/api/traces", json.dumps({"vin": VIN, "for_s": 60}).encode())
        self.assertEqual(self.ask("GET", "/api/traces/1?from=x").code, 400)
