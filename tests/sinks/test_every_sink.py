"""No sink without a contract."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from unittest import TestCase

from zope.interface import implementer

import fleetgw.adapters.sinks
from fleetgw.domain.ports import IDispatcher, IPromptDispatcher
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import DispatcherHarness

HERE = Path(__file__).parent


def modules_below(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def classes_of(modules: Iterable[ModuleType]) -> set[type]:
    """Classes that these modules define."""
    return {
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__
    }


def sinks_in(classes: Iterable[type]) -> set[type]:
    """Classes with instances that provide ``IDispatcher``, through any interface and any spelling."""
    return {each for each in classes if IDispatcher.implementedBy(each) and not inspect.isabstract(each)}


def named_by(owner: type) -> set[object]:
    """Names that the methods of a class, also inherited ones, look up in their modules."""
    return {
        method.__globals__[name]
        for each in owner.__mro__
        for method in vars(each).values()
        if isinstance(method, FunctionType)
        for name in method.__code__.co_names
        if name in method.__globals__ and isinstance(method.__globals__[name], type)
    }


def without_contract(sinks: set[type], classes: Iterable[type]) -> set[type]:
    """Sinks that no harness of a subclass of ``DispatcherContract`` makes."""
    held: set[object] = set()
    for contract in classes:
        if issubclass(contract, DispatcherContract):
            for harness in named_by(contract):
                if isinstance(harness, type) and issubclass(harness, DispatcherHarness):
                    held |= named_by(harness)
    return sinks - held


class EverySinkTests(TestCase):
    def test_has_a_contract_class(self) -> None:
        sinks = sinks_in(classes_of(modules_below(fleetgw.adapters.sinks)))
        self.assertGreaterEqual(len(sinks), 11)
        files = sorted(HERE.glob("*/test_contract*.py"))
        tests = [importlib.import_module(f"tests.sinks.{path.parent.name}.{path.stem}") for path in files]
        missing = without_contract(sinks, classes_of(tests))
        self.assertEqual(missing, set(), "give each of these a DispatcherContract in tests/sinks/<name>/test_contract.py")

    def test_one_without_is_found(self) -> None:
        """By the interfaces that it provides: derived, from a base class, or by a decorator of any name."""
        provides = implementer

        @provides(IPromptDispatcher)
        class Lonely: ...

        class Derived(Lonely): ...

        class NoSink: ...

        class Harness(DispatcherHarness):
            def make_sink(self, context: object) -> Lonely:
                return Lonely(context)

        sinks = sinks_in({Lonely, Derived, NoSink})
        self.assertEqual(sinks, {Lonely, Derived})
        self.assertEqual(without_contract(sinks, ()), {Lonely, Derived})
        self.assertEqual(without_contract(sinks, {Harness}), {Lonely, Derived}, "a harness alone holds a sink to nothing")
