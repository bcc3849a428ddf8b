"""Foreign text on a terminal: no form of output passes control characters."""

import io
import json
from unittest import TestCase, mock

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.text.terminal import escaped, has_colours, json_text, printable

HOSTILE = "a\x1b[2J\x9b31m\x85\u2028\u2029\u202e\x7f\x00\u200b\r\n\tz\U000e0041\ud800"


def acts(text: str) -> bool:
    """Whether a terminal might execute it, apart from line feeds."""
    return not text.replace("\n", "").isprintable()


class ColoursTests(TestCase):
    def test_a_terminal_without_the_variable(self) -> None:
        terminal = mock.Mock(isatty=lambda: True)
        self.assertTrue(has_colours(terminal, {}))
        self.assertTrue(has_colours(terminal, {"NO_COLOR": ""}))
        self.assertFalse(has_colours(terminal, {"NO_COLOR": "1"}))
        self.assertFalse(has_colours(io.StringIO(), {}))


class TerminalTextTests(TestCase):
    def test_for_people(self) -> None:
        self.assertEqual(printable("a\x1b[2J\x9bz"), "a\ufffd[2J\ufffdz")
        self.assertEqual(printable("Grüße, 世界"), "Grüße, 世界")

    def test_for_programs(self) -> None:
        self.assertEqual(escaped("a\x1b\n\r\t\x9b\u2028"), r"a\u001b\n\r\t\u009b\u2028")
        self.assertEqual(escaped("\U000e0041"), r"\udb40\udc41")
        self.assertEqual(escaped("Grüße, 世界 🚗"), "Grüße, 世界 🚗")

    def test_json_stays_unchanged(self) -> None:
        value = {"ü\x9b": [HOSTILE.removesuffix("\ud800"), 1.5, None]}
        for indent in (2, None):
            self.assertFalse(acts(json_text(value, indent)))
            self.assertEqual(json.loads(json_text(value, indent)), value)

    @given(st.text(st.characters(), max_size=20))
    def test_no_control_character_gets_through(self, text: str) -> None:
        self.assertTrue(printable(text).isprintable())
        self.assertTrue(escaped(text).isprintable())
        self.assertFalse(acts(json_text([text])))
        self.assertEqual(json.loads(json_text(text)), text)

    def test_a_terminal_attack(self) -> None:
        for shown in (printable(HOSTILE), escaped(HOSTILE), json_text(HOSTILE)):
            self.assertFalse(acts(shown))
