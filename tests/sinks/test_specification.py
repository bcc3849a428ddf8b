"""The specification of sinks and the contract tests hold to each other."""

import re
from collections.abc import Mapping
from pathlib import Path
from unittest import TestCase

from fleetgw.testing.dispatcher_contract import DispatcherContract

PAGE = Path(__file__).parents[2] / "docs" / "component-specification.md"
REVIEW = "*(review)* "
KEYWORD = re.compile(r"\b(MUST|MUST NOT|SHOULD|SHOULD NOT|MAY)\b")


def clauses_of(page: str) -> Mapping[str, str]:
    """Number to text."""
    return {
        number: " ".join(text.split())
        for number, text in re.findall(r"^- \*\*(\d+\.\d+)\*\* (.*(?:\n  .*)*)", page, re.MULTILINE)
    }


class SpecificationTests(TestCase):
    def setUp(self) -> None:
        self.page = PAGE.read_text()
        self.clauses = clauses_of(self.page)
        self.tests = {
            name: getattr(DispatcherContract, name) for name in dir(DispatcherContract) if name.startswith("test_")
        }

    def test_every_clause_is_read(self) -> None:
        self.assertEqual(
            len(self.clauses), self.page.count("\n- **"), "a number twice, or a clause that is not written as others"
        )
        self.assertGreater(len(self.clauses), 30)

    def test_numbers_run_on(self) -> None:
        """Within each section, from 1 without a gap: a clause can be found, and none got lost."""
        expected: dict[str, int] = {}
        for number in self.clauses:
            section, _, clause = number.partition(".")
            expected[section] = expected.get(section, 0) + 1
            self.assertEqual(int(clause), expected[section], number)
        sections = re.findall(r"^## (\d+)\. ", self.page, re.MULTILINE)
        self.assertEqual(list(expected), sections)

    def test_every_clause_obliges(self) -> None:
        self.assertEqual([number for number, text in self.clauses.items() if not KEYWORD.search(text)], [])

    def test_every_testable_clause_has_a_test(self) -> None:
        testable = {number for number, text in self.clauses.items() if not text.startswith(REVIEW)}
        tested = {number for test in self.tests.values() for number in test.clauses}
        self.assertEqual(testable - tested, set(), "give it a test in DispatcherContract, or mark it for review")
        self.assertEqual((tested & self.clauses.keys()) - testable, set(), "it has a test: it is not for review alone")

    def test_every_test_names_a_clause(self) -> None:
        self.assertGreater(len(self.tests), 15)
        for name, test in self.tests.items():
            with self.subTest(name):
                self.assertNotEqual(getattr(test, "clauses", ()), ())
                self.assertEqual(set(test.clauses) - self.clauses.keys(), set())
