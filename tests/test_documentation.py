"""The pages agree with the source: links, events, metrics, keys, sinks, and the parts that are generated."""

import ast
import importlib
import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import get_args, get_origin

from msgspec import Struct, structs
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.settings.wording import bare
from fleetgw.app.config import BUILT_IN_SINKS, Config

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "fleetgw"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EVENTS = (ROOT / "docs" / "log.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
FRONT = {"README.md", "CHANGELOG.md"}
LEVELS = ("debug", "info", "warn", "error")


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def calls_in_source() -> list[tuple[Path, ast.Call]]:
    """The calls in every module of a gateway, each with the module's path below the source."""
    paths = [path for path in SOURCE.rglob("*.py") if "testing" not in path.parts]
    nodes = ((path.relative_to(SOURCE), node) for path in paths for node in ast.walk(ast.parse(path.read_text())))
    return [
        (path, node) for path, node in nodes if isinstance(node, ast.Call)
    ]  # all nodes would take the time of the garbage collector


@cache
def logged_events() -> dict[str, set[Path]]:
    """Every event that the source logs by a literal name, with the modules that log it."""
    events: dict[str, set[Path]] = {}
    for path, node in calls_in_source():
        match node:
            case ast.Call(
                ast.Attribute(ast.Name("log") | ast.Attribute(attr="log" | "_log" | "vehicle_log" | "_vehicle_log"), level),
                [ast.Constant(event), *_],
            ) | ast.Call(_, [ast.Attribute(ast.Attribute(attr="log" | "_log"), level), ast.Constant(event), *_]) if (
                level in LEVELS
            ):
                events.setdefault(event, set()).add(path)
            case ast.Call(ast.Name("FailureLog") | ast.Attribute(attr="FailureLog"), [_, ast.Constant(event), _]):
                events.setdefault(event, set()).add(path)
            case ast.Call(ast.Attribute(attr="stranger_error"), [ast.Constant(event), *_]):
                events.setdefault(event, set()).add(path)
            case ast.Call(ast.Attribute(attr="_cut") | ast.Name("Cut"), [ast.Constant(event), _]):  # of a connection
                events.setdefault(event, set()).add(path)
            case ast.Call(ast.Name("write"), [ast.Constant(event)], [_, *_]):  # of librdkafka's log
                events.setdefault(event, set()).add(path)
            case ast.Call(ast.Attribute(attr="_members"), [_, ast.Constant(event), _]):  # of the log itself
                events.setdefault(event, set()).add(path)
    return events


@cache
def metric_names() -> set[str]:
    """Every metric that the source makes; ``S`` stands for the name of a sink at the beginning."""
    names = set()
    for _, node in calls_in_source():
        match node:
            case ast.Call(ast.Name("Metric" | "_counter" | "_gauge" | "_histogram"), [ast.Constant(name), *_]):
                names.add(name)
            case ast.Call(
                ast.Name("Metric" | "_counter" | "_gauge" | "_histogram"), [ast.JoinedStr([_, ast.Constant(rest)]), *_]
            ):
                names.add(f"S{rest}")
    return names


def without_code(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)


def headings(page: str) -> set[str]:
    """The anchors of a page."""
    titles = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
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
        consumers = [path.name for path in (ROOT / "examples" / "consumers").glob("*.py")]
        self.assertGreater(len(consumers), 7)
        files = ["pyproject.toml", "fleetgw_file_sink.py", "config.json", "test_file_sink.py", *consumers]
        for name in [*generator.PARTS, *files]:
            with self.subTest(name=name):
                self.assertRegex(pages, rf"<!-- {name}: begin -->\n[^<]*\S")

    def test_links_have_targets(self) -> None:
        missing = []
        for path in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
                if target.startswith("https://"):
                    continue
                name, _, anchor = target.partition("#")
                file = (path.parent / name).resolve() if name else path
                if not file.exists() or (anchor and anchor not in headings(file.read_text())):
                    missing.append(f"{path.name}: {target}")
        self.assertEqual(missing, [])

    def test_every_page_has_a_link_to_it(self) -> None:
        targets = {
            (path.parent / target.partition("#")[0]).resolve()
            for path in PAGES
            for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text())
        }
        self.assertEqual([path.name for path in PAGES if path not in targets and path.name not in FRONT], [])

    def test_blocks_in_lists_are_indented_by_four(self) -> None:
        """GitHub takes less, the site does not: a table or block of code would end the list, and be shown as text."""
        block = re.compile(r"\n {1,3}(?:```|\||[-*] |\d+\. )")
        found = [f"{path.name}: {each[0]!r}" for path in PAGES for each in block.finditer(without_code(path.read_text()))]
        self.assertEqual(found, [])

    def test_nothing_is_promised_for_later(self) -> None:
        later = re.compile(r"not yet (?:there|supported|implemented|done)|coming soon|\bTODO\b|to be written", re.IGNORECASE)
        self.assertTrue(later.search("is not yet there"))
        found = [
            f"{path.name}: {each[0]}"
            for path in PAGES
            if path.name != "doctor.md"
            for each in later.finditer(path.read_text())
        ]
        self.assertEqual(found, [])

    def test_the_modules_for_tests_of_sinks_are_listed(self) -> None:
        page = (ROOT / "docs" / "writing-a-sink.md").read_text().partition("## The modules of `fleetgw.testing`")[2]
        promised = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page.partition("\n## ")[0], re.MULTILINE))
        shipped = {
            path.relative_to(SOURCE / "testing").with_suffix("").as_posix() for path in (SOURCE / "testing").rglob("*.py")
        }
        self.assertEqual(promised.keys(), shipped - {"__init__"})
        for module, content in promised.items():
            for name in re.findall(r"`(\w+)`", content):
                self.assertTrue(hasattr(importlib.import_module(f"fleetgw.testing.{module}"), name), (module, name))

    def test_every_sink_is_listed(self) -> None:
        table = (ROOT / "README.md").read_text().partition("## Sinks")[2].partition("\n## ")[0]
        here = dict(re.findall(r"^\| \[`(\w+)`\]\((\S+)\) \|", table, re.MULTILINE))
        self.assertEqual(sorted(here), sorted(BUILT_IN_SINKS))
        pages = {name: f"docs/sinks/{name}.md" for name in BUILT_IN_SINKS}
        elsewhere = {"embedded": "docs/embedding.md", "memory": "docs/writing-a-sink.md#a-sink-for-tests"}
        self.assertEqual(here, pages | elsewhere)

    def test_each_sink_s_page_has_all_sections(self) -> None:
        for path in sorted((ROOT / "docs" / "sinks").glob("*.md")):
            with self.subTest(page=path.name):
                wanted = {"configuration", "what-delivered-means", "how-it-fails"}
                wanted |= (
                    {"asking-it", "what-is-in-the-file"} if path.stem == "sqlite" else {"on-the-wire", "how-to-consume-it"}
                )
                self.assertEqual(wanted - headings(path.read_text()), set())
                self.assertRegex(path.read_text(), r"<!-- \w+\.py: begin -->\n```python")


