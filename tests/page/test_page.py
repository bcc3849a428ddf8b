"""The live page in a real Chromium, beside a double of the gateway that is brought into each state."""

import re
import time

from tests.page.browser import DEADLINE_MS, PageCase
from tests.page.double_gateway import EXPIRED, TOKEN, DoubleGateway, MadeUpFleet, vin_of

VIEWS = {
    "": "Overview",
    "vehicles": "Vehicles",
    f"vehicles/{vin_of(3)}": vin_of(3),
    "signals": "Signals",
    "refusals": "Refusals",
    "tap": "Tap",
}
LOST = "net::ERR|Failed to load resource"
ROUTE = "wkqeftzp" * 300
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"

FOCUSABLE = """() => [...document.querySelectorAll("a[href], button, input, summary, [tabindex='0']")]
  .filter((element) => element.checkVisibility({ visibilityProperty: true }))
  .map((element) => element.outerHTML.slice(0, 90))"""
UNNAMED = """() => [...document.querySelectorAll("button, a, input")]
  .filter((element) => !element.textContent.trim() && !element.labels?.length).length"""
NAMED_OTHERWISE = """() => [...document.querySelectorAll("button[aria-label], a[aria-label]")]
  .filter((element) => !element.ariaLabel.includes(element.textContent)).length"""
CUT_OFF = """() => [...document.querySelectorAll(".scroll, .views")]
  .filter((part) => part.checkVisibility() && part.scrollWidth > part.clientWidth).map((part) => part.ariaLabel)"""
CLEARANCE = """() => document.activeElement.getBoundingClientRect().top
  - document.querySelector(".top").getBoundingClientRect().bottom"""
FOCUSED = "() => document.activeElement === document.body ? null : document.activeElement.outerHTML.slice(0, 90)"


class DoubleCase(PageCase):
    def setUp(self) -> None:
        self.fleet = MadeUpFleet()
        self.gateway = DoubleGateway(self.fleet)
        self.addCleanup(lambda: self.gateway.stop())

    def visit(self, route="", *, token=TOKEN, **options):
        page = self.open(f"{self.gateway.url}#token={token}" if token else self.gateway.url, **options)
        if route:
            page.goto(f"{self.gateway.url}#/{route}")
        return page

    def every_view(self, page):
        """Show one view after the other; yield each once it has its content."""
        for route, title in VIEWS.items():
            page.goto(f"{self.gateway.url}#/{route}")
            page.get_by_role("heading", level=1, name=title).wait_for()
            page.locator("main table, main form, main .refusal").filter(visible=True).first.wait_for()
            yield route


class OverviewTests(DoubleCase):
    def test_shows_every_figure_and_renews_them(self) -> None:
        page = self.visit()
        for text in (
            "Healthy",
            "Vehicles connected",
            "p50 < 0.1 ms, p90 4.8 ms",
            "kafka",
            "12 of 5,000 held",
            "Balanced, nothing lost",
            "Expires in 64 days",
            "Handshakes: expired",
            "Since the start, ",
            vin_of(0),
        ):
            self.see(page, text)
        before = page.locator(".figure-value").nth(1).inner_text()
        page.wait_for_function("before => document.querySelectorAll('.figure-value')[1].textContent !== before", arg=before)
        self.assertRegex(page.locator(".plot path.line").first.get_attribute("d"), r"^M0\.0 [\d.]+L1\.0 ")

    def test_a_sink_that_is_down_has_its_reason_and_what_helps(self) -> None:
        page = self.visit()
        self.see(page, "Healthy")
        self.fleet.fail_sink()
        self.see(page, "The sink kafka is not ready: its records wait in the spool")
        self.assertEqual(page.locator(".sink").first.get_by_text("Not ready", exact=True).inner_text(), "Not ready")
        self.see(page, "broker 127.0.0.1:9092: connection refused")
        self.see(page, "Check that the broker runs")
        self.see(page, "Full in 90 min at this rate")
        self.assertEqual(page.locator(".sink .meter").first.get_attribute("data-level"), "warn")

    def test_an_empty_fleet(self) -> None:
        self.gateway.fleet = self.fleet = MadeUpFleet(0)
        self.fleet.spool, self.fleet.handshakes, self.fleet.connections = None, {}, {}
        page = self.visit()
        for text in (
            "No records yet.",
            "No spool is configured.",
            "Nothing was refused since the start.",
            "No signals yet.",
        ):
            self.see(page, text)
        self.assertNotRegex(page.locator("main").inner_text(), "NaN|undefined|null|Infinity")
        self.assertEqual(page.locator(".plot").nth(1).locator(".scale").all_inner_texts(), ["1", ""], "no half of a vehicle")
        page.goto(f"{self.gateway.url}#/vehicles")
        self.see(page, "No vehicle has connected since the gateway started.")

    def test_a_host_that_is_not_allowed(self) -> None:
        self.gateway.refused_host = True
        page = self.visit(token="", expected_errors=LOST)
        self.see(page, "Add it to operations.hosts.")

    def test_a_chart_is_read_with_arrow_keys(self) -> None:
        page = self.visit()
        self.see(page, "Healthy")
        plot = page.get_by_role("slider", name="Records and acks per second")
        plot.focus()
        page.keyboard.press("Home")
        self.assertRegex(plot.get_attribute("aria-valuetext"), r"^\d\d:\d\d:\d\d, [\d.]+ records/s, [\d.]+ acks/s$")
        self.assertEqual(plot.get_attribute("aria-valuenow"), "0")
        for key, at in (("ArrowRight", "1"), ("PageUp", "31"), ("ArrowLeft", "30"), ("PageDown", "0"), ("End", "599")):
            page.keyboard.press(key)
            self.assertEqual(plot.get_attribute("aria-valuenow"), at)
        self.assertTrue(page.locator(".tip").first.is_visible())


