"""Parsing of requests and formatting of responses."""

import uuid
from contextlib import suppress
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.ingress import http
from fleetgw.adapters.ingress.upgrade import connection_id

UPGRADE = (
    b"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
)


class SplitHeadTests(TestCase):
    def test_ends(self) -> None:
        for end in (b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n"):
            split = http.split_head(b"GET / HTTP/1.1\r\nHost: x" + end + b"rest", 0)
            assert split is not None
            self.assertEqual(split[0].rstrip(b"\r"), b"GET / HTTP/1.1\r\nHost: x")
            self.assertEqual(split[1], b"rest")

    def test_an_end_in_pieces_is_found(self) -> None:
        data = UPGRADE + b"\r\n\r\n"
        for at in range(len(data)):
            self.assertIsNone(http.split_head(data[:at], 0))
            self.assertIsNotNone(http.split_head(data, at), at)

    def test_the_longest_head(self) -> None:
        head = b"x" * http.MAX_HEAD_BYTES
        self.assertIsNone(http.split_head(head, 0))
        self.assertIsNotNone(http.split_head(head + b"\n\n", 0))
        for too_long in (head + b"y", head + b"y\n\n"):
            with self.assertRaises(http.BadRequest) as caught:
                http.split_head(too_long, 0)
            self.assertTrue(caught.exception.response.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"))


class ParseHeadTests(TestCase):
    def test_a_request(self) -> None:
        request = http.parse_head(
            b"GET /a/b?c=d HTTP/1.1\r\nHost: h\r\nX-A:  one \t\r\nx-a: two\r\nX-Name: M\xc3\xbcller\r\nX-Bad: \xff"
        )
        self.assertEqual((request.method, request.path, request.version), ("GET", "/a/b", "1.1"))
        self.assertEqual(request.headers["x-a"], "one, two")
        self.assertEqual(request.headers["x-name"], "Müller")
        self.assertEqual(request.headers["x-bad"], "\N{REPLACEMENT CHARACTER}")

    def test_absolute_targets(self) -> None:
        for target, path in (
            ("http://other/status", "/status"),
            ("https://other/a/b?x", "/a/b"),
            ("http://other", "/"),
            ("http://other?x=1", "/"),
            ("/status", "/status"),
            ("*", "*"),
        ):
            request = http.parse_head(f"GET {target} HTTP/1.1\r\nHost: x".encode())
            self.assertEqual(request.path, path, target)

    def test_bad_requests(self) -> None:
        for head in (
            b"",
            b"GET / HTTP/1.1 \r\nHost: x",
            b"GET  / HTTP/1.1\r\nHost: x",
            b"GET / HTTP/1.2\r\nHost: x",
            b"G(T / HTTP/1.1\r\nHost: x",
            b"GET / HTTP/1.1\r\nHost: x\r\n folded",
            b"GET / HTTP/1.1\r\nHost : x",
            b"GET / HTTP/1.1\r\nHost: x\r\nno colon",
            b"GET / HTTP/1.1\r\nHost: x\r\n: no name",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rb",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x1bb",
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1",
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 1",
            b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked",
        ):
            with self.assertRaises(http.BadRequest, msg=head) as caught:
                http.parse_head(head)
            self.assertTrue(caught.exception.response.endswith(b"\r\nConnection: close\r\n\r\n400 Bad Request"), head)

    def test_a_host_is_needed_since_http_1_1(self) -> None:
        with self.assertRaises(http.BadRequest) as caught:
            http.parse_head(b"GET / HTTP/1.1")
        self.assertTrue(caught.exception.response.endswith(b"400 Bad Request: missing required Host header"))
        self.assertEqual(http.parse_head(b"GET / HTTP/1.0").version, "1.0")

    @given(st.binary(max_size=200))
    def test_anything_is_a_request_or_a_bad_one(self, noise: bytes) -> None:
        for head in (noise, b"GET / HTTP/1.1\r\nHost: x\r\n" + noise):
            with suppress(http.BadRequest):
                http.parse_head(head)


class UpgradeTests(TestCase):
    def test_the_key(self) -> None:
        self.assertEqual(http.parse_head(UPGRADE).websocket_key, "dGhlIHNhbXBsZSBub25jZQ==")
        for good, bad in (
            (b"Upgrade: websocket", b"Upgrade: websockets"),
            (b"keep-alive, Upgrade", b"keep-alive"),
            (b"Version: 13", b"Version: 12"),
            (b"Version: 13", b"Version: 1 3"),
            (b"ZQ==", b"ZQ="),
            (b"ZQ==", b"ZQ== "[:2]),
            (b"ZQ==", b"\xc3\xbcQ=="),
            (b"ZQ==", b"ZWU="),
        ):
            self.assertIsNone(http.parse_head(UPGRADE.replace(good, bad)).websocket_key, bad)

    def test_the_answer_is_the_example_of_rfc_6455(self) -> None:
        self.assertIn(
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            http.switching_protocols("dGhlIHNhbXBsZSBub25jZQ=="),
        )


class ResponseTests(TestCase):
    def request(self, method: str = "GET", version: str = "1.1", connection: str = "") -> http.Request:
        return http.Request(method, "/", version, {"connection": connection})

    def test_refusals(self) -> None:
        response = http.refused(self.request(), "403 Forbidden", closing=True)
        head, _, body = response.partition(b"\r\n\r\n")
        self.assertEqual(body, b"Forbidden\n")
        self.assertIn(b"\r\nContent-Length: 10\r\nConnection: close", head)
        self.assertNotIn(b"Connection", http.refused(self.request(), "400 Bad Request", closing=False))

    def test_head_gets_no_body(self) -> None:
        self.assertTrue(http.mtls_ok(self.request("HEAD")).endswith(b"charset=utf-8\r\n\r\n"))
        self.assertTrue(http.mtls_ok(self.request()).endswith(b"\r\n\r\nmtls ok"))

    def test_clients_that_ask_to_close(self) -> None:
        for version, connection, closes in (
            ("1.1", "", False),
            ("1.1", "close", True),
            ("1.1", "Upgrade, Close", True),
            ("1.0", "", True),
            ("1.0", "Keep-Alive", False),
        ):
            self.assertEqual(
                http.closes(self.request(version=version, connection=connection)), closes, (version, connection)
            )


class ConnectionIdTests(TestCase):
    PLAIN = "8183e8a3-4d5a-498f-b592-b748c490a2a7"

    def test_the_forms_of_a_uuid(self) -> None:
        for form in (
            self.PLAIN,
            self.PLAIN.upper(),
            f"{{{self.PLAIN}}}",
            f"urn:uuid:{self.PLAIN}",
            f"URN:UUID:{self.PLAIN.upper()}",
            self.PLAIN.replace("-", ""),
        ):
            self.assertEqual(connection_id(form), self.PLAIN, form)
        self.assertEqual(connection_id("00000000-0000-0000-0000-000000000000"), "00000000-0000-0000-0000-000000000000")

    def test_any_other_text_gets_a_new_one(self) -> None:
        for other in (
            "",
            "abc",
            self.PLAIN[:-1],
            self.PLAIN + "0",
            self.PLAIN + "\n",
            f"{{{self.PLAIN}",
            f"({self.PLAIN})",
            f"{{urn:uuid:{self.PLAIN}}}",
            self.PLAIN.replace("-", "_"),
            self.PLAIN.replace("a", "\N{FULLWIDTH LATIN SMALL LETTER A}"),
            "8183e8a34d5a498fb592-b748c490a2a7",
        ):
            fresh = connection_id(other)
            self.assertEqual(uuid.UUID(fresh).version, 4, other)
            self.assertEqual(fresh, str(uuid.UUID(fresh)))
            self.assertNotEqual(fresh, connection_id(other), other)