class LogEventsTests(SynchronousTestCase):
    def test_events_are_in_the_table(self) -> None:
        events = logged_events()
        self.assertGreater(len(events), 50)
        self.assertEqual({event for event in events if f"`{event}`" not in EVENTS}, set())

    def test_events_of_a_sink_are_on_its_page(self) -> None:
        pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "sinks").glob("*.md")}
        pages["embedded"] = (ROOT / "docs" / "embedding.md").read_text()
        events = [
            (Path(path.parts[2]).stem, event)
            for event, paths in logged_events().items()
            for path in paths
            if "sinks" in path.parts and "support" not in path.parts
        ]
        self.assertGreater(len(events), 20)
        self.assertEqual([(sink, event) for sink, event in events if f"`{event}`" not in pages[sink]], [])

    def test_documented_events_exist(self) -> None:
        table = EVENTS.partition("| event | level |")[2]
        named = {
            event for row in table.splitlines() for event in re.findall(r"`(\w+)`", row.partition("|")[2].partition("|")[0])
        }
        self.assertGreater(len(named), 20)
        source = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
        self.assertEqual({event for event in named if f'"{event}"' not in source}, set())

    def test_fields_of_events_are_logged(self) -> None:
        """A name in the meaning of an event is a field of it, another event, or a section of the configuration."""
        logged = logged_events()
        modules = {path: (SOURCE / path).read_text() for paths in logged.values() for path in paths}
        others = logged.keys() | {field.encode_name for field in structs.fields(Config)}
        others |= {"more_unwritten"}  # added by the limit on lines
        missing = []
        for row in EVENTS.partition("| event | level |")[2].splitlines():
            events, _, meaning = row.strip("|").partition("|")
            where = [path for event in re.findall(r"`(\w+)`", events) for path in logged.get(event, ())]
            for name in re.findall(r"`(\w+)`", meaning):
                field = re.compile(rf"\b{name}=|[\"']{name}[\"']")
                if name not in others and not any(field.search(modules[path]) for path in where):
                    missing.append((events, name))
        self.assertEqual(missing, [])

    def test_the_page_on_delivery_names_the_field_of_dead_letters(self) -> None:
        page = (ROOT / "docs" / "delivery.md").read_text().partition("## Dead letters")[2].partition("\n## ")[0]
        (lane,) = logged_events()["dead_letter"]
        self.assertIn("`vehicle_resends`", page)
        self.assertIn("vehicle_resends", (SOURCE / lane).read_text())
        self.assertNotIn("`acked`", page)


