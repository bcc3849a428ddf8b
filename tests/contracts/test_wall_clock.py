"""The wall clock steps by a day, forwards and backwards, under every sink: nothing that waits may notice."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import time
from typing import TYPE_CHECKING
from unittest import mock

from twisted.trial.unittest import TestCase

from fleetgw.testing.dispatcher_contract import DispatcherContract
from tests import contracts

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_S = 86_400
CLAUSES = (
    "test_receipt_after_delivery",
    "test_no_receipt_before_confirmation",
    "test_destination_out_of_reach_and_back",
    "test_stop_settles",
)


class SteppingClock:
    """Each time that somebody looks, it is a day later or earlier than the last time."""

    def __init__(self) -> None:
        self._steps_s: Iterator[int] = itertools.cycle((0, DAY_S, 0, -DAY_S))
        self._seconds, self._nanoseconds = time.time, time.time_ns
        self.looks = 0

    def seconds(self) -> float:
        self.looks += 1
        return self._seconds() + next(self._steps_s)

    def nanoseconds(self) -> int:
        self.looks += 1
        return self._nanoseconds() + next(self._steps_s) * 1_000_000_000


def contract_classes() -> dict[str, type[DispatcherContract]]:
    """Every sink's, by name, from the modules beside this one."""
    names = [module.name for module in pkgutil.iter_modules(contracts.__path__, f"{contracts.__name__}.")]
    modules = [importlib.import_module(name) for name in names if name != __name__]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, DispatcherContract) and value is not DispatcherContract
    }


class UnderSteppingClock(TestCase):
    """Goes before a contract class among the bases of a test."""

    def setUp(self) -> None:
        clock = SteppingClock()
        for name, function in (("time.time", clock.seconds), ("time.time_ns", clock.nanoseconds)):
            patched = mock.patch(name, function)
            patched.start()
            self.addCleanup(patched.stop)
        super().setUp()


class SteppingClockTests(TestCase):
    def test_steps(self) -> None:
        clock = SteppingClock()
        looks = [clock.seconds() for _ in range(5)]
        self.assertEqual([round((after - before) / DAY_S) for before, after in itertools.pairwise(looks)], [1, -1, -1, 1])


def _left_out(contract_class: type) -> dict[str, None]:
    return dict.fromkeys(name for name in dir(contract_class) if name.startswith("test_") and name not in CLAUSES)


globals().update(
    {
        f"{name}WallClock": type(f"{name}WallClock", (UnderSteppingClock, contract_class), _left_out(contract_class))
        for name, contract_class in contract_classes().items()
    }
)