class TokenTests(DoubleCase):
    def test_the_address_gives_the_token_and_loses_it(self) -> None:
        page = self.visit()
        self.see(page, vin_of(0))
        self.assertEqual(page.url, f"{self.gateway.url}#/")
        page.reload()
        self.see(page, vin_of(0))

    def test_without_a_token_the_figures_are_there_and_fields_for_it(self) -> None:
        page = self.visit(token="")
        self.see(page, "Healthy")
        self.assertEqual(page.get_by_label("Operators' token").count(), 2)
        self.assertNotIn(vin_of(0), page.content())

    def test_a_wrong_token_then_the_right_one(self) -> None:
        page = self.visit("vehicles", token="wrong", expected_errors="401")
        self.see(page, "The token is not the one of operations.token.")
        page.get_by_label("Operators' token").fill(TOKEN)
        page.keyboard.press("Enter")
        self.see(page, vin_of(0))

    def test_a_text_that_no_header_can_carry(self) -> None:
        page = self.visit(token="sch%C3%B6n")
        self.see(page, "A token consists of letters, digits and punctuation of ASCII.")
        self.see(page, "Healthy")
        page.reload()
        self.see(page, "Healthy")
        for text in ("zwei Wörter", TOKEN):
            page.get_by_label("Operators' token").first.fill(text)
            page.keyboard.press("Enter")
        self.see(page, vin_of(0))


class VehicleTests(DoubleCase):
    def test_values_facts_and_signals(self) -> None:
        self.fleet.route = ROUTE
        page = self.visit(f"vehicles/{vin_of(3)}")
        for text in ("Online", "wifi", "1.0.0", "VehicleSpeed", "37.41234, -122.14567", "2026-11-27", f"{ROUTE[:120]}…"):
            self.see(page, text)
        page.wait_for_function("() => document.querySelectorAll('.spark path.line[d^=M]').length >= 7")
        page.get_by_label("Filter").fill("gear")
        self.assertEqual(page.locator("tbody tr").count(), 1)

    def test_a_vehicle_that_is_not_known(self) -> None:
        page = self.visit("vehicles/NOBODY", expected_errors="404")
        self.see(page, "This vehicle has not connected since the gateway started.")
        page.get_by_role("link", name="Was it refused?").focus()
        for _ in range(2):  # the second answer comes after the page has shown the first
            with page.expect_response(f"{self.gateway.url}api/vehicles/NOBODY/stream"):
                pass
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Was it refused?")

    def test_texts_of_a_vehicle_stay_text(self) -> None:
        vehicle = self.fleet.vehicles[0] | {"client_version": HOSTILE, "network": HOSTILE, "vin": HOSTILE}
        self.fleet.vehicles[0] = vehicle
        self.fleet.refusals = [
            EXPIRED
            | {"vin": HOSTILE, "text": HOSTILE, "fix": HOSTILE, "reason": HOSTILE, "kind": HOSTILE, "issuer": HOSTILE}
        ]
        self.fleet.handshakes = {HOSTILE: 1}
        for route in ("", "vehicles", "signals", "refusals", "tap"):
            with self.subTest(route=route):
                page = self.visit(route)
                if route == "tap":
                    page.get_by_role("button", name="Start").click()
                page.locator("main").get_by_text(HOSTILE[:20]).first.wait_for()
                self.assertEqual(page.locator("main img, main script").count(), 0)
        page.goto(f"{self.gateway.url}#/vehicles")
        page.locator("a[data-row]").first.click()
        self.see(page, "Latest values")
        self.see(page, HOSTILE)
        self.assertEqual(page.locator("main img, main script").count(), 0)

    def test_ten_thousand_vehicles(self) -> None:
        self.gateway.fleet = MadeUpFleet(10_000)
        page = self.visit("vehicles")
        self.see(page, "100 of 10,000 vehicles")
        self.assertEqual(page.locator("tbody tr").count(), 100)
        page.get_by_role("button", name="Show more").click()
        self.see(page, "200 of 10,000 vehicles")
        page.get_by_label("Search").fill("009999")
        self.see(page, vin_of(9999))
        self.see(page, "1 vehicle")
        page.get_by_label("Search").fill("nowhere")
        self.see(page, "No vehicle has “nowhere” in its VIN.")


