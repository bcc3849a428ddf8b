"""Names and prose keep to the glossary."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import TestCase

from tests.test_documentation import PAGES, ROOT, SOURCE

GLOSSARY = ROOT / "docs" / "glossary.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in GLOSSARY.read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| term ")
]
WORDS = [word.strip() for row in ROWS for word in row[3].split(",") if word.strip()]
RETIRED_NAMES = (
    "AS_IN_GENERAL",
    "BaseSink",
    "COMPANY_RECORDS",
    "Caution",
    "ConfirmedNumbers",
    "KafkaNumbers",
    "Lot",
    "NeedsMending",
    "PublishNumbers",
    "RedisNumbers",
    "RefusedTogether",
    "ServiceDelivery",
    "SetAside",
    "SignalNumbers",
    "TypeNumbers",
    "WaitingError",
    "look_at_each",
    "who_answers",
)
"""Names that the code had before the glossary; case counts, as some are plain words."""

RETIRED = re.compile(rf"\b(?:(?i:{'|'.join(map(re.escape, WORDS))})|{'|'.join(RETIRED_NAMES)})\b")

FOLDERS = ("src", "tests", "examples", "benchmarks", "docs", "protos", "twisted", "deploy", ".ci")
SUFFIXES = {".py", ".md", ".json", ".toml", ".proto", ".fbs", ".service", ".logrotate", ".yaml", ".yml", ""}
CORE = ("domain", "app/pipeline")


def texts() -> Iterator[tuple[Path, str]]:
    """Every file that people write or read, but for those that have the retired words to keep them out."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    for path in [*PAGES, *found, ROOT / "Makefile", ROOT / "pyproject.toml"]:
        if path not in (GLOSSARY, Path(__file__)) and "vectors" not in path.parts and "generated" not in path.parts:
            yield path, path.read_text("utf-8")


def names_in(place: Path) -> set[str]:
    """Classes and aliases that a module, or the modules of a package, define."""
    names = set()
    for path in [place] if place.is_file() else place.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            match node:
                case ast.ClassDef(name):
                    names.add(name)
                case ast.Assign([ast.Name(name)]):
                    names.add(name)
    return names


class GlossaryTests(TestCase):
    def setUp(self) -> None:
        self.named = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[2])}

    def test_every_term_has_a_meaning(self) -> None:
        self.assertGreater(len(ROWS), 60)
        self.assertEqual([row[0] for row in ROWS if len(row) != 4 or not row[1]], [])
        terms = [row[0] for row in ROWS]
        self.assertEqual(sorted({term for term in terms if terms.count(term) > 1}), [])

    def test_the_code_has_the_names(self) -> None:
        self.assertGreater(len(self.named), 40)
        self.assertEqual(self.named - names_in(SOURCE), set())

    def test_the_ideas_of_the_core_have_their_terms(self) -> None:
        """Each module, and each package as a whole."""
        ideas = [path for package in CORE for path in (SOURCE / package).iterdir() if not path.name.startswith("__")]
        self.assertGreater(len(ideas), 20)
        without = [idea.relative_to(SOURCE).as_posix() for idea in ideas if not names_in(idea) & self.named]
        self.assertEqual(without, [], f"add a term to {GLOSSARY.relative_to(ROOT)}")

    def test_retired_words_are_not_used(self) -> None:
        read = dict(texts())
        self.assertGreater(len(read), 500)
        self.assertGreater(len(WORDS), 2)
        used = [f"{path.relative_to(ROOT)}: {found[0]}" for path, text in read.items() for found in RETIRED.finditer(text)]
        self.assertEqual(used, [], f"see {GLOSSARY.relative_to(ROOT)}")

    def test_retired_words_are_found(self) -> None:
        for text in (WORDS[0], WORDS[-1].capitalize(), RETIRED_NAMES[0], f"a {RETIRED_NAMES[-1]}()"):
            self.assertTrue(RETIRED.search(text), text)
        for text in ("a lot of", "with caution", f"un{WORDS[0]}"):
            self.assertIsNone(RETIRED.search(text), text)
