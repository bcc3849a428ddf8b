"""Takes the pictures of the page in ``docs/images``, beside the double: a real gateway has no history of 10 minutes at once.

python -m tests.page.screenshots docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tests.page.browser import DEADLINE_MS, running_browser
from tests.page.double_gateway import EXPIRED, NOT_ALLOWED, TOKEN, DoubleGateway, MadeUpFleet, vin_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DESKTOP = {"width": 1280, "height": 900}
TALL = {"width": 1280, "height": 1240}
PHONE = {"width": 390, "height": 844}


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description="Pictures of the page.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    healthy, failing = MadeUpFleet(), MadeUpFleet()
    healthy.refusals = [EXPIRED, NOT_ALLOWED]
    failing.refusals = [EXPIRED]
    failing.fail_sink()
    with running_browser() as browser:
        take(browser, healthy, folder / "page-overview.png", viewport=TALL)
        take(browser, healthy, folder / "page-overview-dark.png", scheme="dark")
        take(browser, failing, folder / "page-sink-not-ready.png", viewport=TALL)
        take(browser, healthy, folder / "page-vehicles.png", "vehicles")
        take(browser, healthy, folder / "page-vehicle.png", f"vehicles/{vin_of(3)}")
        take(browser, healthy, folder / "page-refusals.png", "refusals")
        take(browser, healthy, folder / "page-phone.png", viewport=PHONE)
        take(browser, healthy, folder / "page-phone-dark.png", f"vehicles/{vin_of(3)}", viewport=PHONE, scheme="dark")


def take(
    browser: Browser,
    fleet: MadeUpFleet,
    file: Path,
    route: str = "",
    *,
    viewport: dict[str, int] = DESKTOP,
    scheme: str = "light",
) -> None:
    """Take a picture of a view."""
    gateway = DoubleGateway(fleet)
    context = browser.new_context(viewport=viewport, color_scheme=scheme, device_scale_factor=1, reduced_motion="reduce")
    try:
        page = context.new_page()
        page.set_default_timeout(DEADLINE_MS)
        page.goto(f"{gateway.url}#token={TOKEN}")
        page.goto(f"{gateway.url}#/{route}")
        page.locator("main table, main .refusal").filter(visible=True).last.wait_for()
        page.locator("#link-state[data-level=ok], #link-state[data-level=warn]").wait_for()
        page.screenshot(path=file)
    finally:
        context.close()
        gateway.stop()


if __name__ == "__main__":
    main()
