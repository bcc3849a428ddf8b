"""``Requests``: batching, linger, retries with backoff, bisection, timeouts; over a sink without a service."""

from collections.abc import Callable, Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.adapters.sinks.support.request_errors import BatchRejected, Busy
from fleetgw.adapters.sinks.support.requests import Requests
from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits
from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, Outcome
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record

BUSY = Busy("busy")


class Sent:
    """One request in flight."""

    def __init__(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        self.destination = destination
        self.records = records
        self.done = done

    @property
    def texts(self) -> list[str]:
        return [record.payload.decode() for record in self.records]

    def receipts(self) -> None:
        self.done([RECEIPT] * len(self.records))


class RequestsOnly(LifecycleSink):
    """A sink that only makes requests."""

    def __init__(self, context: SinkContext, limits: RequestLimits, send) -> None:
        failures = FailureLog(context.log, "s_err", context.reactor)
        metrics = PublishMetrics(context.metrics, "s", "Published.", context.record_types)
        super().__init__(context, timeout_s=10, metrics=metrics)
        self.requests = Requests(
            context.reactor,
            {"V": "one", "alerts": "two", "errors": "one"},
            limits,
            send=send,
            finish=self.finish,
            failures=failures,
            random=Random(0),
        )

    def deliver(self, dispatch: Dispatch) -> None:
        self.requests.add(dispatch)

    def timed_out(self, dispatch: Dispatch) -> None:
        self.requests.drop(dispatch)
        super().timed_out(dispatch)

    def close(self) -> None:
        self.requests.stop()


class RequestsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.make()

    def make(self, *, begin: bool = True, one_vehicle: bool = False, **limits: int) -> None:
        self.clock = ThreadlessReactor()
        self.metrics = ReadableMetrics()
        self.sent: list[Sent] = []
        limits = {"records": 5, "size_bytes": 1000, "record_overhead_bytes": 10, "requests": 2, **limits}
        self.log = ReadableLog()
        self.sink = RequestsOnly(
            SinkContext("s", {}, "fleet", ("V", "alerts", "errors"), self.clock, self.metrics, self.log),
            RequestLimits(**limits, payload_bytes=900, retries=2, one_vehicle=one_vehicle),
            self.send,
        )
        self.sink.start()
        if begin:
            self.sink.requests.begin()

    def send(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        self.sent.append(Sent(destination, records, done))

    def dispatch(self, *texts: str, record_type: str = "V"):
        """The first letter of a text is the vehicle: ``a1 a2 b1`` are records of a and b."""
        batch = [make_record(text[0], payload=text.encode(), record_type=record_type) for text in texts]
        answer = self.sink.dispatch(batch)
        self.clock.advance(0)
        return answer

    def requests_sent(self) -> list[list[str]]:
        return [sent.texts for sent in self.sent]


class RequestsTests(RequestsCase):
    def test_records_that_come_during_a_request_leave_together(self) -> None:
        answers = [self.dispatch("a1"), self.dispatch("b1"), self.dispatch("a2", "c1")]
        self.assertEqual(self.requests_sent(), [["a1"]])
        self.sent[0].receipts()
        self.assertEqual(self.successResultOf(answers[0]), [RECEIPT])
        self.clock.advance(0.004)
        self.assertEqual(len(self.sent), 1, "the first vehicle may still send its next record")
        self.clock.advance(0.001)
        self.assertEqual(self.requests_sent(), [["a1"], ["b1", "c1", "a2"]])
        self.sent[1].receipts()
        self.assertEqual(self.successResultOf(answers[2]), [RECEIPT, RECEIPT])
        self.assertEqual(self.metrics.value("s_publish_total", "V"), 4)
        self.assertEqual(self.metrics.value("s_publish_total_bytes", "V"), 8)

    def test_linger_ends_once_as_many_records_wait_as_were_confirmed(self) -> None:
        self.dispatch("a1", "b1")
        self.dispatch("c1")
        self.sent[0].receipts()
        self.dispatch("a2")
        self.clock.advance(0.001)
        self.assertEqual(len(self.sent), 1, "it lingers for the next record of b")
        self.dispatch("b2")
        self.assertEqual(self.requests_sent()[1:], [["c1", "a2", "b2"]])
        self.sent[1].receipts()
        self.dispatch("a3", "b3", "c3")
        self.assertEqual(self.requests_sent()[2:], [["a3", "b3", "c3"]], "the expectation starts over")

    def test_no_linger_after_rejected_records(self) -> None:
        self.dispatch("a1", "b1")
        self.dispatch("c1")
        self.sent[0].done([Rejected("no"), Rejected("no")])
        self.clock.advance(0)
        self.assertEqual(self.requests_sent()[1:], [["c1"]])

    def test_full_requests_leave_at_once_up_to_the_limit(self) -> None:
        self.dispatch("a1")
        self.dispatch(*(f"{vin}1" for vin in "bcdefghijklm"))
        self.assertEqual(self.requests_sent(), [["a1"], ["b1", "c1", "d1", "e1", "f1"]])
        self.sent[1].receipts()
        self.assertEqual(self.requests_sent()[2:], [["g1", "h1", "i1", "j1", "k1"]])

    def test_a_vehicle_has_one_request_in_flight(self) -> None:
        self.dispatch("a1")
        self.dispatch("a2", "a3", "a4", "a5", "a6", "b1")
        self.assertEqual(self.requests_sent(), [["a1"]])
        self.sent[0].receipts()
        self.assertEqual(self.requests_sent()[1:], [["b1", "a2", "a3", "a4", "a5"]])
        self.sent[1].receipts()
        self.clock.advance(1)
        self.assertEqual(self.requests_sent()[2:], [["a6"]])

    def test_size_of_a_request(self) -> None:
        self.make(size_bytes=100)
        texts = ["a" + "x" * 39, "a" + "y" * 39, "b" + "z" * 39]
        self.dispatch(*texts)
        self.assertEqual(self.requests_sent(), [texts[:2]])

    def test_destinations_do_not_wait_for_each_other(self) -> None:
        self.dispatch("a1")
        self.dispatch("a2", record_type="alerts")
        self.dispatch("a3", record_type="errors")
        self.assertEqual([(sent.destination, sent.texts) for sent in self.sent], [("one", ["a1"]), ("two", ["a2"])])

    def test_one_vehicle_a_request(self) -> None:
        self.make(one_vehicle=True, requests=3)
        self.dispatch("a1", "b1", "a2", "c1", "d1")
        self.assertEqual(self.requests_sent(), [["a1", "a2"], ["b1"], ["c1"]])
        self.sent[1].receipts()
        self.clock.advance(1)
        self.assertEqual(self.requests_sent()[3:], [["d1"]])

    def test_a_record_that_is_too_large_is_rejected_alone(self) -> None:
        answer = self.dispatch("a1", "a" * 901, "a2")
        self.sent[0].receipts()
        outcomes = self.successResultOf(answer)
        self.assertEqual([type(outcome) for outcome in outcomes[::2]], [type(RECEIPT)] * 2)
        self.assertIs(type(outcomes[1]), Rejected)
        self.assertEqual(str(outcomes[1]), "a record of 901 bytes; 900 is the most that is taken")
        self.assertEqual(self.metrics.value("s_err", "V"), 1)

    def test_unrouted_type(self) -> None:
        (outcome,) = self.successResultOf(self.dispatch("a1", record_type="mine"))
        self.assertIs(type(outcome), Rejected)
        self.assertEqual(self.sent, [])
        self.assertEqual(str(outcome), "'mine' is not routed to s")

    def test_throttled_in_part(self) -> None:
        """A throttled record goes before later ones of its vehicle; others do not wait for the backoff."""
        answer = self.dispatch("a1", "a2", "b1", "c1")
        self.dispatch("a3", "b2")
        self.sent[0].done([RECEIPT, BUSY, RECEIPT, BUSY])
        self.clock.advance(0.01)
        self.assertEqual(self.requests_sent()[1:], [["b2"]])
        self.sent[1].receipts()
        self.clock.advance(0.05)
        self.assertEqual(self.requests_sent()[2:], [["a2", "a3", "c1"]])
        self.assertNoResult(answer)
        self.sent[2].receipts()
        self.assertEqual(self.successResultOf(answer), [RECEIPT] * 4)
        self.assertEqual(self.metrics.value("s_err", "V"), 0)

    def test_throttled_beyond_the_retries(self) -> None:
        answer = self.dispatch("a1")
        for attempt in range(3):
            self.assertEqual(len(self.sent), attempt + 1)
            self.sent[-1].done([BUSY])
            self.clock.advance(0.5)
        (outcome,) = self.successResultOf(answer)
        self.assertIs(type(outcome), Retryable)
        self.assertEqual(self.metrics.value("s_err", "V"), 1)

    def test_rejected_batch_is_bisected(self) -> None:
        """Until the bad record is alone; bisecting costs no retries."""
        answer = self.dispatch("a1", "a2", "a3", "ax", "a5")
        while self.sent:
            sent = self.sent.pop(0)
            if "ax" in sent.texts:
                sent.done([BatchRejected("something is wrong with one of them")] * len(sent.records))
            else:
                sent.receipts()
            self.clock.advance(0.01)
        outcomes = self.successResultOf(answer)
        self.assertEqual([type(outcome) for outcome in outcomes].index(Rejected), 3)
        self.assertEqual(outcomes.count(RECEIPT), 4)

    def test_unanswered_while_others_were_confirmed(self) -> None:
        """The fault concerns this record, not the connection: others need not wait for it."""
        stuck = self.dispatch("a1")
        self.clock.advance(9)
        for number in range(5):
            self.dispatch(*(f"{vin}{number}" for vin in "bcdef"))
        self.sent[1].receipts()
        self.clock.advance(1)
        (outcome,) = self.successResultOf(stuck)
        self.assertIs(type(outcome), Retryable)
        self.assertEqual(str(outcome), "no answer within 10 s, while others were confirmed")

    def test_timeout(self) -> None:
        """Of waiting records and of those in flight; a late answer is not counted, and the vehicle goes on."""
        answers = [self.dispatch("a1"), self.dispatch("a2")]
        self.clock.advance(9.9)
        self.assertNoResult(answers[0])
        self.clock.advance(0.1)
        for answer in answers:
            (outcome,) = self.successResultOf(answer)
            self.assertIs(type(outcome), NotConnected)
            self.assertEqual(str(outcome), "no answer within 10 s")
        later = self.dispatch("a3")
        self.sent[0].receipts()
        self.clock.advance(1)
        self.assertEqual(self.requests_sent()[1:], [["a3"]])
        self.sent[1].receipts()
        self.assertEqual(self.successResultOf(later), [RECEIPT])
        self.assertEqual(self.metrics.value("s_publish_total", "V"), 1)
        self.assertEqual(self.metrics.value("s_err", "V"), 2)

    def test_nothing_leaves_before_begin(self) -> None:
        self.make(begin=False)
        self.dispatch("a1", *(f"{vin}1" for vin in "bcdefgh"))
        self.clock.advance(1)
        self.assertEqual(self.sent, [])
        self.sink.requests.begin()
        self.assertEqual(self.requests_sent(), [["a1", "b1", "c1", "d1", "e1"]])

    def test_stopped(self) -> None:
        answer = self.dispatch("a1")
        stopped = self.sink.stop()
        self.assertNoResult(stopped)
        self.sent[0].receipts()
        self.successResultOf(answer)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_given_up(self) -> None:
        answers = [self.dispatch("a1"), self.dispatch("a2")]
        stopped = self.sink.stop()
        stopped.cancel()
        for answer in answers:
            (outcome,) = self.successResultOf(answer)
            self.assertIs(type(outcome), Retryable)
            self.assertEqual(str(outcome), "the s sink stopped before the record was delivered")
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.sent[0].receipts()
        self.clock.advance(1)
        self.assertEqual(len(self.sent), 1)

    def test_given_up_during_a_backoff(self) -> None:
        answer = self.dispatch("a1")
        self.sent[0].done([BUSY])
        stopped = self.sink.stop()
        stopped.cancel()
        self.successResultOf(answer)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AnyOrderTests(RequestsCase):
    @settings(max_examples=200)
    @given(
        st.booleans(),
        st.integers(1, 5),
        st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), max_size=12),
        st.randoms(use_true_random=False),
    )
    def test_every_record_has_one_outcome_and_stays_in_order(self, one_vehicle, requests, batches, random) -> None:
        """Whatever the service answers, in any order: no record is lost or sent twice after a receipt, and order is kept."""
        self.make(one_vehicle=one_vehicle, requests=requests)
        taken: list[str] = []
        answers, number = [], 0
        for batch in batches:
            texts = [f"{vin}{number + place:03d}" for place, vin in enumerate(batch)]
            number += len(batch)
            answers.append((texts, self.dispatch(*texts)))
            self.answer_some(random, taken)
        for _ in range(500):
            self.answer_some(random, taken)
            self.clock.advance(0.1 if self.clock.seconds() < 5 else 0)
            if not self.sent and not [call for call in self.clock.getDelayedCalls() if call.getTime() < 10]:
                break
        for texts, answer in answers:
            outcomes = self.successResultOf(answer)
            self.assertEqual(len(outcomes), len(texts))
            for text, outcome in zip(texts, outcomes, strict=True):
                self.assertEqual(taken.count(text), int(outcome is RECEIPT), text)

    def answer_some(self, random, taken: list[str]) -> None:
        vehicles = [text[0] for sent in self.sent for text in {one[0] for one in sent.texts}]
        self.assertEqual(len(vehicles), len(set(vehicles)), "two requests of one vehicle in flight")
        while self.sent and random.random() < 0.7:
            sent = self.sent.pop(random.randrange(len(self.sent)))
            for vin in {text[0] for text in sent.texts}:
                own = [text for text in sent.texts if text[0] == vin]
                self.assertEqual(own, sorted(own))
            outcomes = [random.choice([RECEIPT, RECEIPT, BUSY]) for _ in sent.records]
            taken += [text for text, outcome in zip(sent.texts, outcomes, strict=True) if outcome is RECEIPT]
            sent.done(outcomes)
