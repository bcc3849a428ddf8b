"""Names and prose keep to the glossary."""

import ast
import re
from unittest import TestCase

from tests.test_documentation import PAGES, ROOT, SOURCE

GLOSSARY = ROOT / "docs" / "glossary.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in GLOSSARY.read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| term ")
]
RETIRED_NAMES = ("COMPANY_RECORDS", "Caution", "Lot", "NeedsMending", "RefusedTogether", "ServiceDelivery", "SetAside")


def names_of_source() -> set[str]:
    """Classes and aliases that a module of the gateway defines."""
    names = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.ClassDef(name):
                    names.add(name)
                case ast.Assign([ast.Name(name)]):
                    names.add(name)
    return names


class GlossaryTests(TestCase):
    def test_every_term_has_a_meaning(self) -> None:
        self.assertGreater(len(ROWS), 30)
        self.assertEqual([row[0] for row in ROWS if len(row) != 4 or not row[1]], [])
        terms = [row[0] for row in ROWS]
        self.assertEqual(sorted({term for term in terms if terms.count(term) > 1}), [])

    def test_the_code_has_the_names(self) -> None:
        named = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[2])}
        self.assertGreater(len(named), 10)
        self.assertEqual(named - names_of_source(), set())

    def test_retired_words_are_not_used(self) -> None:
        words = [word.strip() for row in ROWS for word in row[3].split(",") if word.strip()]
        self.assertGreater(len(words), 2)
        retired = re.compile(rf"\b(?:{'|'.join([*map(re.escape, words), *RETIRED_NAMES])})\b", re.IGNORECASE)
        used = [
            f"{path.relative_to(ROOT)}: {found[0]}"
            for path in [*PAGES, *SOURCE.rglob("*.py")]
            if path != GLOSSARY
            for found in retired.finditer(path.read_text())
        ]
        self.assertEqual(used, [], f"see {GLOSSARY.relative_to(ROOT)}")
