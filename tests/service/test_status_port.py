"""The status port of a whole gateway: the API of operators, and its end."""

from __future__ import annotations

import json
import re
from io import BytesIO
from unittest import mock

from fleetgw.adapters.logs.lines import JsonLog, TextLog
from fleetgw.adapters.logs.recent_lines import MAX_BYTES, MAX_LINES
from fleetgw.adapters.monitoring.pages import Access, Route
from fleetgw.app.operations.api import operator_routes
from fleetgw.testing.sink_doubles import ReadableLog
from tests.support.embed_case import payload_of
from tests.support.http_connection import HttpConnection, Response
from tests.support.reload_case import ReloadCase
from tests.support.service_case import STATUS, VIN, ServiceCase

TOKEN = "0123456789abcdef"
PASSWORD = "a-password-of-redis"


class StatusPortCase(ServiceCase):
    def connect(self) -> HttpConnection:
        return HttpConnection(self.reactor.ports[STATUS].factory)

    def ask(self, target: str, method: str = "GET", token: str = TOKEN) -> Response:
        """The response to a request with a token; one that takes a turn of the reactor included."""
        connection = self.connect()
        connection.send(method, target, Host="localhost", Authorization=f"Bearer {token}")
        self.reactor.advance(0)
        return connection.received()


class ApiTests(StatusPortCase):
    def test_the_configuration_in_effect_without_its_secrets(self) -> None:
        self.start(operations={"token": TOKEN}, airbrake={"project_key": PASSWORD, "host": "https://errors.example"})
        response = self.ask("/api/config")
        self.assertEqual((response.code, response.headers["Content-Type"]), (200, "application/json"))
        shown = json.loads(response.body)
        self.assertEqual((shown["status_port"], shown["operations"]["token"]), (STATUS, "********"))
        for secret in (TOKEN, PASSWORD):
            self.assertNotIn(secret.encode(), response.body)

    def test_the_metrics(self) -> None:
        self.start(operations={"token": TOKEN})
        response = self.ask("/api/metrics")
        self.assertIn(b"\nfleetgw_build_info{", response.body)
        self.assertEqual(response.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")

    def test_the_page(self) -> None:
        self.start()
        self.assertIn(b"<!doctype html>", self.ask("/").body)

    def operators_routes(self) -> list[Route]:
        """Every route that is not for probes."""
        return [each for each in operator_routes(mock.Mock()) if each.access is not Access.PROBE]

    def ask_as(self, route: Route, host: str = "localhost", token: str = TOKEN, peer: str = "127.0.0.1") -> int:
        """The status code of a request to a route, whose pattern is filled in."""
        target = re.sub(r"\{\w+\}", "x", route.pattern) + (f"?{route.parameter}" if route.parameter else "")
        headers = {"Host": host, "Authorization": f"Bearer {token}"}
        connection = HttpConnection(self.reactor.ports[STATUS].factory, peer)
        code = connection.ask(route.methods[0], target, **headers).code
        connection.close()
        return code

    def test_everything_of_operators_is_kept_from_others(self) -> None:
        self.start(operations={"token": TOKEN})
        for route in self.operators_routes():
            with self.subTest(route.pattern, method=route.methods[0]):
                self.assertEqual(self.ask_as(route, host="evil.example"), 403)
                self.assertEqual(self.ask_as(route, peer="10.0.0.7"), 403)
                if route.access is Access.TOKEN:
                    self.assertEqual(self.ask_as(route, token="another-token-of-16"), 401)

    def test_without_a_token_nothing_of_vehicles_is_shown(self) -> None:
        self.start(vins_signal_tracking_enabled=[VIN])
        vehicle = self.vehicle()
        vehicle.connect()
        vehicle.send("V", payload_of(Soc=1), b"1")
        self.reactor.advance(2)
        for route in self.operators_routes():
            with self.subTest(route.pattern, method=route.methods[0]):
                if route.access is Access.TOKEN:
                    self.assertEqual(self.ask_as(route), 403)
                else:
                    response = self.ask(route.pattern + (f"?{route.parameter}" if route.parameter else ""))
                    self.assertEqual(response.code, 200)
                    self.assertNotIn(VIN.encode(), response.body)

    def test_a_profile(self) -> None:
        self.start(operations={"token": TOKEN})
        connection = self.connect()
        connection.send("GET", "/api/profile?seconds=300", Host="localhost", Authorization=f"Bearer {TOKEN}")
        busy = self.ask("/api/profile?seconds=1")
        self.assertEqual((busy.code, json.loads(busy.body)["fix"]), (503, "ask again once it has ended"))
        connection.close()
        for seconds in ("0", "301", "x"):
            self.assertEqual(
                json.loads(self.ask(f"/api/profile?seconds={seconds}").body),
                {"error": f"seconds is '{seconds}'", "fix": "give a whole number from 1 to 300"},
            )


class ReloadTests(StatusPortCase, ReloadCase):
    def test_a_replaced_file_of_the_token(self) -> None:
        other = "fedcba9876543210"
        (self.folder / "token").write_text(TOKEN)
        self.start(operations={"token": {"file": "token"}})
        (self.folder / "token").write_text(other)
        self.assertEqual([self.ask("/api/config", token=each).code for each in (TOKEN, other)], [200, 401])
        self.assertEqual(self.read_again(), [None])
        self.assertEqual([self.ask("/api/config", token=each).code for each in (TOKEN, other)], [401, 200])


class LogTests(StatusPortCase):
    def setUp(self) -> None:
        super().setUp()
        self.stream = BytesIO()
        self.log = JsonLog(self.stream, seconds=lambda: 0.0)

    def lines(self, target: str = "/api/log") -> list[str]:
        return self.ask(target).body.decode().splitlines()

    def test_the_newest_lines_as_they_were_written(self) -> None:
        self.start(operations={"token": TOKEN})
        self.assertEqual(self.lines(), self.stream.getvalue().decode().splitlines())
        self.log.info("one")
        self.log.info("two", text="\u00e9\n\x1b[31m")
        self.assertEqual([json.loads(line)["msg"] for line in self.lines("/api/log?lines=2")], ["one", "two"])
        self.assertEqual(self.ask("/api/log").headers["Content-Type"], "text/plain; charset=utf-8")

    def test_secrets_are_masked(self) -> None:
        self.start(operations={"token": TOKEN}, airbrake={"project_key": PASSWORD, "host": "https://errors.example"})
        self.log.info("event", url=f"redis://user:pw@host/{PASSWORD}", other=TOKEN)
        (line,) = self.lines("/api/log?lines=1")
        for secret in (TOKEN, PASSWORD, ":pw@"):
            self.assertNotIn(secret, line)

    def test_a_bounded_number_of_lines(self) -> None:
        self.start(operations={"token": TOKEN})
        for number in range(MAX_LINES + 10):
            self.log.info("event", number=number)
        lines = self.lines()
        self.assertEqual((len(lines), len(self.log.recent_lines(2 * MAX_LINES))), (MAX_LINES, MAX_LINES))
        self.assertEqual([json.loads(lines[at])["number"] for at in (0, -1)], [10, MAX_LINES + 9])

    def test_records_do_not_displace_events(self) -> None:
        self.start(operations={"token": TOKEN})
        before = len(self.lines())
        self.log.warn("event")
        for number in range(MAX_LINES):
            self.log.info("record_payload", number=number)
        self.log.info("later")
        kept = [json.loads(line) for line in self.lines()]
        self.assertEqual(len(kept), MAX_LINES)
        self.assertEqual((kept[before]["msg"], kept[-1]["msg"]), ("event", "later"))
        records = MAX_LINES - before - 2
        self.assertEqual([each["number"] for each in kept[before + 1 : -1]], [*range(MAX_LINES - records, MAX_LINES)])

    def test_lines_of_a_bounded_size(self) -> None:
        self.start(operations={"token": TOKEN})
        for _ in range(MAX_LINES):
            self.log.info("event", **{f"key{number}": "x" * 1000 for number in range(10)})
        kept = self.log.recent_lines(MAX_LINES)
        self.assertLess(sum(map(len, kept)), MAX_BYTES)
        self.assertGreater(sum(map(len, kept)), MAX_BYTES * 0.9)

    def test_a_number_of_lines_that_is_none(self) -> None:
        self.start(operations={"token": TOKEN})
        for number in ("0", "2001", "-1", "x", "%D9%A3", "9" * 5000):
            self.assertEqual(self.ask(f"/api/log?lines={number}").code, 400)

    def test_lines_that_the_disk_does_not_take(self) -> None:
        log = TextLog(self.stream, seconds=lambda: 0.0)
        self.stream.close()
        log.info("event")
        self.assertEqual([line.split()[2] for line in log.recent_lines(5)], [b"msg=event"])

    def test_a_program_with_a_log_of_its_own(self) -> None:
        self.log = ReadableLog()
        self.start(operations={"token": TOKEN})
        response = self.ask("/api/log")
        self.assertEqual((response.code, json.loads(response.body)["error"]), (404, "this gateway has no log of its own"))
