"""Readiness by looks and answers, and when a look is due."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.support.destination_watch import (
    LOOK_MAX_S,
    DestinationWatch,
    Missing,
    OperatorActionRequired,
    Unreachable,
)
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.domain.ports import RECEIPT, NotReady, Ready
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadlessReactor()
        self.looks = 0
        failures = FailureLog(ReadableLog(), "s_err", self.clock)
        self.watch = DestinationWatch(self.clock, self.look, failures, Random(0))

    def look(self) -> None:
        self.looks += 1

    def started(self) -> None:
        self.watch.start()
        self.watch.looked({"one": None, "two": None})

    def test_until_the_first_look(self) -> None:
        self.assertEqual(self.watch.readiness(), NotReady("not started"))
        self.watch.start()
        self.assertEqual(self.watch.readiness(), NotReady("has not answered yet"))
        self.watch.looked({"one": None, "two": None})
        self.assertEqual(self.watch.readiness(), Ready())
        self.clock.advance(LOOK_MAX_S)
        self.assertEqual(self.looks, 1)

    def test_looks_ever_less_often_while_something_is_wrong(self) -> None:
        self.watch.start()
        times = []
        while self.looks < 10:
            self.watch.looked({"one": Unreachable("nobody there"), "two": None})
            self.assertEqual(self.watch.readiness(), NotReady("nobody there"))
            (call,) = self.clock.getDelayedCalls()
            times.append(call.getTime() - self.clock.seconds())
            self.clock.advance(times[-1])
        for time_s, pause_s in zip(times, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True):
            self.assertTrue(pause_s / 2 <= time_s <= pause_s, times)

    def test_one_destination_is_found_wrong_until_a_record_arrives(self) -> None:
        self.started()
        self.watch.answered("one", [Missing("does not exist")])
        self.assertEqual(self.watch.readiness(), NotReady("one: does not exist"))
        self.watch.answered("two", [RECEIPT])
        self.assertEqual(self.watch.readiness(), NotReady("one: does not exist"))
        self.watch.answered("one", [RECEIPT])
        self.assertEqual(self.watch.readiness(), Ready())

    def test_one_destination_is_found_wrong_until_a_look_finds_better(self) -> None:
        self.started()
        self.watch.answered("one", [Missing("does not exist")])
        self.clock.advance(1)
        self.assertEqual(self.looks, 2)
        self.watch.looked({"one": None, "two": None})
        self.assertEqual(self.watch.readiness(), Ready())

    def test_what_somebody_must_mend_lasts_until_a_record_arrives(self) -> None:
        self.started()
        self.watch.answered("one", [OperatorActionRequired("no permission")])
        self.watch.looked({"one": None, "two": None})
        self.assertEqual(self.watch.readiness(), NotReady("one: no permission"))
        self.watch.answered("one", [RECEIPT])
        self.assertEqual(self.watch.readiness(), Ready())

    def test_out_of_reach_is_over_with_any_answer(self) -> None:
        self.started()
        self.watch.answered("one", [Unreachable("nobody there")])
        self.assertEqual(self.watch.readiness(), NotReady("nobody there"))
        self.watch.answered("two", [RECEIPT])
        self.assertEqual(self.watch.readiness(), Ready())

    def test_stopped(self) -> None:
        self.started()
        self.watch.answered("one", [Unreachable("nobody there")])
        self.watch.stop()
        self.watch.looked({"one": None})
        self.watch.answered("one", [Unreachable("nobody there")])
        self.assertEqual(self.watch.readiness(), NotReady("stopped"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
