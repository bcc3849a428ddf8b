"""A headless Chromium for the tests of the page."""

from __future__ import annotations

import os
import shutil
import unittest
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

DEADLINE_MS = 60_000
"""Longest wait of a test, which only a hang reaches."""


def lack() -> str | None:
    """A sentence on the program that the tests miss, and the way to get it; None when they miss none."""
    if sync_playwright is None:
        return "Playwright is not there: make test-page installs it (dependency group page)"
    if chromium() is None:
        return "Chromium is not there: apt-get install chromium, or name another by FLEETGW_CHROMIUM"
    return None


def chromium() -> str | None:
    """The path of the browser."""
    return os.environ.get("FLEETGW_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser, for as long as the context lasts."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


class PageCase(unittest.TestCase):
    """A test with pages of its own, which must stay free of console errors and of requests to other hosts."""

    browser: Browser

    def open(self, url: str, *, expected_errors: str = "", clock: bool = False, **context: Any) -> Page:
        """Open a page in a context of its own.

        :param expected_errors: a regular expression for console messages that the test provokes.
        :param clock: whether the test moves the page's clock.
        """
        context.setdefault("viewport", {"width": 1280, "height": 900})
        opened = self.browser.new_context(**context)
        self.addCleanup(opened.close)
        page = opened.new_page()
        page.set_default_timeout(DEADLINE_MS)
        said: list[str] = []
        asked: list[str] = []

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                said.append(message.text)

        def on_request(request: Request) -> None:
            asked.append(request.url)

        page.on("console", on_console)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", on_request)
        if clock:
            page.clock.install()
        page.goto(url)

        def check() -> None:
            for text in said:
                self.assertRegex(text, expected_errors or "^$")
            root = url.partition("#")[0]
            self.assertEqual([address for address in asked if not address.startswith(root)], [])

        self.addCleanup(check)
        return page

    def see(self, page: Page, text: str) -> None:
        """Wait until a visible element has the text."""
        page.get_by_text(text).filter(visible=True).first.wait_for()
