"""The client of the status service: answers, streams, and the one line for each thing that may be wrong."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from unittest import TestCase, mock

from fleetgw.cli import gateway_client
from fleetgw.cli.gateway_client import GatewayClient, GatewayError, add_gateway_options, client_of
from tests.support.free_ports import free_port
from tests.support.gateway_process import write_config
from tests.support.stub_status import TOKEN, Asked, Lines, RawServer, Refused, StubStatus


class ClientTests(TestCase):
    def setUp(self) -> None:
        self.stub = StubStatus(self)
        self.client = GatewayClient(self.stub.url, TOKEN)

    def test_requests(self) -> None:
        self.stub.answers |= {
            "/api/vehicles": {"total": 0},
            "/api/traces": {"id": "1"},
            "/api/traces/1": {},
            "/api/log": "é\n",
        }
        self.assertEqual(self.client.get_json("/api/vehicles", {"search": "é &", "limit": 3, "none": None}), {"total": 0})
        self.assertEqual(self.client.post_json("/api/traces", {"vin": "X", "for_s": 60}), {"id": "1"})
        self.client.delete("/api/traces/1")
        self.assertEqual(self.client.get_text("/api/log", {"type": ["V", "alerts"], "vin": []}), "é\n")
        self.assertEqual(
            self.stub.asked,
            [
                Asked("GET", "/api/vehicles", {"search": "é &", "limit": "3"}, None),
                Asked("POST", "/api/traces", {}, {"vin": "X", "for_s": 60}),
                Asked("DELETE", "/api/traces/1", {}, None),
                Asked("GET", "/api/log", {"type": "V,alerts"}, None),
            ],
        )

    def test_a_prefix_of_a_proxy(self) -> None:
        self.stub.answers["/gateway/api/vehicles"] = {}
        self.assertEqual(GatewayClient(f"{self.stub.url}/gateway/", TOKEN).get_json("/api/vehicles"), {})

    def test_lines_come_as_they_are_sent_until_the_reader_ends(self) -> None:
        self.stub.answers["/api/tap"] = Lines(["1", "", "2\u2028"], stays_open=True)
        lines = self.client.stream_lines("/api/tap")
        self.assertEqual([next(lines), next(lines), next(lines)], ["1", "", "2\u2028"])
        lines.close()

    def test_a_stream_that_the_gateway_ends(self) -> None:
        self.stub.answers["/api/tap"] = Lines(["1", "2"])
        self.assertEqual(list(self.client.stream_lines("/api/tap")), ["1", "2"])

    def test_a_stream_with_an_end(self) -> None:
        self.stub.answers["/api/tap"] = Lines(["1"], stays_open=True)
        with mock.patch("fleetgw.cli.gateway_client.time.monotonic", return_value=0.0) as clock:
            lines = self.client.stream_lines("/api/tap", for_s=30, silence_s=30)
            self.assertEqual(next(lines), "1")
            clock.return_value = 30.0
            self.assertEqual(list(lines), [])

    def test_a_silent_stream_with_an_end(self) -> None:
        self.stub.answers["/api/tap"] = Lines([], stays_open=True)
        self.assertEqual(list(self.client.stream_lines("/api/tap", for_s=0.05, silence_s=30)), [])

    def test_events(self) -> None:
        self.stub.answers["/api/overview/stream"] = Lines([": hello", "", 'data: {"a": 1}', "", 'data:{"a": 2}', ""])
        self.assertEqual(list(self.client.stream_events("/api/overview/stream")), [{"a": 1}, {"a": 2}])


class ErrorTests(TestCase):
    def problem(self, url: str, token: str | None = TOKEN, path: str = "/api/vehicles", **options: float) -> str:
        """The error of a request."""
        with self.assertRaises(GatewayError) as caught:
            GatewayClient(url, token).get_json(path, **options)
        self.assertNotIn("\n", str(caught.exception))
        self.assertLess(len(str(caught.exception)), 3000)
        return str(caught.exception).replace(url, "URL")

    def stream_problem(self, server: RawServer, **options: float) -> str:
        """The error of a stream."""
        with self.assertRaises(GatewayError) as caught:
            list(GatewayClient(server.url).stream_lines("/api/tap", **options))
        return str(caught.exception).replace(server.url, "URL")

    def test_no_gateway(self) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        self.assertEqual(
            self.problem(url),
            "URL cannot be asked: Connection refused; is the gateway running, and is this its status_port?",
        )

    def test_tokens(self) -> None:
        stub = StubStatus(self)
        fix = "write operations.token of its configuration into FLEETGW_TOKEN, or name a file of it by --token-file"
        self.assertEqual(self.problem(stub.url, "wrong"), f"URL: the token given is not the gateway's; {fix}")
        self.assertEqual(self.problem(stub.url, None), f"URL: a token is needed, and none is given; {fix}")
        for token in ("a\r\nb", "\u00e9", " x"):
            with self.subTest(token=token):
                self.assertIn("no HTTP header", self.problem(stub.url, token))

    def test_refusals(self) -> None:
        stub = StubStatus(self)
        for answer, said in (
            (Refused(403, {"error": "no token is configured", "fix": "set operations.token"}), "URL/api/vehicles: no toke"),
            (Refused(403, {"error": "no such Host"}), "URL/api/vehicles: no such Host"),
            (Refused(403, "<html>"), "operations.hosts; set operations.token"),
            (Refused(404, "404 page not found"), "URL has no /api/vehicles: it is a gateway older than this command"),
            (Refused(404, {"error": "no such vehicle", "fix": ""}), "URL/api/vehicles: no such vehicle"),
            (Refused(302, "elsewhere"), "URL/api/vehicles answers with HTTP status 302; is this the status_port of"),
            (Refused(500, "[" * 100_000), "HTTP status 500"),
            (Refused(500, {"error": "no " * 100_000}), "URL/api/vehicles: no no no"),
            ("<html>", "something that is no JSON"),
            ("[" * 100_000, "something that is no JSON"),
        ):  # fmt: skip
            with self.subTest(said=said):
                stub.answers["/api/vehicles"] = answer
                self.assertIn(said, self.problem(stub.url))

    def test_the_code_of_a_refusal(self) -> None:
        stub = StubStatus(self)
        with self.assertRaises(GatewayError) as caught:
            GatewayClient(stub.url, TOKEN).get_json("/api/vehicles/X")
        self.assertEqual(caught.exception.code, 404)

    def test_servers_that_are_none(self) -> None:
        for answer, said in (
            (b"SSH-2.0-OpenSSH_9.2\r\n", "URL cannot be asked: SSH-2.0-OpenSSH_9.2"),
            (b"", "Remote end closed connection without response"),
            (b"\x15\x03\x01\x00\x02\x02\x50", "cannot be asked"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "ends its answer too early"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "URL breaks off its answer; is the gateway"),
            (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000, "cannot be asked: got more than 100 headers"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x1b", "something that is no JSON"),
        ):
            with self.subTest(answer=answer[:40]):
                self.assertIn(said, self.problem(RawServer(self, answer).url))

    def test_servers_that_do_not_go_on(self) -> None:
        for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"):
            with self.subTest(answer=answer):
                server = RawServer(self, answer, stays_open=True)
                self.assertIn("URL does not answer in time; is the gateway", self.problem(server.url, timeout_s=0.05))

    def test_an_answer_that_is_too_large(self) -> None:
        server = RawServer(self, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000)
        with mock.patch.object(gateway_client, "MAX_ANSWER_BYTES", 2**17):
            self.assertIn("answers with over 0 MiB; ask for less", self.problem(server.url))

    def test_streams_that_are_none(self) -> None:
        begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
        self.assertIn(
            "has sent nothing for 0.05 s", self.stream_problem(RawServer(self, begun, stays_open=True), silence_s=0.05)
        )
        self.assertIn("URL breaks off its answer; is the gateway running", self.stream_problem(RawServer(self, begun)))
        with mock.patch.object(gateway_client, "MAX_LINE_BYTES", 1):
            self.assertIn("sends a line of over 0 MiB", self.stream_problem(RawServer(self, begun)))

    def test_a_service_without_tls(self) -> None:
        stub = StubStatus(self)
        with self.assertRaisesRegex(GatewayError, r"cannot be asked: \[SSL: \w+\].* is the gateway running"):
            GatewayClient(stub.url.replace("http:", "https:")).get_json("/api/overview")

    def test_addresses_that_are_none(self) -> None:
        for url in (
            "127.0.0.1:8080",
            "ftp://host",
            "http://",
            "http://[",
            "http://host:port",
            "http://u:p@host",
            "http://:p@host",
            "http://h?x",
        ):
            with (
                self.subTest(url=url),
                self.assertRaisesRegex(GatewayError, "is no address of a gateway; write one such as http://127.0.0.1:8080"),
            ):
                GatewayClient(url)


class OptionsTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.stub = StubStatus(self)
        self.stub.answers["/api/vehicles"] = {}
        self.enterContext(mock.patch.dict(os.environ))
        os.environ.pop("FLEETGW_TOKEN", None)

    def client(self, *arguments: object) -> GatewayClient:
        parser = argparse.ArgumentParser()
        add_gateway_options(parser)
        return client_of(parser.parse_args([str(each) for each in arguments]))

    def problem(self, *arguments: object) -> str:
        with self.assertRaises(GatewayError) as caught:
            self.client(*arguments)
        return str(caught.exception)

    def test_the_token_s_places(self) -> None:
        file = self.folder / "token"
        file.write_text(f"{TOKEN}\n")
        self.assertEqual(self.client("--url", self.stub.url, "--token-file", file).get_json("/api/vehicles"), {})
        os.environ["FLEETGW_TOKEN"] = TOKEN
        self.assertEqual(self.client("--url", self.stub.url).get_json("/api/vehicles"), {})
        os.environ["FLEETGW_TOKEN"] = "another"
        self.assertEqual(self.client("--url", self.stub.url, "--token-file", file).get_json("/api/vehicles"), {})
        self.assertIn("--token-file: ", self.problem("--url", self.stub.url, "--token-file", self.folder / "none"))
        file.write_text("")
        self.assertIn("is empty", self.problem("--url", self.stub.url, "--token-file", file))

    def test_a_configuration(self) -> None:
        port = int(self.stub.url.rpartition(":")[2])
        for host in ("127.0.0.1", "0.0.0.0", ""):
            file = write_config(self.folder, host=host, status_port=port)
            os.environ["FLEETGW_TOKEN"] = TOKEN
            client = self.client("--config", file)
            self.assertEqual((client.url, client.get_json("/api/vehicles")), (self.stub.url, {}))
        self.assertEqual(self.client("--config", write_config(self.folder, host="::", status_port=1)).url, "http://[::1]:1")

    def test_configurations_that_name_no_gateway(self) -> None:
        self.assertIn("status_port is 0, so that", self.problem("--config", write_config(self.folder)))
        file = write_config(self.folder, status_port=1, records={"V": ["carrier pigeon"]}, log_level="loud")
        problem = self.problem("--config", file)
        self.assertIn("records.V", problem)
        self.assertIn("log_level", problem)
        self.assertIn("or name the gateway by --url and --token-file", problem)
        self.assertNotIn("\n", problem)
        file.write_text(json.dumps([]))
        self.assertIn("or name the gateway by --url", self.problem("--config", file))
