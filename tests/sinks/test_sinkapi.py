"""The module that third parties' sinks import: enough for a sink, and all that they import."""

import ast
import re
from pathlib import Path
from unittest import TestCase

from fleetgw import sinkapi

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "writing-a-sink"
PAGE = (ROOT / "docs" / "writing-a-sink.md").read_text()


def imported(source: str) -> set[str]:
    """The modules of fleetgw that a piece of Python imports from."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
        elif isinstance(node, ast.Import):
            modules |= {each.name for each in node.names}
    return {module for module in modules if module.partition(".")[0] == "fleetgw"}


class SinkApiTests(TestCase):
    def test_the_example_imports_nothing_else(self) -> None:
        self.assertEqual(imported((EXAMPLE / "fleetgw_file_sink.py").read_text()), {"fleetgw.sinkapi"})
        tests = imported((EXAMPLE / "test_file_sink.py").read_text())
        self.assertEqual({each for each in tests if not each.startswith("fleetgw.testing.")}, {"fleetgw.sinkapi"})

    def test_the_page_names_no_other_module(self) -> None:
        code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        self.assertEqual(len(code), 2)
        named = set().union(*map(imported, code)) | set(re.findall(r"`(fleetgw\.(?:adapters|domain|app)[\w.]*)`", PAGE))
        self.assertEqual({each for each in named if not each.startswith("fleetgw.testing.")}, {"fleetgw.sinkapi"})

    def test_the_example_is_short(self) -> None:
        code = [line for line in (EXAMPLE / "fleetgw_file_sink.py").read_text().splitlines() if line.strip()]
        self.assertLess(len(code), 40)

    def test_every_promised_name_exists_and_is_on_the_page(self) -> None:
        self.assertEqual(sorted(set(sinkapi.__all__)), sorted(sinkapi.__all__))
        self.assertEqual([name for name in sinkapi.__all__ if not hasattr(sinkapi, name)], [])
        self.assertEqual([name for name in sinkapi.__all__ if f"`{name}`" not in PAGE], [])
