"""The site: built without a warning, complete, and readable without a network."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading
import unittest
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

from tests.page.browser import PageCase, lack, running_browser
from tests.support.needed import needed
from tests.test_documentation import PAGES, ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

OFFLINE = {"NO_MKDOCS_2_WARNING": "1", "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}


class Resources(HTMLParser):
    """Addresses that a browser loads by itself, and those that a reader may follow."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.followed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        addresses = [value for name, value in attrs if name in {"src", "href", "srcset", "data"} and value]
        (self.followed if tag == "a" else self.loaded).extend(addresses)


def setUpModule() -> None:
    global site
    site = Path(unittest.enterModuleContext(tempfile.TemporaryDirectory()))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    built = subprocess.run(command, cwd=ROOT, env=os.environ | OFFLINE, capture_output=True, text=True)
    if built.returncode or "WARNING" in built.stderr:
        raise AssertionError(f"{built.stdout}{built.stderr}\nif mkdocs is missing: make test-docs")


class SiteTests(unittest.TestCase):
    def test_every_page_is_there(self) -> None:
        outside = {"README.md": "index.html", "CHANGELOG.md": "changelog.html"}
        for path in PAGES:
            name = path.relative_to(ROOT).as_posix()
            with self.subTest(page=name):
                self.assertTrue((site / outside.get(name, name.removeprefix("docs/").replace(".md", ".html"))).is_file())

    def test_nothing_is_loaded_from_elsewhere(self) -> None:
        pages = sorted(site.rglob("*.html"))
        self.assertGreater(len(pages), 30)
        for page in pages:
            resources = Resources()
            resources.feed(page.read_text("utf-8"))
            self.assertTrue(resources.loaded)
            self.assertEqual([each for each in resources.loaded if "//" in each], [], page.name)
        for sheet in site.rglob("*.css"):
            self.assertEqual(
                re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\s]*", sheet.read_text("utf-8")), [], sheet.name
            )

    def test_files_of_the_repository_are_shown_where_a_page_links_to_them(self) -> None:
        resources = Resources()
        resources.feed((site / "operating.html").read_text("utf-8"))
        self.assertIn("files/examples/fleetgw.service.html", resources.followed)
        self.assertIn("[Service]", (site / "files/examples/fleetgw.service.html").read_text("utf-8").replace("</span>", ""))
        self.assertIn("fleetgw_file_sink.py.html", (site / "files/examples/writing-a-sink.html").read_text("utf-8"))

    def test_diagrams_are_drawn_by_the_site_s_own_script(self) -> None:
        script = '<script src="website/mermaid.min.js"></script>'
        for path in PAGES:
            diagrams = path.read_text("utf-8").count("```mermaid")
            if path.parent == ROOT / "docs":
                page = (site / path.name).with_suffix(".html").read_text("utf-8")
                self.assertEqual(
                    (page.count('<pre class="mermaid">'), page.count(script)), (diagrams, min(diagrams, 1)), path.name
                )
        self.assertIn("stateDiagram", (site / "website/mermaid.min.js").read_text("utf-8"))

    def test_search_finds_pages(self) -> None:
        index = (site / "search/search_index.json").read_text("utf-8")
        self.assertIn("lost_records_total", index)
        self.assertNotIn("files/examples", index)


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


class BrowserTests(PageCase):
    """Each page that is opened must stay free of console errors, and ask no other host."""

    @classmethod
    def setUpClass(cls) -> None:
        needed(lack())
        cls.browser = cls.enterClassContext(running_browser())
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietFiles, directory=site))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        cls.address = f"http://127.0.0.1:{server.server_port}"

    def visit(self, name: str, **context: object) -> Page:
        page = self.open(f"{self.address}/", **context)
        page.goto(f"{self.address}/{name}.html")
        return page

    def test_search_finds_a_page(self) -> None:
        page = self.visit("index")
        page.goto(f"{self.address}/index.html?q=backpressure")
        page.locator(".md-search-result a", has_text="Backpressure").first.click()
        page.wait_for_url("**/delivery.html**")

    def test_diagrams_are_drawn(self) -> None:
        page = self.visit("architecture")
        drawn = page.locator("div.mermaid")  # with a closed shadow root around the picture
        drawn.nth(2).wait_for()
        heights = [each.bounding_box()["height"] for each in drawn.all()]
        self.assertEqual([height > 40 for height in heights], [True] * 3)

    def test_the_theme_can_be_chosen(self) -> None:
        page = self.visit("operating", color_scheme="dark")
        self.assertEqual(page.locator("body").get_attribute("data-md-color-scheme"), "slate")
        page.get_by_title("Use the light theme").click()
        page.locator("body[data-md-color-scheme=default]").wait_for()

    def test_no_page_is_wider_than_a_phone(self) -> None:
        page = self.visit("index", viewport={"width": 390, "height": 800})
        for name in ("index", "operating", "status-port", "log", "configuration", "run-books", "sinks/kafka"):
            page.goto(f"{self.address}/{name}.html")
            self.assertEqual(page.evaluate("document.documentElement.scrollWidth"), 390, name)