class TapTests(DoubleCase):
    def test_enter_in_a_field_follows_what_it_says_now_and_the_button_stops(self) -> None:
        page = self.visit("tap")
        page.get_by_role("button", name="Start").click()
        page.locator(".tap li").first.wait_for()
        page.get_by_label("Record type").fill("alerts")
        with page.expect_request(f"{self.gateway.url}api/tap?type=alerts"):
            page.keyboard.press("Enter")
        page.locator(".tap li").first.wait_for()
        self.assertTrue(page.get_by_text("Start shows the records").is_hidden())
        page.get_by_role("button", name="Stop").click()
        self.see(page, "Stopped.")


class ConnectionTests(DoubleCase):
    def test_comes_back_after_the_gateway(self) -> None:
        page = self.visit(expected_errors=LOST, clock=True)
        self.see(page, "Healthy")
        self.gateway.stop()
        notice = page.get_by_role("status").filter(has_text="The figures are those of")
        notice.wait_for()
        self.see(page, "No connection")
        self.assertRegex(notice.inner_text(), r"those of \d\d:\d\d:\d\d\.")
        self.assertIn("stale", page.locator("main").get_attribute("class"))
        page.clock.pause_at(time.time() + 3600)
        page.get_by_text(re.compile("Next try in [1-9]")).wait_for()  # never: time stands still, the button alone connects
        self.gateway = DoubleGateway(MadeUpFleet(3), self.gateway.port)
        page.get_by_role("button", name="Try now").click()
        notice.wait_for(state="detached")
        self.assertEqual(page.evaluate("document.activeElement.id"), "main")
        page.wait_for_function("() => document.querySelector('.figure-value').textContent === '3'")
        self.assertNotIn("stale", page.locator("main").get_attribute("class") or "")

    def test_a_gateway_that_is_silent(self) -> None:
        page = self.visit(clock=True)
        self.see(page, "Healthy")
        self.gateway.silent = True
        page.clock.fast_forward(6000)
        self.see(page, "The gateway is silent.")
        page.get_by_role("button", name="Try now").click()  # before a value takes the button away
        self.gateway.silent = False
        page.locator("#link-state").get_by_text("Healthy").wait_for()

    def test_an_answer_that_is_not_of_the_gateway(self) -> None:
        page = self.visit("vehicles")
        self.see(page, vin_of(0))
        self.gateway.garbage = True
        self.see(page, "The gateway does not answer.")
        self.gateway.garbage = False
        page.get_by_text("The gateway does not answer.").wait_for(state="detached")

    def test_views_that_are_left_end_their_streams(self) -> None:
        page = self.visit(f"vehicles/{vin_of(3)}")
        self.see(page, "VehicleSpeed")
        self.wait_for_streams(page, 2)
        page.goto(f"{self.gateway.url}#/signals")
        self.see(page, "Most signals")
        self.wait_for_streams(page, 1)

    def wait_for_streams(self, page, number):
        for _ in range(DEADLINE_MS // 20):
            if self.gateway.streams == number:
                return
            page.wait_for_timeout(20)
        self.fail(f"{self.gateway.streams} streams are open, not {number}")


class KeyboardTests(DoubleCase):
    def test_every_control_is_reached_by_tab(self) -> None:
        self.fleet.refusals = [EXPIRED]
        page = self.visit()
        self.see(page, "Healthy")
        for route in self.every_view(page):
            with self.subTest(route=route):
                page.evaluate("document.activeElement.blur()")
                missing = set(page.evaluate(FOCUSABLE))
                for _ in range(2 * len(missing) + 4):
                    page.keyboard.press("Tab")
                    missing.discard(page.evaluate(FOCUSED))
                    if not missing:
                        break
                self.assertEqual(missing, set())

    def test_skip_link(self) -> None:
        page = self.visit()
        self.see(page, "Healthy")
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Skip to content")
        self.assertGreaterEqual(page.locator(".skip").bounding_box()["y"], 0)
        page.keyboard.press("Enter")
        self.assertEqual(page.evaluate("document.activeElement.id"), "main")
        self.assertEqual(page.url, f"{self.gateway.url}#/")

    def test_search_rows_and_back(self) -> None:
        page = self.visit()
        self.see(page, "Healthy")
        page.keyboard.press("/")
        page.wait_for_function("() => document.activeElement.id === 'search'")
        self.see(page, vin_of(2))
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
            page.keyboard.press(key)
        page.wait_for_url(f"**/#/vehicles/{vin_of(1)}")
        self.see(page, "Latest values")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), vin_of(1))
        page.keyboard.press("Escape")
        page.wait_for_url("**/#/vehicles")
        page.get_by_label("Search").fill("x")
        page.keyboard.press("Escape")
        self.assertEqual(page.get_by_label("Search").input_value(), "")
        page.keyboard.press("Escape")
        page.wait_for_url("**/#/")

    def test_focus_is_visible(self) -> None:
        page = self.visit("vehicles")
        self.see(page, vin_of(0))
        page.keyboard.press("Tab")
        for _ in range(8):
            page.keyboard.press("Tab")
            style = page.evaluate(
                "() => { const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth]; }"
            )
            self.assertEqual(style, ["solid", "2px"])

    def test_the_focus_stays_on_a_row_that_moves_and_clear_of_the_header(self) -> None:
        self.gateway.fleet = self.fleet = MadeUpFleet(60)
        page = self.visit("signals")
        order = [each["vin"] for each in self.fleet.signals(60)["vehicles"]]
        page.get_by_role("link", name=order[-1]).focus()
        for vehicle in self.fleet.vehicles:
            vehicle["signals_today"] *= -1
        page.locator("tbody tr").first.get_by_text(order[-1]).wait_for()
        self.assertEqual(page.evaluate("document.activeElement.textContent"), order[-1])
        page.get_by_role("link", name=order[0]).focus()
        for _ in range(59):
            page.keyboard.press("ArrowUp")
            self.assertGreater(page.evaluate(CLEARANCE), 0)


