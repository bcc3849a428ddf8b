"""No sink without a contract."""

import ast
from pathlib import Path
from unittest import TestCase

ROOT = Path(__file__).parents[2]
SINKS = ROOT / "src" / "fleetgw" / "adapters" / "sinks"
CONTRACTS = Path(__file__).parent


def classes_in(folder: Path) -> dict[str, ast.ClassDef]:
    return {
        node.name: node
        for path in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }


def provides_dispatcher(node: ast.ClassDef) -> bool:
    return any(ast.unparse(decorator) == "implementer(IDispatcher)" for decorator in node.decorator_list)


class EverySinkTests(TestCase):
    def test_has_a_contract_class(self) -> None:
        """A class that provides IDispatcher is made by a harness that a subclass of DispatcherContract uses."""
        sinks = {name for name, node in classes_in(SINKS).items() if provides_dispatcher(node)}
        self.assertIn("MemorySink", sinks)
        classes = classes_in(CONTRACTS)
        under_contract = set()
        for node in classes.values():
            if "DispatcherContract" in map(ast.unparse, node.bases):
                harnesses = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)} & classes.keys()
                for harness in harnesses:
                    under_contract |= {name.id for name in ast.walk(classes[harness]) if isinstance(name, ast.Name)}
        self.assertEqual(sinks - under_contract, set(), "give each of these a DispatcherContract in tests/contracts")
