"""A third party's sink in an installed package: its settings are typed, checked, shown and in the schema, as ours."""

import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.registry import installed_sinks, load
from fleetgw.app.config import effective_config, json_schema, render_effective
from fleetgw.sinkapi import IDispatcher, SinkContext
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received
from tests.support.config_case import ConfigCase

PACKAGE = '''
"""Keeps records in a list."""

from typing import Annotated, Literal

from fleetgw.sinkapi import (
    RECEIPT,
    LifecycleSink,
    ConfirmsLess,
    Dispatch,
    Exclusive,
    Meta,
    Positive,
    Secret,
    Settings,
    SettingsCheck,
    SinkContext,
    SinkType,
    typed,
)


class ToySettings(Settings, frozen=True, kw_only=True):
    """A box of records."""

    box: Annotated[str, Meta(description="Its name.")]
    size: Annotated[Positive, Meta(description="Records that it holds.")] = 100
    colour: Annotated[Literal["red", "blue"], Meta(description="Its colour.")] = "red"
    key: Annotated[Secret | None, Meta(description="Opens it.", extra={"environment": "TOY_KEY"})] = None


class ToySink(LifecycleSink):
    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        self.settings = typed(ToySettings, context.settings, context.name)
        self.records = []

    def deliver(self, dispatch: Dispatch) -> None:
        self.records += dispatch.batch
        self.settle_rest(dispatch, RECEIPT)


def check(toy: ToySettings, check: SettingsCheck) -> None:
    if toy.box == "pandora":
        check.refuse("box", "must stay closed", "name another")


TOY: SinkType[ToySettings] = SinkType(
    name="toy",
    settings=ToySettings,
    make=ToySink,
    check=check,
    confirmation=lambda toy: ConfirmsLess("toy keeps records in memory"),
    holds=lambda toy: [Exclusive("file", toy.box)],
)
'''


class InstalledCase(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.install(self.folder)

    def install(self, folder: Path) -> None:
        module = f"toy_sink_{id(self)}"
        (folder / f"{module}.py").write_text(PACKAGE)
        info = folder / "toy_sink-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-sink\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[fleetgw.sinks]\ntoy = {module}:TOY\n")
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        self.addCleanup(sys.modules.pop, module, None)
        self.addCleanup(sys.path.remove, str(folder))
        self.place = f"{module}:TOY"

    def toy(self, settings: object, **more: object) -> dict[str, object]:
        return {"namespace": "n", "records": {"V": ["toy"]}, "dispatchers": {"toy": {"settings": settings}}, **more}


class SettingsTests(InstalledCase):
    def test_the_package_is_short(self) -> None:
        self.assertLess(len([line for line in PACKAGE.splitlines() if line.strip()]), 50)

    def test_are_typed_with_defaults_and_shown(self) -> None:
        config = self.load(None, {"TOY_KEY": "hunter2"}, **self.toy({"box": "b", "_": "why"})).config
        shown: Any = effective_config(config)  # whatever JSON holds
        expected = {"box": "b", "size": 100, "colour": "red", "key": "********"}
        self.assertEqual(shown["dispatchers"]["toy"]["settings"], expected)
        self.assertEqual(config.dispatchers["toy"].settings["key"], "hunter2")

    def test_are_checked_by_type_range_and_sense(self) -> None:
        path = "dispatchers.toy.settings"
        for settings, expected in (
            ({}, [f"{path}.box: is missing; must be text"]),
            (
                {"box": 3, "size": "9"},
                [
                    f"{path}.box: is 3; must be text",
                    f'{path}.size: is "9" (text); must be a whole number of at least 1: write it without the quotes',
                ],
            ),
            ({"box": "b", "size": 0}, [f"{path}.size: is 0; must be a whole number of at least 1"]),
            ({"box": "b", "colour": "green"}, [f'{path}.colour: is "green" (text); must be one of "red", "blue"']),
            ({"box": "b", "sise": 1}, [f'{path}.sise: is not a key of the configuration; did you mean "size"?']),
            ({"box": "pandora"}, [f"{path}.box: must stay closed; name another"]),
        ):
            with self.subTest(settings=settings):
                self.assertEqual(self.refused(**self.toy(settings)), expected)

    def test_are_checked_where_no_section_is(self) -> None:
        self.assertEqual(
            self.refused(namespace="n", records={"V": ["toy"]}), ["dispatchers.toy.settings.box: is missing; must be text"]
        )

    def test_a_weak_confirmation_is_warned_of(self) -> None:
        (warning,) = self.warned(**self.toy({"box": "b"}, reliable_ack_sources={"V": "toy"}))
        self.assertRegex(warning, "^reliable_ack_sources.V: toy keeps records in memory; ")

    def test_two_sinks_do_not_hold_the_same(self) -> None:
        other = {"class": self.place, "settings": {"box": "b"}}
        changes = self.toy({"box": "b"}) | {"records": {"V": ["toy", "toy2"]}}
        problems = self.refused(**changes | {"dispatchers": {"toy": {"settings": {"box": "b"}}, "toy2": other}})
        what = "the sink toy has the file b already; give each sink one of its own"
        self.assertEqual(problems, [f"dispatchers.toy2.settings: {what}"])
        other["settings"] = {"box": "c"}
        self.load(**changes | {"dispatchers": {"toy": {"settings": {"box": "b"}}, "toy2": other}})

    def test_are_in_the_schema(self) -> None:
        schema: Any = json_schema()  # a JSON Schema
        definitions = schema["$defs"]
        reference = definitions["Config"]["properties"]["dispatchers"]["properties"]["toy"]["$ref"]
        dispatcher = definitions[reference.rpartition("/")[2]]
        section = definitions[dispatcher["properties"]["settings"]["$ref"].rpartition("/")[2]]
        self.assertEqual(set(section["properties"]), {"box", "size", "colour", "key"})
        self.assertEqual((section["required"], section["additionalProperties"]), (["box"], False))
        self.assertEqual(section["properties"]["size"]["minimum"], 1)

    def test_check_config_prints_them(self) -> None:
        self.assertIn('"colour": "red"', render_effective(self.load(**self.toy({"box": "b"})).config))


class ToyHarness(InMemoryHarness):
    def settings(self, *, timeout_s: float, bounded: bool) -> dict[str, object]:
        return {"box": "b"}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        self.sink = load(installed_sinks().third_party["toy"], "toy").make(context)
        return self.sink

    async def received(self, at_least: int) -> Sequence[Received]:
        return [Received(record.vin, record.payload) for record in self.sink.records]


class ContractTests(DispatcherContract, TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        InstalledCase.install(self, Path(folder.name))

    def make_harness(self) -> ToyHarness:
        return ToyHarness()
