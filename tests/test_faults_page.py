"""The page on faults names tests that exist, and every test of tests/faults."""

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.test_documentation import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and "`tests/" in line
]
NAMED = [re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[-1]) for row in ROWS]
FAULTS = 27


class FaultsPageTests(SynchronousTestCase):
    def test_every_fault_has_its_row(self) -> None:
        self.assertEqual([len(row) for row in ROWS], [3] * FAULTS)
        self.assertEqual([row[0] for row, tests in zip(ROWS, NAMED, strict=True) if not tests], [])

    def test_the_tests_exist(self) -> None:
        missing = [
            (file, name)
            for tests in NAMED
            for file, name in tests
            if not (ROOT / file).is_file() or not re.search(rf"(def|class) {name}\(", (ROOT / file).read_text())
        ]
        self.assertEqual(missing, [])

    def test_every_test_of_a_fault_is_named(self) -> None:
        named = {name for tests in NAMED for _, name in tests}
        unnamed = []
        for file in sorted((ROOT / "tests" / "faults").glob("test_*.py")):
            case = ""
            for new_case, test in re.findall(r"^class (\w+)|^    def (test_\w+)", file.read_text(), re.MULTILINE):
                case = new_case or case
                if test and not {case, test} & named:
                    unnamed.append((file.name, test))
        self.assertEqual(unnamed, [])
