"""The files of the live page, as text: contrast of its colours, and nothing that its content security policy forbids."""

import re
import unittest
from pathlib import Path

import fleetgw.adapters.monitoring

PAGE = Path(fleetgw.adapters.monitoring.__file__).parent / "page"
CSS = (PAGE / "page.css").read_text()
TEXT, GRAPHIC = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11, level AA

GROUNDS = ("ground", "surface", "sunken")
PAIRS = (
    *((text, ground, TEXT) for text in ("text", "muted", "accent") for ground in GROUNDS),
    *((level, ground, TEXT) for level in ("ok", "warn", "bad") for ground in ("ground", "surface", f"{level}-ground")),
    *((text, f"{level}-ground", TEXT) for text in ("text", "muted") for level in ("ok", "warn", "bad")),
    ("on-accent", "accent", TEXT),
    ("surface", "text", TEXT),  # the tip of a chart
    *((line, "surface", GRAPHIC) for line in ("series-1", "series-2", "series-3", "control-edge")),
    *((line, "sunken", GRAPHIC) for line in ("series-1", "warn", "bad")),  # bars
    ("control-edge", "ground", GRAPHIC),
)
MAKES_MARKUP = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"


def colours(theme: int) -> dict[str, str]:
    return {name: pair[theme] for name, *pair in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", CSS)}


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


class ContrastTests(unittest.TestCase):
    def test_known_ratios(self) -> None:
        self.assertAlmostEqual(contrast("#000000", "#ffffff"), 21)
        self.assertAlmostEqual(contrast("#767676", "#ffffff"), 4.54, places=2)

    def test_every_pair_in_both_themes(self) -> None:
        for theme, name in enumerate(("light", "dark")):
            palette = colours(theme)
            for front, ground, wanted in PAIRS:
                with self.subTest(theme=name, front=front, ground=ground):
                    self.assertGreaterEqual(contrast(palette[front], palette[ground]), wanted)

    def test_every_colour_is_a_variable_with_a_light_and_a_dark_value(self) -> None:
        rules = CSS[CSS.index("/* Type */") :]
        self.assertEqual(re.findall(r"#[0-9a-f]{3,8}\b|rgba?\(|hsla?\(", rules), [])
        self.assertEqual(set(re.findall(r"var\(--([\w-]+)", CSS)) - set(re.findall(r"--([\w-]+):", CSS)), set())
        checked = {name for front, ground, _ in PAIRS for name in (front, ground)}
        self.assertEqual(set(colours(0)) - checked, {"edge"}, "a line that only decorates")


class FilesTests(unittest.TestCase):
    def test_scripts_make_no_markup_from_text(self) -> None:
        for file in PAGE.glob("*.js"):
            with self.subTest(file=file.name):
                self.assertNotRegex(
                    file.read_text(),
                    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc",
                )

    def test_nothing_inline(self) -> None:
        html = (PAGE / "index.html").read_text()
        self.assertNotRegex(html, r"<style|\sstyle=|\son\w+=|javascript:")
        self.assertEqual(re.findall(r"<script[^>]*>(?!</script>)", html), [])

    def test_nothing_from_elsewhere(self) -> None:
        for file in PAGE.iterdir():
            with self.subTest(file=file.name):
                text = file.read_text().replace("http://www.w3.org/2000/svg", "")
                self.assertNotRegex(text, r"https?://|url\(|@import")

    def test_modules_import_modules_that_are_there(self) -> None:
        for file in PAGE.glob("*.js"):
            for module in re.findall(r'from "\./([\w.]+)"', file.read_text()):
                self.assertTrue((PAGE / module).is_file(), f"{file.name} imports {module}")

    def test_files_stay_small(self) -> None:
        for file in PAGE.iterdir():
            self.assertLess(len(file.read_text().splitlines()), 400, file.name)
