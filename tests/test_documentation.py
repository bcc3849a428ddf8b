"""The pages say what is so."""

import ast
import importlib.util
import re
import tempfile
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.app.config import parse_config
from fleetgw.app.sinks import BUILT_IN
from fleetgw.simulator.certificate_folder import CertificateFolder

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "fleetgw"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
LEVELS = ("debug", "info", "warn", "error")


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def logged_events() -> dict[str, set[Path]]:
    """Every event that the source logs under a name that stands there, and where."""
    events: dict[str, set[Path]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    ast.Attribute(ast.Name("log") | ast.Attribute(attr="log" | "_log"), level),
                    [ast.Constant(str(event)), *_],
                ):
                    if level in LEVELS:
                        events.setdefault(event, set()).add(path.relative_to(SOURCE))
    return events


def headings(page: str) -> set[str]:
    """The anchors of a page."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


class PagesTests(SynchronousTestCase):
    def test_generated_parts_are_fresh(self) -> None:
        """Metrics, differences from the Go server, the example's code."""
        complete = load_generator().complete
        stale = [path.name for path in PAGES if complete(path.read_text()) != path.read_text()]
        self.assertEqual(stale, [], "run: make docs")

    def test_generated_parts_are_there(self) -> None:
        generator = load_generator()
        pages = "".join(path.read_text() for path in PAGES)
        for name in [*generator.PARTS, "pyproject.toml", "fleetgw_file_sink.py", "config.json", "test_file_sink.py"]:
            with self.subTest(name=name):
                self.assertRegex(pages, rf"<!-- {name}: begin -->\n[^<]*\S")

    def test_links_lead_somewhere(self) -> None:
        lost = []
        for path in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
                if target.startswith("https://"):
                    continue
                name, _, anchor = target.partition("#")
                file = (path.parent / name).resolve() if name else path
                if not file.exists() or (anchor and anchor not in headings(file.read_text())):
                    lost.append(f"{path.name}: {target}")
        self.assertEqual(lost, [])

    def test_lists_sinks(self) -> None:
        table = (ROOT / "README.md").read_text().partition("## Sinks")[2].partition("\n## ")[0]
        here = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
        self.assertEqual(sorted(here), sorted(BUILT_IN))

    def test_configuration_of_the_readme(self) -> None:
        (block,) = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        certificates = CertificateFolder(folder)
        certificates.ensure_authority()
        certificates.ensure_server()
        (folder / "tesla-ca.crt").write_bytes(certificates.authority_file.read_bytes())
        loaded = parse_config(block, {}, folder)
        self.assertEqual(loaded.warnings, ())
        self.assertEqual(set(loaded.config.reliable_ack_sources), {"V", "alerts"})


class LogEventsTests(SynchronousTestCase):
    def test_events_of_the_core_are_documented(self) -> None:
        core = {event for event, paths in logged_events().items() if any("sinks" not in path.parts for path in paths)}
        self.assertGreater(len(core), 20)
        self.assertEqual({event for event in core if f"`{event}`" not in OPERATING} - {"twisted_event"}, set())

    def test_documented_events_exist(self) -> None:
        table = OPERATING.partition("| event | level |")[2]
        named = {
            event for row in table.splitlines() for event in re.findall(r"`(\w+)`", row.partition("|")[2].partition("|")[0])
        }
        self.assertGreater(len(named), 20)
        source = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
        self.assertEqual({event for event in named if f'"{event}"' not in source}, set())
