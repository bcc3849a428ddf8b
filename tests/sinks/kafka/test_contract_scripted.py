"""Both Kafka sinks keep the contract over scripted clients, on a clock that the test advances."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.kafka.confluent import ConfluentKafkaSink
from fleetgw.adapters.sinks.kafka.kafka_library import BrokerResponseError, KafkaConnectionError, KafkaTimeoutError
from fleetgw.adapters.sinks.kafka.kafka_python import KafkaPythonSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import IDispatcher
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received
from tests.support.workers import InlineWorker

MAX_MESSAGE_BYTES = 1_000_000


class TooLarge(BrokerResponseError):
    errno = 10


class Future:
    """``kafka.future.Future`` as far as the sink uses it."""

    def __init__(self) -> None:
        self.succeeded: list[Callable] = []
        self.failed: list[Callable] = []

    def add_callback(self, call: Callable) -> None:
        self.succeeded.append(call)

    def add_errback(self, call: Callable) -> None:
        self.failed.append(call)

    def success(self, value: object) -> None:
        for call in self.succeeded:
            call(value)

    def failure(self, error: Exception) -> None:
        for call in self.failed:
            call(error)


class Broker:
    """The broker that both scripted clients send to."""

    def __init__(self) -> None:
        self.log: list[Received] = []
        self.down = False
        self.held = False

    @property
    def confirms(self) -> bool:
        return not self.down and not self.held


class ReportedMessage:
    """A delivery report's message, with its offset or without."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def offset(self) -> int | None:
        return self._offset


class ScriptedConfluentProducer:
    """``confluent_kafka.Producer`` as far as the sink uses it."""

    def __init__(self, broker: Broker, clock: Clock, conf: Mapping[str, object], logger: object) -> None:
        self.broker = broker
        self.clock = clock
        self.conf = conf
        self.queue: list[tuple[float, Received, Callable]] = []
        self.said_down = False
        self.purged = False

    def __len__(self) -> int:
        return len(self.queue)

    def produce(self, topic, value, key, partition, callback, on_delivery, timestamp, headers) -> None:
        if len(self.queue) >= int(self.conf.get("queue.buffering.max.messages", 100_000)):
            raise BufferError("Local: Queue full")
        if len(value) > MAX_MESSAGE_BYTES:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        deadline_s = self.clock.seconds() + int(self.conf["message.timeout.ms"]) / 1000
        self.queue.append((deadline_s, Received(key, value), callback))

    def poll(self, timeout_s: float) -> None:
        if timeout_s:
            raise AssertionError("the reactor would block")
        broker = self.broker
        if broker.down and not self.said_down:
            self.conf["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
        self.said_down = broker.down
        self.conf["stats_cb"]('{"brokers":{"a":{"state":"%s"}}}' % ("DOWN" if broker.down else "UP"))
        queue, self.queue = self.queue, []
        for deadline_s, record, report in queue:
            if broker.confirms:
                broker.log.append(record)
                report(None, ReportedMessage(len(broker.log)))
            elif self.purged:
                report(KafkaError(KafkaError._PURGE_QUEUE), None)
            elif deadline_s <= self.clock.seconds():
                report(KafkaError(KafkaError._MSG_TIMED_OUT), None)
            else:
                self.queue.append((deadline_s, record, report))

    flush = poll

    def purge(self) -> None:
        self.purged = True


class ScriptedKafkaPythonProducer:
    """``kafka.KafkaProducer`` as far as the sink uses it; timers of the clock replace its network thread."""

    def __init__(self, broker: Broker, clock: Clock, **arguments: object) -> None:
        if broker.down:
            raise KafkaTimeoutError("no broker in time")
        self.broker = broker
        self.clock = clock
        self.arguments = arguments
        self.closed = False

    def send(self, topic, value, key, headers) -> Future:
        if self.closed:
            raise AssertionError("sent after close")
        if len(value) > MAX_MESSAGE_BYTES:
            raise TooLarge("too large for max_request_size")
        future = Future()
        deadline_s = self.clock.seconds() + self.arguments["delivery_timeout_ms"] / 1000
        self.clock.callLater(0.01, self._settle, future, deadline_s, Received(key.decode(), value))
        return future

    def _settle(self, future: Future, deadline_s: float, record: Received) -> None:
        if self.closed:
            future.failure(KafkaConnectionError("closed"))
        elif self.broker.confirms:
            self.broker.log.append(record)
            future.success(None)
        elif deadline_s <= self.clock.seconds():
            future.failure(KafkaTimeoutError("expired"))
        else:
            self.clock.callLater(0.01, self._settle, future, deadline_s, record)

    def flush(self, timeout: float | None = None) -> None:
        raise KafkaTimeoutError("records are still in flight")

    def close(self, timeout: float) -> None:
        if not timeout:
            self.flush(timeout)
        self.closed = True


class ScriptedHarness(InMemoryHarness):
    confirmed_metric = "kafka_produce_ack_total"
    refused_metric = "kafka_err"
    refused_payload = bytes(MAX_MESSAGE_BYTES + 1)
    bound = 8

    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        settings = {"bootstrap.servers": "kafka:9092", "message.timeout.ms": round(timeout_s * 1000)}
        return {**settings, "queue.buffering.max.messages": self.bound} if bounded else settings

    async def received(self, at_least: int) -> Sequence[Received]:
        return self.broker.log

    async def hold(self) -> None:
        self.broker.held = True

    async def release(self) -> None:
        self.broker.held = False

    async def go_away(self) -> None:
        self.broker.down = True

    async def come_back(self) -> None:
        self.broker.down = False


class ScriptedConfluentHarness(ScriptedHarness):
    def make_sink(self, context: SinkContext) -> IDispatcher:
        return ConfluentKafkaSink(context, partial(ScriptedConfluentProducer, self.broker, self.reactor))


class ScriptedKafkaPythonHarness(ScriptedHarness):
    def make_sink(self, context: SinkContext) -> IDispatcher:
        return KafkaPythonSink(context, partial(ScriptedKafkaPythonProducer, self.broker, self.reactor), InlineWorker)


class ScriptedConfluentContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> ScriptedHarness:
        return ScriptedConfluentHarness()


class ScriptedKafkaPythonContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> ScriptedHarness:
        return ScriptedKafkaPythonHarness()
