"""Docstrings begin with a noun phrase or a verb, not with an indirect question."""

import ast
from collections.abc import Iterator
from pathlib import Path
from unittest import TestCase

ROOT = Path(__file__).parent.parent
FOLDERS = ("src", "tests", "examples", "benchmarks", "docs", "twisted")
QUESTIONS = ("What", "Who", "Whom", "Whose", "How", "Why")


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring, those of variables included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def questions(source: str) -> list[int]:
    """Lines of the docstrings that begin with an indirect question."""
    return [line for line, text in docstrings(source) if text.split(maxsplit=1)[:1] and text.split()[0] in QUESTIONS]


class DocstringTests(TestCase):
    def test_none_begins_with_an_indirect_question(self) -> None:
        files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
        found = [f"{file.relative_to(ROOT)}:{line}" for file in files for line in questions(file.read_text("utf-8"))]
        self.assertEqual(found, [])

    def test_indirect_questions_are_found(self) -> None:
        source = '"""Who calls."""\nX = 1\n"""How long it waits."""\ndef f() -> None:\n    """Whether it waits."""\n'
        self.assertEqual(questions(source), [1, 3])