def configuration_keys(section: type[Struct] = Config, within: str = "") -> dict[str, structs.FieldInfo]:
    """Every key of the configuration by its path; keys that users name are ``<name>``."""
    found = {}
    for field in structs.fields(section):
        path = f"{within}.{field.encode_name}" if within else field.encode_name
        found[path] = field
        inner = bare(field.type)
        if get_origin(inner) is dict:
            path, inner = f"{path}.<name>", bare(get_args(inner)[1])
        if isinstance(inner, type) and issubclass(inner, Struct):
            found |= configuration_keys(inner, path)
    return found


class KeysTests(SynchronousTestCase):
    def test_keys_that_pages_name_exist(self) -> None:
        keys = configuration_keys()
        self.assertGreater(len(keys), 120)
        free = {"kafka", "dispatchers", "records"}  # other sections name their keys
        of_others = {"delivery.report.only.error", "pubsub.topics.get", "pubsub.topics.create"}
        sections = {path.partition(".")[0] for path in keys if "." in path} - free
        missing = [
            (page.name, named)
            for page in PAGES
            for named in re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_.]+[a-z_])`", page.read_text())
            if named not in keys | dict.fromkeys(of_others) and not named.endswith((".json", ".crt", ".md"))
        ]
        self.assertEqual(missing, [])


class MetricsTests(SynchronousTestCase):
    def test_metrics_are_on_the_page(self) -> None:
        names = metric_names()
        self.assertGreater(len(names), 30)
        self.assertEqual({name for name in names if f"`{name}`" not in METRICS.replace("{record_type}", "")}, set())

    def test_documented_metrics_exist(self) -> None:
        """On every page: a name that ends like a counter's is a counter, of the catalogue or of a sink."""
        names = metric_names()
        endings = tuple(name.removeprefix("S_") for name in names if name.startswith("S_"))
        missing = [
            (page.name, name)
            for page in PAGES
            for name in re.findall(r"`(\w+_total)(?:\{[^`]*\})?`", without_code(page.read_text()))
            if name not in names and not name.endswith(endings)
        ]
        self.assertEqual(missing, [])