class AppearanceTests(DoubleCase):
    def test_theme_follows_the_system_and_the_switch(self) -> None:
        page = self.visit(color_scheme="dark")
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(ground)
        button = page.locator("#theme")
        self.assertEqual(button.inner_text(), "Auto")
        button.press("Enter")
        light = page.evaluate(ground)
        self.assertNotEqual(light, dark)
        page.reload()
        self.assertEqual(page.evaluate(ground), light)
        button.press("Enter")
        self.assertEqual(page.evaluate(ground), dark)

    def test_a_phone_scrolls_in_one_direction(self) -> None:
        self.fleet.refusals = [EXPIRED]
        self.fleet.fail_sink()
        self.fleet.route = ROUTE
        page = self.visit(viewport={"width": 360, "height": 740}, has_touch=True)
        self.see(page, "Degraded")
        for route in self.every_view(page):
            with self.subTest(route=route):
                self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360)
                self.assertEqual(page.evaluate(CUT_OFF), [])

    def test_long_texts_break(self) -> None:
        long = "x" * 300
        self.fleet.fail_sink(long)
        self.fleet.refusals = [EXPIRED | dict.fromkeys(("text", "fix", "reason", "issuer", "address", "vin"), long)]
        self.fleet.vehicles[3] |= dict.fromkeys(("client_version", "network", "address"), long)
        for width in (320, 1280):
            page = self.visit(viewport={"width": width, "height": 740})
            self.see(page, long)
            for route in self.every_view(page):
                with self.subTest(width=width, route=route):
                    self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width)

    def test_reduced_motion(self) -> None:
        page = self.visit(reduced_motion="reduce")
        self.see(page, "Healthy")
        moving = "[...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).transitionDuration !== '0s').length"
        self.assertEqual(page.evaluate(moving), 0)

    def test_headings_and_landmarks(self) -> None:
        self.fleet.refusals = [EXPIRED]
        page = self.visit()
        for route in self.every_view(page):
            with self.subTest(route=route):
                self.assertEqual(page.get_by_role("heading", level=1).count(), 1)
                self.assertEqual(page.evaluate(UNNAMED), 0)
                self.assertEqual(page.evaluate(NAMED_OTHERWISE), 0, "a voice command is the text that is seen")
                identifiers = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
                self.assertEqual(len(identifiers), len(set(identifiers)))
                self.assertRegex(page.title(), r" · fleetgw$" if route else "^fleetgw$")
