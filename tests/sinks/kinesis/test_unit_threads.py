"""The threads of the Kinesis sink: their number, their names and their end."""

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.sinks.kinesis.settings import KinesisSettings
from fleetgw.adapters.sinks.kinesis.sink import KinesisSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import RECEIPT, Outcome
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.support.workers import HeldWorker


class Client:
    def __init__(self, settings: KinesisSettings) -> None:
        pass

    def put(self, stream: str, records: Sequence[Record]) -> Sequence[Outcome]:
        return [RECEIPT] * len(records)

    def fault(self, stream: str) -> None:
        return None

    def close(self) -> None:
        pass


class ThreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadlessReactor()
        self.workers: list[HeldWorker] = []
        types = ("V", "alerts")
        context = SinkContext("kinesis", {}, "fleet", types, self.clock, ReadableMetrics(), ReadableLog())
        self.sink = KinesisSink(context, Client, self.make_worker, environ={})
        self.sink.start()
        self.workers[0].work()
        self.clock.advance(0)

    def make_worker(self, name: str) -> HeldWorker:
        self.workers.append(HeldWorker(name))
        return self.workers[-1]

    def dispatch(self, record_type: str):
        answer = self.sink.dispatch([make_record("a", record_type=record_type)])
        self.clock.advance(0)
        return answer

    def test_one_for_each_request_in_flight(self) -> None:
        """An idle thread takes the next request."""
        answers = [self.dispatch("V"), self.dispatch("alerts")]
        self.workers[2].work()
        self.clock.advance(0)
        answers.append(self.dispatch("alerts"))
        self.clock.advance(1)
        self.assertEqual(
            [(worker.name, len(worker.jobs)) for worker in self.workers],
            [("fleetgw-kinesis-watch", 0), ("fleetgw-kinesis-1", 1), ("fleetgw-kinesis-2", 1)],
        )
        for worker in self.workers[1:]:
            worker.work()
        self.clock.advance(0)
        self.assertEqual([self.successResultOf(answer) for answer in answers], [[RECEIPT]] * 3)

    def test_all_end_with_the_sink(self) -> None:
        self.dispatch("V")
        stopped = self.sink.stop()
        self.assertEqual([worker.has_quit for worker in self.workers], [False, False])
        self.workers[1].work()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual([worker.has_quit for worker in self.workers], [True, True])
