"""The ``embedded`` sink: order, timeouts, attempts, and turns of the reactor."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.embedded.sink import SLICE_S, EmbeddedSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import NotConnected, Rejected, Retryable, Unheard
from fleetgw.domain.ports import RECEIPT, NotReady, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record


class SlowCall(Deferred[None]):
    """A Deferred of the receiver that the test fires; notes whether it was cancelled."""

    cancelled = False

    def __init__(self, record: Record) -> None:
        super().__init__(self._note)
        self.record = record

    def _note(self, _: Deferred[None]) -> None:
        self.cancelled = True


class EmbeddedSinkTests(SynchronousTestCase):
    def start(self, **settings: object) -> EmbeddedSink:
        self.clock, self.log, self.metrics = ThreadlessReactor(), ReadableLog(), ReadableMetrics()
        sink = EmbeddedSink(SinkContext("embedded", settings, "ns", ("V",), self.clock, self.metrics, self.log))
        self.calls: list[SlowCall] = []
        sink.receiver = self.receive
        self.successResultOf(sink.start())
        return sink

    def receive(self, record: Record) -> Deferred[None]:
        self.calls.append(SlowCall(record))
        return self.calls[-1]

    def with_receiver(self) -> list[bytes]:
        return [call.record.txid for call in self.calls]

    def test_one_record_of_a_vehicle_at_a_time(self) -> None:
        sink = self.start()
        records = [make_record(vin, f"{vin}-{number}") for number in (1, 2) for vin in ("A", "B")]
        answer = sink.dispatch(records)
        self.assertEqual(self.with_receiver(), [b"A-1", b"B-1"])
        self.calls[1].callback(None)
        self.assertEqual(self.with_receiver(), [b"A-1", b"B-1", b"B-2"])
        self.calls[0].callback(None)
        self.calls[2].callback(None)
        self.assertNoResult(answer)
        self.calls[3].callback(None)
        self.assertEqual(self.successResultOf(answer), [RECEIPT] * 4)
        self.assertEqual(
            self.clock.getDelayedCalls(), [call for call in self.clock.getDelayedCalls() if call.getTime() == 0]
        )

    def test_times_out(self) -> None:
        """A record in flight is cancelled; a record behind it has the same timeout."""
        sink = self.start(listener_timeout_s=10)
        first = sink.dispatch([make_record(txid="1")])
        self.clock.advance(4)
        second = sink.dispatch([make_record(txid="2")])
        self.clock.advance(5)
        third = sink.dispatch([make_record(txid="3")])
        self.clock.advance(0.9)
        self.assertNoResult(first)
        self.clock.advance(0.1)
        (outcome,) = self.successResultOf(first)
        self.assertIsInstance(outcome, Retryable)
        self.assertIn("within 10 s", str(outcome))
        self.assertTrue(self.calls[0].cancelled)
        self.assertEqual(self.with_receiver(), [b"1", b"2"])
        self.clock.advance(9)
        (outcome,) = self.successResultOf(third)
        self.assertIn("earlier ones for 10 s", str(outcome))
        self.assertNoResult(second)
        self.clock.advance(1)
        self.assertIsInstance(self.successResultOf(second)[0], Retryable)
        self.assertEqual(self.with_receiver(), [b"1", b"2"], "the third has timed out and is not handed over")
        self.assertEqual(self.log.fields_of("embedded_listener_error"), [])
        fourth = sink.dispatch([make_record(txid="4")])
        self.calls[-1].callback(None)
        self.assertEqual(self.successResultOf(fourth), [RECEIPT])

    def test_a_record_that_fails_repeatedly_is_rejected(self) -> None:
        sink = self.start(attempts=3)
        record, other = make_record(txid="1"), make_record(txid="2")
        kinds = []
        for _ in range(3):
            answer = sink.dispatch([record])
            self.calls[-1].errback(ValueError("no"))
            kinds.append(type(self.successResultOf(answer)[0]))
        self.assertEqual(kinds, [Retryable, Retryable, Rejected])
        answer = sink.dispatch([other])
        self.calls[-1].errback(ValueError("no"))
        self.assertIsInstance(self.successResultOf(answer)[0], Retryable)
        (failure,) = self.log.fields_of("embedded_listener_error")
        self.assertEqual((failure["attempt"], failure["txid"]), (1, "1"))
        self.assertEqual(self.metrics.value("embedded_err", "V"), 4)

    def test_without_a_limit_it_is_retried_for_ever(self) -> None:
        sink = self.start(attempts=0)
        record = make_record()
        for _ in range(20):
            answer = sink.dispatch([record])
            self.calls[-1].errback(ValueError("no"))
            self.assertIsInstance(self.successResultOf(answer)[0], Retryable)

    def test_a_delivery_error_of_the_receiver_is_the_outcome(self) -> None:
        sink = self.start()
        for error in (Rejected("never"), Retryable("later"), Unheard("nobody")):
            answer = sink.dispatch([make_record()])
            self.calls[-1].errback(error)
            self.assertEqual(self.successResultOf(answer), [error])
        self.assertEqual([event for _, event, _ in self.log.entries], ["sink_ready"], "and no failure")

    def test_yields_to_the_reactor(self) -> None:
        sink = self.start()
        got: list[Record] = []

        def work(record: Record) -> None:
            got.append(record)
            self.clock.rightNow += SLICE_S / 4  # time passes while it works

        sink.receiver = work
        answers = [sink.dispatch([make_record(txid=str(number))]) for number in range(20)]
        self.assertLess(len(got), 8)
        for _ in range(10):
            self.clock.advance(0)
        self.assertEqual([self.successResultOf(answer) for answer in answers], [[RECEIPT]] * 20)
        self.assertEqual([record.txid for record in got], [b"%d" % number for number in range(20)])

    def test_a_receiver_that_fires_other_answers(self) -> None:
        """Each record is handed over once, in order, also when listeners fire other Deferreds."""
        sink = self.start()
        order: list[bytes] = []

        def receive(record: Record) -> Deferred[None] | None:
            order.append(record.txid)
            if record.vin == "A":
                return self.receive(record)
            for call in self.calls:
                if not call.called:
                    call.callback(None)
            return None

        sink.receiver = receive
        answer = sink.dispatch([make_record("A", "A-1"), make_record("A", "A-2"), make_record("B", "B-1")])
        self.assertEqual(order, [b"A-1", b"B-1", b"A-2"])
        self.calls[-1].callback(None)
        self.assertEqual(self.successResultOf(answer), [RECEIPT] * 3)

    def test_readiness_follows_the_receiver(self) -> None:
        sink = self.start()
        sink.receiver = None
        self.assertEqual(sink.readiness(), NotReady("no program listens"))
        (outcome,) = self.successResultOf(sink.dispatch([make_record()]))
        self.assertIsInstance(outcome, NotConnected)
        sink.receiver = self.receive
        self.assertEqual(sink.readiness(), Ready())
        self.assertEqual([event for _, event, _ in self.log.entries], ["sink_ready", "sink_not_ready", "sink_ready"])

    def test_cancelling_stop_cancels_the_listener(self) -> None:
        sink = self.start()
        answer = sink.dispatch([make_record(txid="1"), make_record(txid="2")])
        stopped = sink.stop()
        self.assertNoResult(stopped)
        stopped.cancel()
        self.successResultOf(stopped)
        self.assertTrue(self.calls[0].cancelled)
        self.assertEqual([type(outcome) for outcome in self.successResultOf(answer)], [Retryable] * 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])
