"""The page on architecture agrees with the source: packages, arrows as import-linter holds them, ports, files."""

import re
import tomllib
from itertools import pairwise, product
from pathlib import Path
from unittest import TestCase

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src/fleetgw"
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]

NODE = re.compile(r'^\s*(?:subgraph )?(\w+) ?\["', re.MULTILINE)
ARROW = re.compile(r"^\s*(\w+(?: & \w+)*) --> (\w+(?: & \w+)*)$", re.MULTILINE)
PATH = re.compile(r"`((?:app|adapters|domain|embed|simulator|cli|testing)/[\w/.]+)`")

PORT = re.compile(r"^class (I[A-Z]\w+)\(I\w+\):", re.MULTILINE)

PIPELINE = ("app.pipeline", "domain")


def picture() -> str:
    return PAGE.split("```mermaid\n")[1].split("```")[0]


def name(node: str) -> str:
    return node.replace("_", ".", 1)


def arrows() -> set[tuple[str, str]]:
    return {
        (name(above), name(below))
        for sources, targets in ARROW.findall(picture())
        for above, below in product(sources.split(" & "), targets.split(" & "))
    }


def packages(folder: Path) -> set[str]:
    return {each.parent.name for each in folder.glob("*/__init__.py")}


def first_cells(heading: str) -> set[str]:
    """The names in the first column of the tables of a section."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return {
        each for cell in re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE) for each in re.findall(r"`([\w.]+)`", cell)
    }


def contract(kind: str, holds: str) -> dict[str, list[str]]:
    (found,) = [each for each in CONTRACTS if each["type"] == kind and holds in str(each)]
    return found


class PictureTests(TestCase):
    def test_arrows_are_those_of_the_contract_on_layers(self) -> None:
        layers = [
            [module.strip().removeprefix("fleetgw.") for module in layer.split("|")]
            for layer in contract("layers", "fleetgw.domain")["layers"]
        ]
        expected = {arrow for above, below in pairwise(layers) for arrow in product(above, below)}
        self.assertEqual(arrows(), expected | {PIPELINE})

    def test_the_pipeline_is_kept_from_all_but_the_domain(self) -> None:
        (forbidding,) = [each for each in CONTRACTS if each.get("source_modules") == ["fleetgw.app.pipeline"]]
        others = packages(SOURCE) - {"app", "domain"} | {f"app.{each}" for each in packages(SOURCE / "app") - {"pipeline"}}
        self.assertLessEqual({f"fleetgw.{each}" for each in others}, set(forbidding["forbidden_modules"]))

    def test_every_package_is_drawn_and_no_other(self) -> None:
        drawn = {name(node) for node in NODE.findall(picture())}
        there = packages(SOURCE) | {each.stem for each in SOURCE.glob("*.py")} - {"__init__"}
        for outer in ("app", "adapters"):
            there |= {f"{outer}.{each}" for each in packages(SOURCE / outer)}
        self.assertEqual(drawn, there)

    def test_every_file_that_the_page_names_exists(self) -> None:
        named = PATH.findall(PAGE)
        self.assertGreater(len(named), 5)
        self.assertEqual([each for each in named if not (SOURCE / each).exists()], [])

    def test_every_package_has_its_rule(self) -> None:
        listed = {each.removeprefix("fleetgw.") for each in first_cells("The packages") if each.startswith("fleetgw.")}
        inner = {f"app.{each}" for each in packages(SOURCE / "app")}
        self.assertEqual(listed, packages(SOURCE) - {"app"} | inner | {"sinkapi", "adapters.sinks"})

    def test_every_module_of_the_adapters_is_in_a_package(self) -> None:
        self.assertEqual([each.name for each in (SOURCE / "adapters").glob("*.py")], ["__init__.py"])

    def test_every_port_is_listed(self) -> None:
        ports = {each for path in (SOURCE / "domain/ports").glob("*.py") for each in PORT.findall(path.read_text("utf-8"))}
        self.assertGreater(len(ports), 10)
        self.assertEqual(first_cells("The ports"), ports)
