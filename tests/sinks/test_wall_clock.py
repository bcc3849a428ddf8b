"""The wall clock steps by a day, forwards and backwards, under every sink: nothing that waits may notice."""

from __future__ import annotations

import importlib
import itertools
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from fleetgw.domain.ports import RECEIPT
from fleetgw.testing.dispatcher_contract import DispatcherContract

if TYPE_CHECKING:
    Case = TestCase
else:
    Case = object  # a mixin: alone it is no test

DAY_S = 86_400
TIMEOUT_S = 3.0
CLAUSES = (
    "test_receipt_after_delivery",
    "test_no_receipt_before_confirmation",
    "test_destination_out_of_reach_and_back",
    "test_stop_settles",
)


class SteppingClock:
    """Each reading may be a day or two later or earlier than the one before."""

    def __init__(self) -> None:
        self._random = Random(0)
        self._seconds, self._nanoseconds = time.time, time.time_ns

    def _step_s(self) -> int:
        return self._random.choice((-DAY_S, 0, DAY_S))

    def seconds(self) -> float:
        return self._seconds() + self._step_s()

    def nanoseconds(self) -> int:
        return self._nanoseconds() + self._step_s() * 1_000_000_000


def contract_classes() -> dict[str, type[DispatcherContract]]:
    """Every sink's, by name."""
    files = sorted(Path(__file__).parent.glob("*/test_contract*.py"))
    modules = [importlib.import_module(f"tests.sinks.{path.parent.name}.{path.stem}") for path in files]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, DispatcherContract) and value is not DispatcherContract
    }


class UnderSteppingClock(Case):
    """Goes before a contract class among the bases of a test."""

    def setUp(self) -> None:
        clock = SteppingClock()
        for name, function in (("time.time", clock.seconds), ("time.time_ns", clock.nanoseconds)):
            patched = mock.patch(name, function)
            patched.start()
            self.addCleanup(patched.stop)
        super().setUp()


class SlowDestination(Case):
    """One clause more."""

    def test_a_slow_destination_has_its_time(self) -> Deferred[None]:
        return Deferred.fromCoroutine(cast("DispatcherContract", self).conclude(_slow_destination))


async def _slow_destination(contract: DispatcherContract) -> None:
    """Each batch is confirmed well within the sink's time-out, and several time-outs pass in all."""
    sink = await contract._started(timeout_s=TIMEOUT_S)
    await contract._delivered(sink, contract._records(1))  # a sink may open its destination after its start
    for number in range(8):
        await contract.harness.hold()
        answer = sink.dispatch(contract._records(2, start=2 * number + 1))
        await contract.harness.a_while()
        await contract.harness.release()
        contract.assertEqual(await contract.harness.until(answer), [RECEIPT] * 2, f"batch {number}")


class SteppingClockTests(TestCase):
    def test_steps(self) -> None:
        clock = SteppingClock()
        looks = [clock.seconds() for _ in range(50)]
        steps = {round((after - before) / DAY_S) for before, after in itertools.pairwise(looks)}
        self.assertEqual(steps, {-2, -1, 0, 1, 2})


NOT_SLOW = {"ConfluentKafkaContractTests"}
"""librdkafka's time-outs are not Python's, and its mock cluster takes long to be slow."""


def _under_stepping_clock(contract_class: type) -> type:
    """A test case with some clauses of a contract; made anew, as trial would also run the tests that a class inherits."""
    members = {
        name: value
        for base in reversed(contract_class.__mro__)
        if base not in TestCase.__mro__
        for name, value in vars(base).items()
        if (name in CLAUSES if name.startswith("test_") else not name.startswith("__"))
    }
    clauses = (UnderSteppingClock,) if contract_class.__name__ in NOT_SLOW else (UnderSteppingClock, SlowDestination)
    return type(f"{contract_class.__name__}WallClock", (*clauses, TestCase), members)


for _made in [_under_stepping_clock(each) for each in contract_classes().values()]:
    globals()[_made.__name__] = _made
del _made
