"""Sinks that deliver bytes do not ask for the content of a record, so that it is never decoded for them."""

import ast
from pathlib import Path
from unittest import TestCase

SINKS = Path(__file__).parents[2] / "src" / "fleetgw" / "adapters" / "sinks"
DECODING = {"logger", "mqtt", "sqlite"}
"""Those that read the content; ``embedded`` hands it to its listeners as ``fleetgw.embed.Record``."""


def reads_content(module: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr == "content" for node in ast.walk(ast.parse(module.read_text()))
    )


class LazyContentTests(TestCase):
    def test_who_asks_for_the_content(self) -> None:
        asking = {module.relative_to(SINKS).parts[0] for module in SINKS.rglob("*.py") if reads_content(module)}
        self.assertEqual(asking, DECODING)
