"""The files of the operators' page: routes, headers, and that an installed gateway has them."""

import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.monitoring.page_files import FOLDER, page_routes
from fleetgw.adapters.monitoring.pages import Access, Answer, Route
from fleetgw.adapters.monitoring.site import PageSite
from tests.monitoring.test_pages import faults, refusals
from tests.support.http_connection import HttpConnection, Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class PageFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        folder = Path(made.name)
        (folder / "index.html").write_text("<!doctype html>")
        (folder / "main.js").write_text("start()")
        (folder / "page.css").write_text("body{}")
        (folder / "icon.svg").write_text("<svg/>")
        (folder / "notes.txt").write_text("for developers")
        (folder / "__pycache__").mkdir()
        api = Route("/api/x", lambda _: Answer(b"{}"), Access.TOKEN), Route("/status", lambda _: Answer(b"ok"), Access.PROBE)
        self.site = PageSite([*api, *page_routes(folder)], Clock(), refusals(), faults())

    def ask(self, path: str, host: str = "localhost") -> Response:
        return HttpConnection(self.site).ask("GET", path, Host=host)

    def test_each_file_has_its_type(self) -> None:
        types = {path: self.ask(path).headers["Content-Type"] for path in ("/", "/main.js", "/page.css", "/icon.svg")}
        self.assertEqual(
            types,
            {
                "/": "text/html; charset=utf-8",
                "/main.js": "text/javascript; charset=utf-8",
                "/page.css": "text/css; charset=utf-8",
                "/icon.svg": "image/svg+xml",
            },
        )
        self.assertEqual(self.ask("/").body, b"<!doctype html>")

    def test_nothing_else_is_a_file(self) -> None:
        for path in ("/index.html", "/notes.txt", "/__pycache__", "/../site.py", "/%2e%2e/site.py", "/main.js/", "/Main.js"):
            with self.subTest(path):
                self.assertEqual(self.ask(path).code, 404)

    def test_browsers_are_told_to_be_strict(self) -> None:
        for path, host, code in (("/", "localhost", 200), ("/api/x", "localhost", 403), ("/", "evil.example", 403)):
            with self.subTest(path=path, host=host):
                response = self.ask(path, host)
                self.assertEqual(response.code, code)
                headers = response.headers
                self.assertEqual(headers["Content-Security-Policy"], POLICY)
                self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
                self.assertEqual(headers["Referrer-Policy"], "no-referrer")
                self.assertEqual(headers["Cache-Control"], "no-store")
                self.assertNotIn("Set-Cookie", headers)

    def test_probes_are_answered_as_ever(self) -> None:
        self.assertEqual(self.ask("/status").headers.keys(), {"Server", "Date", "Content-Length", "Content-Type"})

    def test_the_page_is_there(self) -> None:
        self.assertIn("/", [route.pattern for route in page_routes(FOLDER)])
