"""Readiness by probes and requests, and the times of probes."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.destination import Destination
from fleetgw.adapters.sinks.support.destination_watch import PROBE_MAX_S, DestinationWatch
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.request_errors import Missing, OperatorActionRequired, Unreachable
from fleetgw.domain.ports import RECEIPT, NotReady, Ready
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadlessReactor()
        self.probes = 0
        self.log = ReadableLog()
        context = SinkContext("s", {}, "fleet", ("V", "alerts"), self.clock, ReadableMetrics(), self.log)
        self.destination = Destination(context)
        failures = FailureLog(self.log, "s_err", self.clock)
        self.watch = DestinationWatch(self.clock, self.destination, self.probe, failures, Random(0))

    def probe(self) -> None:
        self.probes += 1

    def started(self) -> None:
        self.watch.start()
        self.watch.probed({"one": None, "two": None})

    def test_until_the_first_probe(self) -> None:
        self.assertEqual(self.destination.readiness, NotReady("not started"))
        self.watch.start()
        self.assertEqual(self.destination.readiness, NotReady("has not answered yet"))
        self.watch.probed({"one": None, "two": None})
        self.assertEqual(self.destination.readiness, Ready())
        self.clock.advance(PROBE_MAX_S)
        self.assertEqual(self.probes, 1)

    def test_probes_back_off_while_there_is_a_fault(self) -> None:
        self.watch.start()
        times = []
        while self.probes < 10:
            self.watch.probed({"one": Unreachable("nobody there"), "two": None})
            self.assertEqual(self.destination.readiness, NotReady("nobody there"))
            (call,) = self.clock.getDelayedCalls()
            times.append(call.getTime() - self.clock.seconds())
            self.clock.advance(times[-1])
        for time_s, pause_s in zip(times, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True):
            self.assertTrue(pause_s / 2 <= time_s <= pause_s, times)

    def test_fault_of_a_destination_lasts_until_a_record_arrives(self) -> None:
        self.started()
        self.watch.answered("one", [Missing("does not exist")])
        self.assertEqual(self.destination.readiness, NotReady("one: does not exist"))
        self.watch.answered("two", [RECEIPT])
        self.assertEqual(self.destination.readiness, NotReady("one: does not exist"))
        self.watch.answered("one", [RECEIPT])
        self.assertEqual(self.destination.readiness, Ready())

    def test_fault_of_a_destination_lasts_until_a_probe_succeeds(self) -> None:
        self.started()
        self.watch.answered("one", [Missing("does not exist")])
        self.clock.advance(1)
        self.assertEqual(self.probes, 2)
        self.watch.probed({"one": None, "two": None})
        self.assertEqual(self.destination.readiness, Ready())

    def test_required_action_of_an_operator_lasts_until_a_record_arrives(self) -> None:
        self.started()
        self.watch.answered("one", [OperatorActionRequired("no permission")])
        self.watch.probed({"one": None, "two": None})
        self.assertEqual(self.destination.readiness, NotReady("one: no permission"))
        self.watch.answered("one", [RECEIPT])
        self.assertEqual(self.destination.readiness, Ready())

    def test_any_answer_ends_unreachable(self) -> None:
        self.started()
        self.watch.answered("one", [Unreachable("nobody there")])
        self.assertEqual(self.destination.readiness, NotReady("nobody there"))
        self.watch.answered("two", [RECEIPT])
        self.assertEqual(self.destination.readiness, Ready())

    def test_stopped(self) -> None:
        self.started()
        self.watch.answered("one", [Unreachable("nobody there")])
        self.watch.stop()
        self.destination.stopped()
        self.watch.probed({"one": None})
        self.watch.answered("one", [Unreachable("nobody there")])
        self.assertEqual(self.destination.readiness, NotReady("stopped"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
