"""No modules of the package import each other, neither directly nor through others; imports for types count, too."""

import ast
from collections.abc import Set as AbstractSet
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from unittest import TestCase

SOURCE = Path(__file__).parent.parent / "src"


def modules() -> dict[str, ast.Module]:
    """The parsed modules of the package by name."""
    paths = {path: path.parent if path.stem == "__init__" else path.with_suffix("") for path in SOURCE.rglob("*.py")}
    return {".".join(name.relative_to(SOURCE).parts): ast.parse(path.read_text("utf-8")) for path, name in paths.items()}


def imports(module: ast.Module, known: AbstractSet[str]) -> set[str]:
    """Those of the ``known`` modules that a module imports."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            members = [f"{node.module}.{each.name}" for each in node.names]
            names |= {each if each in known else node.module or "" for each in members}
    return names & known


class ImportTests(TestCase):
    def test_there_is_no_circle(self) -> None:
        parsed = modules()
        graph = {name: imports(module, parsed.keys()) for name, module in parsed.items()}
        self.assertIn("fleetgw.domain.errors", graph["fleetgw.sinkapi"])
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            self.fail(" -> ".join(error.args[1]))
