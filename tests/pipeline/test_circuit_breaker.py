"""A lane whose sink cannot reach its destination: backoff and recovery."""

from fleetgw.app.pipeline.lane import LaneTiming
from fleetgw.domain.errors import NotConnected
from fleetgw.domain.ports import RECEIPT, NotReady, Readiness, Ready
from tests.support.lane_case import LIMITS, LaneCase, ScriptedSink, succeeded

STEP_S = 0.05


class OutageSink(ScriptedSink):
    """A sink that delivers while its destination is there, and whose readiness says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_there = True
        self.answer_with = lambda batch: succeeded([RECEIPT if self.is_there else NotConnected("away")] * len(batch))

    def readiness(self) -> Readiness:
        return Ready() if self.is_there else NotReady("away")


class BackoffTests(LaneCase):
    def pauses(self) -> list[float]:
        return [float(str(fields["pause_s"])) for fields in self.log.fields_of("dispatch_retry")]

    def test_the_backoff_grows_with_jitter_within_bounds(self) -> None:
        self.offer("1")
        self.linger()
        for number in range(9):
            self.sink.answer(number, NotConnected("down"))
            self.assertEqual(len(self.sink.batches), number + 1)
            self.clock.advance(self.pauses()[-1])
        for number, pause_s in enumerate(self.pauses()):
            longest = min(30.0, 2.0**number)
            self.assertTrue(longest / 2 <= pause_s <= longest, (number, pause_s))
        self.assertEqual(len({pause_s / min(30.0, 2.0**n) for n, pause_s in enumerate(self.pauses())}), 9, "no jitter")

    def test_batches_that_fail_together_are_one_failure(self) -> None:
        self.offer(*"abcdefgh")
        self.linger()
        self.sink.answer(1, NotConnected("down"))
        self.sink.answer(0, NotConnected("down"))
        self.assertEqual(len(self.pauses()), 1)
        self.clock.advance(1)
        self.assertEqual(self.sink.txids[2:], [list("abcd"), list("efgh")])
        self.sink.answer(2, NotConnected("down"))
        self.assertTrue(1 <= self.pauses()[-1] <= 2, self.pauses())

    def test_no_batch_is_dispatched_while_the_circuit_is_open(self) -> None:
        self.offer("1")
        self.linger()
        self.sink.answer(0, NotConnected("down"))
        self.offer("2")
        self.clock.advance(0.4)
        self.assertEqual(len(self.sink.batches), 1)
        self.clock.advance(0.6)
        self.assertEqual(self.sink.txids[1:], [["1"], ["2"]])

    def test_opening_the_circuit_replaces_a_scheduled_dispatch(self) -> None:
        self.offer("1")
        self.linger()
        self.offer("2")
        self.sink.answer(0, NotConnected("down"))
        self.linger()
        self.assertEqual(len(self.sink.batches), 1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_success_starts_the_backoff_over(self) -> None:
        self.offer("1", "2")
        self.linger()
        for number in range(3):
            self.sink.answer(number, NotConnected("down"))
            self.clock.advance(30)
        self.sink.answer(3, RECEIPT, NotConnected("down"))
        self.assertLessEqual(self.pauses()[-1], 1)


class RecoveryTests(LaneCase):
    def use(self, sink: ScriptedSink) -> None:
        self.sink = sink
        self.lane = self.make(LIMITS)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)

    def delivered(self) -> int:
        return sum(len(txids) for txids in self.origin.confirmed_txids)

    def test_records_are_delivered_within_a_second_of_each_recovery(self) -> None:
        sink = OutageSink()
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

    def test_a_long_backoff_ends_within_a_second_of_the_sinks_readiness(self) -> None:
        sink = OutageSink()
        self.sink = sink
        self.lane = self.make(LIMITS, LaneTiming(linger_s=0.005, retry_initial_s=20.0, retry_max_s=30.0, drain_s=10.0))
        sink.is_there = False
        self.offer("1", origin=self.origin)
        self.pass_time(5)
        sink.is_there = True
        self.pass_time(1)
        self.assertEqual(self.delivered(), 1)

    def test_attempts_that_never_reached_the_destination_do_not_lengthen_the_backoff(self) -> None:
        sink = OutageSink()
        self.use(sink)
        sink.is_there = False
        self.offer("1", origin=self.origin)
        self.pass_time(300)
        sink.is_there = True
        sink.answer_with = lambda batch: succeeded([NotConnected("lost again")] * len(batch))
        self.pass_time(1)
        before = len(sink.batches)
        self.pass_time(3)
        self.assertGreater(len(sink.batches), before, "the backoff is a long one")

    def test_a_sink_that_is_ready_but_fails_is_retried_with_backoff(self) -> None:
        sink = ScriptedSink()
        sink.answer_with = lambda batch: succeeded([NotConnected("down")] * len(batch))
        self.use(sink)
        self.offer("1")
        self.pass_time(300)
        self.assertLess(len(sink.batches), 25, "retried without backoff")

    def test_a_sink_whose_readiness_flaps_is_retried_at_most_twice_a_second(self) -> None:
        sink = OutageSink()
        sink.answer_with = lambda batch: succeeded([NotConnected("down")] * len(batch))
        self.use(sink)
        self.offer("1")
        for _ in range(600):
            sink.is_there = not sink.is_there
            self.pass_time(0.1)
        self.assertLessEqual(len(sink.batches), 60 * 2 + 2)

    def test_a_sink_that_is_never_ready_is_retried(self) -> None:
        sink = OutageSink()
        self.use(sink)
        sink.is_there = False
        self.offer("1", origin=self.origin)
        self.pass_time(10)
        sink.answer_with = lambda batch: succeeded([RECEIPT] * len(batch))
        self.pass_time(1.5)
        self.assertEqual(self.delivered(), 1)

    def test_a_sink_whose_readiness_raises_is_retried_with_backoff(self) -> None:
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

    def test_readiness_is_not_polled_while_the_circuit_is_closed(self) -> None:
        sink = OutageSink()
        self.use(sink)
        self.offer("1", origin=self.origin)
        self.linger()
        sink.is_there = False
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_long_outage_writes_few_lines(self) -> None:
        sink = OutageSink()
        self.use(sink)
        sink.is_there = False
        self.offer("1")
        self.pass_time(100)
        self.assertLessEqual(len(self.log.fields_of("dispatch_retry")), 12)
