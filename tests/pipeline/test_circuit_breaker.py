"""A lane hears of its destination's recovery; and what it does with a sink that says one thing and does another."""

from twisted.internet.defer import Deferred

from fleetgw.app.pipeline.lane import LaneTiming
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.errors import NotConnected, Rejected
from fleetgw.domain.line_limit import INTERVAL_S, LINES
from fleetgw.domain.ports import RECEIPT, NotReady, Readiness, Ready
from tests.support.lane_case import LIMITS, LaneCase, ScriptedSink, succeeded

STEP_S = 0.05


class AwaySink(ScriptedSink):
    """Truthful: delivers while its destination is there, says so, and counts the tries made meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.is_there = True
        self.answer_with = lambda batch: succeeded([RECEIPT if self.is_there else NotConnected("away")] * len(batch))

    def readiness(self) -> Readiness:
        return Ready() if self.is_there else NotReady("away")


class RecoveryTests(LaneCase):
    def use(self, sink: ScriptedSink) -> None:
        self.sink = sink
        self.lane = self.make(LIMITS)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)

    def delivered(self) -> int:
        return sum(len(told) for told in self.origin.told)

    def test_away_and_back_again_and_again_it_delivers_within_a_second(self) -> None:
        sink = AwaySink()
        self.use(sink)
        for number in range(5):
            sink.is_there = False
            self.offer(f"{number}", origin=self.origin)
            self.pass_time(25)
            self.assertEqual(self.delivered(), number)
            sink.is_there = True
            self.pass_time(1)
            self.assertEqual(self.delivered(), number + 1, "not within a second")
            self.pass_time(7)

    def test_a_long_pause_ends_within_a_second_of_the_sinks_being_ready(self) -> None:
        sink = AwaySink()
        self.sink = sink
        self.lane = self.make(LIMITS, LaneTiming(linger_s=0.005, retry_initial_s=20.0, retry_max_s=30.0, drain_s=10.0))
        sink.is_there = False
        self.offer("1", origin=self.origin)
        self.pass_time(5)
        sink.is_there = True
        self.pass_time(1)
        self.assertEqual(self.delivered(), 1)

    def test_tries_that_never_reached_the_destination_do_not_lengthen_the_pause(self) -> None:
        sink = AwaySink()
        self.use(sink)
        sink.is_there = False
        self.offer("1", origin=self.origin)
        self.pass_time(300)
        sink.is_there = True
        sink.answer_with = lambda batch: succeeded([NotConnected("lost again")] * len(batch))
        self.pass_time(1)
        before = len(sink.batches)
        self.pass_time(3)
        self.assertGreater(len(sink.batches), before, "the pause is a long one")

    def test_a_sink_that_says_ready_and_fails_is_tried_as_the_backoff_says(self) -> None:
        sink = ScriptedSink()
        sink.answer_with = lambda batch: succeeded([NotConnected("down")] * len(batch))
        self.use(sink)
        self.offer("1")
        self.pass_time(300)
        self.assertLess(len(sink.batches), 25, "it spins")

    def test_a_sink_whose_readiness_flutters_is_tried_twice_a_second_at_most(self) -> None:
        sink = AwaySink()
        sink.answer_with = lambda batch: succeeded([NotConnected("down")] * len(batch))
        self.use(sink)
        self.offer("1")
        for _ in range(600):
            sink.is_there = not sink.is_there
            self.pass_time(0.1)
        self.assertLessEqual(len(sink.batches), 60 * 2 + 2)

    def test_a_sink_that_never_says_ready_is_tried_all_the_same(self) -> None:
        sink = AwaySink()
        self.use(sink)
        sink.is_there = False
        self.offer("1", origin=self.origin)
        self.pass_time(10)
        sink.answer_with = lambda batch: succeeded([RECEIPT] * len(batch))
        self.pass_time(1.5)
        self.assertEqual(self.delivered(), 1)

    def test_a_sink_whose_readiness_raises_is_tried_as_the_backoff_says(self) -> None:
        class Broken(ScriptedSink):
            def readiness(self) -> Readiness:
                raise RuntimeError("a bug")

        sink = Broken()
        sink.answer_with = lambda batch: succeeded([NotConnected("down")] * len(batch))
        self.use(sink)
        self.offer("1", origin=self.origin)
        self.pass_time(5)
        sink.answer_with = lambda batch: succeeded([RECEIPT] * len(batch))
        self.pass_time(30)
        self.assertEqual(self.delivered(), 1)

    def test_nothing_looks_while_nothing_pauses(self) -> None:
        sink = AwaySink()
        self.use(sink)
        self.offer("1", origin=self.origin)
        self.gather()
        sink.is_there = False
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_long_absence_is_no_flood_of_lines(self) -> None:
        sink = AwaySink()
        self.use(sink)
        sink.is_there = False
        self.offer("1")
        self.pass_time(100)
        self.assertLessEqual(len(self.log.fields_of("dispatch_retry")), 12)


class DeadLetterTests(LaneCase):
    def refuse(self, count: int, **how: object) -> list[dict[str, object]]:
        self.sink.answer_with = lambda batch: succeeded([Rejected("too large")] * len(batch))
        for number in range(count):
            self.offer(f"{number}" + "x" * 1000, **how)  # type: ignore[arg-type]
            self.gather()
        return self.log.fields_of("dead_letter")

    def test_the_last_copy_is_always_written_whole(self) -> None:
        letters = self.refuse(50)
        self.assertEqual(len([each for each in letters if "payload_base64" in each]), 50)
        self.assertEqual(len(letters[0]["metadata"]["txid"]), 1001)  # type: ignore[index]

    def test_what_the_vehicle_sends_again_is_written_without_its_payload_and_not_each_time(self) -> None:
        letters = self.refuse(50, origin=self.origin)
        self.assertEqual(len(letters), LINES)
        self.assertEqual(letters[0]["payload_bytes"], 5)
        self.assertNotIn("payload_base64", letters[0])
        self.assertLess(len(letters[0]["metadata"]["txid"]), 200)  # type: ignore[index]
        self.assertEqual(self.number("dead_letter_total"), 50)
        self.clock.advance(INTERVAL_S)
        self.assertEqual(self.refuse(1, origin=self.origin)[-1]["more_unwritten"], 50 - LINES)


class TurnTests(LaneCase):
    def test_batches_that_take_long_are_handed_over_in_turns(self) -> None:
        """So that other descriptors are served in between."""

        def slowly(_batch: object) -> Deferred[object]:
            self.clock.rightNow += 0.003  # type: ignore[attr-defined]  # nothing that is due may run meanwhile
            return Deferred()

        self.lane = self.make(BacklogLimits(queue_records=100, queue_bytes=10_000, in_flight_records=100, batch_records=4))
        self.sink.answer_with = slowly
        self.offer(*map(str, range(20)))
        handed = []
        while len(self.sink.batches) < 5:
            (call,) = self.clock.getDelayedCalls()
            self.clock.calls.remove(call)  # type: ignore[attr-defined]
            before = len(self.sink.batches)
            call.func()  # type: ignore[attr-defined]
            handed.append(len(self.sink.batches) - before)
        self.assertEqual(handed, [2, 2, 1])
