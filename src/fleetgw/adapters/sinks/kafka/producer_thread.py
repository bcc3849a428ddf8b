"""The blocking part of the kafka-python sink: makes, feeds and closes the client, on the sink's own thread."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from fleetgw.adapters.sinks.kafka.connection_failures import ConnectionFailures
from fleetgw.adapters.sinks.kafka.kafka_library import KafkaConnectionError, KafkaError, KafkaTimeoutError, network_thread
from fleetgw.adapters.sinks.support.results import Burst

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.adapters.sinks.kafka.arguments import ProducerPlan
    from fleetgw.adapters.sinks.support.context import ISinkReactor
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.records import Record

    Report = tuple[Dispatch, int, Exception | None]

PROBE_TIMEOUT_S = 1.0

UNKNOWN_TOPIC_PAUSE_S = 1.0
"""Time for which records of a topic without a known leader fail at once, because each would block the thread."""

CLOSE_TIMEOUT_S = 2.0

# Without a handler the library's warnings would go to standard error instead of the gateway's log.
logging.getLogger("kafka").addHandler(logging.NullHandler())


class NoLeaderKnown(KafkaTimeoutError):  # type: ignore[misc]  # kafka-python has no types
    """No broker has named a leader for the topic: it is missing, or no broker can be reached."""


def error_text(error: Exception) -> str:
    """The text of an error, for people; those of kafka-python begin with their kind."""
    return str(error) if isinstance(error, KafkaError) else f"{type(error).__name__}: {error}"


def is_listening(server: str) -> bool:
    """Whether ``host:port`` accepts connections."""
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host or server, int(port or 9092)), PROBE_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True


def _no_flush(timeout: float | None = None) -> None:
    """Replaces ``flush`` of a client that is closed without waiting."""


class ProducerOwner(Protocol):
    """Receives the thread's results, on the reactor's thread."""

    def settle_reports(self, reports: list[Report]) -> None:
        """Records were confirmed (None), or have failed."""

    def made_client(self) -> None:
        """A client was made: a broker has accepted it."""

    def saw_listener(self) -> None:
        """A broker accepts connections."""

    def saw_no_listener(self) -> None:
        """No broker accepts connections."""

    def could_not_connect(self, reason: str) -> None:
        """No client could be made."""

    def was_refused(self, reason: str) -> None:
        """A broker refuses the finished client because of its credentials or TLS."""

    def probed(self) -> None:
        """``probe`` or ``renew`` is done."""

    def could_not_flush(self, reason: str) -> None:
        """The client was closed before it had sent all its records."""

    def closed(self) -> None:
        """``close`` is done."""


class ProducerThread:
    """Every method but the constructor runs on the sink's thread; kafka-python calls ``_report`` on its network thread.

    :ivar plan: the arguments of the next client.
    :ivar stopping: no further client is made.
    """

    def __init__(
        self,
        plan: ProducerPlan,
        topics: Mapping[str, str],
        reactor: ISinkReactor,
        make_producer: Callable[..., Any],  # Any: kafka-python has no types
        owner: ProducerOwner,
    ) -> None:
        self.plan = plan
        self.stopping = False
        self._topics = topics
        self._reactor = reactor
        self._make_producer = make_producer
        self._owner = owner
        self._producer: Any = None  # kafka-python has no types
        self._connection_failures = ConnectionFailures(partial(reactor.callFromThread, owner.was_refused))
        self._no_broker = f"no broker of {','.join(plan.servers)} has answered yet"
        self._unknown_until_s: dict[str, float] = {}  # by topic
        self._reports: Burst[Report] = Burst(reactor, owner.settle_reports)

    def probe(self) -> None:
        """Make the client if there is none; else check whether a broker accepts connections."""
        if self._producer is not None:
            found = any(map(is_listening, self.plan.servers))
            self._reactor.callFromThread(self._owner.saw_listener if found else self._owner.saw_no_listener)
        elif not self.stopping:
            try:
                with self._connection_failures:
                    self._producer = self._make_producer(**self.plan.arguments)
            except Exception as error:  # of any kind: the next probe tries again
                self._no_broker = self._connection_failures.reason or error_text(error)
                self._reactor.callFromThread(self._owner.could_not_connect, self._no_broker)
            else:
                self._connection_failures.follow(network_thread(self._producer))
                self._reactor.callFromThread(self._owner.made_client)
        self._reactor.callFromThread(self._owner.probed)

    def renew(self) -> None:
        """Close the client, once it has sent its records, and make another."""
        self._close_producer(CLOSE_TIMEOUT_S)
        self.probe()

    def send(self, dispatch: Dispatch, indexes: list[int]) -> None:
        """Hand records to the client, which reports on each."""
        for index in indexes:
            record = dispatch.batch[index]
            report = partial(self._report, dispatch, index)
            try:
                future = self._sent(record)
            except Exception as error:  # of any kind: it becomes the record's outcome
                report(error)
            else:
                future.add_callback(lambda _metadata, report=report: report(None))
                future.add_errback(report)

    def _sent(self, record: Record) -> Any:  # kafka-python has no types
        if self._producer is None:
            raise KafkaConnectionError(self._no_broker)
        topic = self._topics[record.record_type]
        if self._reactor.seconds() < self._unknown_until_s.get(topic, 0):
            raise NoLeaderKnown(topic)
        vin = record.vehicle.vin.encode()
        try:
            return self._producer.send(
                topic,
                value=record.payload,
                key=vin,
                headers=[
                    ("device_client_version", record.vehicle.device_client_version.encode()),
                    ("receivedat", b"%d" % record.received_at_ms),
                    ("timestamp", b"0"),
                    ("txid", record.txid),
                    ("txtype", record.record_type.encode()),
                    ("version", b"0"),
                    ("vin", vin),
                ],
            )
        except KafkaTimeoutError as error:
            self._unknown_until_s[topic] = self._reactor.seconds() + UNKNOWN_TOPIC_PAUSE_S
            raise NoLeaderKnown(topic) from error

    def _report(self, dispatch: Dispatch, index: int, error: Exception | None) -> None:
        self._reports.add((dispatch, index, error))

    def close(self, timeout_s: float) -> None:
        """Close the client, once it has sent its records or ``timeout_s`` have passed."""
        self._close_producer(timeout_s)
        self._reactor.callFromThread(self._owner.closed)

    def _close_producer(self, timeout_s: float) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        self._connection_failures.unfollow()
        if timeout_s:
            try:
                producer.close(timeout=timeout_s)
            except KafkaError as error:  # not flushed, and left open: its records would stay in flight
                self._reactor.callFromThread(self._owner.could_not_flush, error_text(error))
            else:
                return
        producer.flush = _no_flush  # close() begins with it
        producer.close(timeout=0.0)
