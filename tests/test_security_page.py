"""The page on security agrees with the source: every bound with its value, and with a test that exists."""

import re
from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

from tests.test_documentation import EVENTS, ROOT, configuration_keys, metric_names

PAGE = (ROOT / "docs" / "security.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.partition("\n## Bounds")[2].splitlines()
    if line.startswith("| ") and "`" in line
]


def code(cell: str) -> str:
    return cell.strip("`")


class SecurityPageTests(SynchronousTestCase):
    def test_there_are_rows_of_six_cells(self) -> None:
        self.assertGreater(len(ROWS), 25)
        self.assertEqual([row[0] for row in ROWS if len(row) != 6], [])

    def test_keys_have_the_listed_defaults(self) -> None:
        keys = configuration_keys()
        wrong = []
        for bound, place, default, *_ in ROWS:
            if ":" in place:
                continue
            if code(place) not in keys:
                wrong.append((bound, f"{place} is no key"))
                continue
            known = keys[code(place)].default
            named = re.match(r"[\d.]+", default)
            if (float(named[0]) if named else None) != (known if known is None else float(known)):
                wrong.append((bound, f"{place} has the default {known}"))
        self.assertEqual(wrong, [])

    def test_constants_have_the_listed_values(self) -> None:
        wrong = []
        for bound, place, default, *_ in ROWS:
            if ":" not in place:
                continue
            module, name = code(place).split(":")
            value = getattr(import_module(module), name, None)
            if value is None or float(default) != float(value):
                wrong.append((bound, f"{place} is {value}"))
        self.assertEqual(wrong, [])

    def test_the_tests_exist(self) -> None:
        missing = []
        for *_, test in ROWS:
            file, _, name = code(test).partition("::")
            path = ROOT / file
            if not path.is_file() or not re.search(rf"(def|class) {name or 'a name'}\(", path.read_text()):
                missing.append(test)
        self.assertEqual(missing, [])

    def test_the_metrics_and_events_exist(self) -> None:
        names = metric_names()
        missing = [
            (bound, seen)
            for bound, _, _, _, seen, _ in ROWS
            for name in re.findall(r"`(\w+)`", seen)
            if name not in names and f"`{name}`" not in EVENTS
        ]
        self.assertEqual(missing, [])

    def test_every_party_has_a_section(self) -> None:
        for heading in ("## A stranger", "## One vehicle", "## One broker"):
            self.assertIn(heading, PAGE)
            self.assertIn("**Cannot**", PAGE.partition(heading)[2].partition("\n## ")[0])
