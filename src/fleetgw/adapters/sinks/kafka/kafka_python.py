"""Kafka by kafka-python: its blocking calls run on a thread of the sink, results come back in bursts."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from fleetgw.adapters.process.serial_worker import SerialWorker, Worker
from fleetgw.adapters.sinks.kafka.arguments import ProducerPlan, producer_plan
from fleetgw.adapters.sinks.kafka.cluster import Cluster
from fleetgw.adapters.sinks.kafka.credential_files import CredentialFiles
from fleetgw.adapters.sinks.kafka.error_codes import MISSING_TOPIC_CODES, delivery_error
from fleetgw.adapters.sinks.kafka.failures import KafkaFailures
from fleetgw.adapters.sinks.kafka.kafka_library import (
    BrokerResponseError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MetadataEmptyBrokerList,
    NodeNotReadyError,
    SaslAuthenticationFailedError,
    made_producer,
)
from fleetgw.adapters.sinks.kafka.metrics import KafkaMetrics
from fleetgw.adapters.sinks.kafka.producer_thread import CLOSE_TIMEOUT_S, NoLeaderKnown, ProducerThread, error_text
from fleetgw.adapters.sinks.kafka.properties import read_properties
from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.domain.errors import DeliveryError, FleetgwError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, IReloadable, ITakesFurtherTypes, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.records import Record

PROBE_INTERVAL_S = 1.0
"""Interval at which the brokers are probed while none is known to answer."""

SILENCE_S = 2.0
"""Time without a confirmation, while records are in flight, after which the brokers are probed: the library does not report
that it has lost a connection."""

_CONNECTION_ERRORS = (KafkaConnectionError, NodeNotReadyError, MetadataEmptyBrokerList, IllegalStateError)


@implementer(IReloadable, ITakesFurtherTypes)
class KafkaPythonSink(LifecycleSink):
    """Produces the same messages as ``ConfluentKafkaSink``, from the same configuration section.

    Everything here runs on the reactor's thread; ``ProducerThread`` has the blocking part. Every dispatch ends within the
    delivery timeout.

    :param context: settings are librdkafka properties.
    :param make_producer: makes the client from its arguments, for tests.
    :param make_worker: makes the thread from its name, for tests.
    """

    def __init__(
        self,
        context: SinkContext,
        make_producer: Callable[..., Any] = made_producer,  # Any: kafka-python has no types
        make_worker: Callable[[str], Worker] = SerialWorker,
    ) -> None:
        super().__init__(context)
        self._make_worker = make_worker
        self._credentials = CredentialFiles(context.settings)
        self._plan = self._planned(context.settings)
        self._servers = ",".join(self._plan.servers)
        self._topics = ByRecordType(context.destination, context.record_types)
        self._metrics = KafkaMetrics(context.metrics, context.record_types)
        self._failures = KafkaFailures(context, self._metrics)
        self._cluster = Cluster(self.destination, self._servers, self._topics)
        self._worker: Worker | None = None
        self._next_check: IDelayedCall | None = None
        self._in_flight: set[Dispatch] = set()
        self._in_flight_records = 0
        self._in_flight_bytes = 0
        self._silent_since_s = math.inf  # the first dispatch in flight, or the last confirmation
        self._probing = False
        self._thread = ProducerThread(self._plan, self._topics, context.reactor, make_producer, self)
        self._thread_closed: Deferred[None] = Deferred()

    def open(self) -> None:
        """Start the sink's thread, which connects."""
        self._cluster.started()
        self._worker = self._make_worker(f"fleetgw-{self.name}")
        self._probing = True
        self._worker.do(self._thread.probe)
        self._next_check = self._context.reactor.callLater(PROBE_INTERVAL_S, self._check)
        self._context.log.info(
            "kafka_registered", namespace=self._context.namespace, client="kafka-python", servers=self._servers
        )

    def deliver(self, dispatch: Dispatch) -> None:
        """Queue records for the sink's thread, within the bounds of the queue."""
        taken = []
        for index, record in enumerate(dispatch.batch):
            if self._has_room(record):
                self._in_flight_records += 1
                self._in_flight_bytes += len(record.payload)
                taken.append(index)
            else:
                dispatch.settle(index, self._failures.queue_full())
        self._metrics.produced(dispatch)
        if not taken:
            self.finish(dispatch)
            return
        if not self._in_flight:
            self._silent_since_s = self._context.reactor.seconds()
        self._in_flight.add(dispatch)
        self._show_queue()
        self._do(partial(self._thread.send, dispatch, taken))

    def settled(self, dispatch: Dispatch, outcomes: Sequence[Outcome]) -> None:
        """Count the records, and note whether Kafka confirms any."""
        self._in_flight.discard(dispatch)
        self._cluster.settled(dispatch.batch, outcomes)
        self._metrics.settled(dispatch, outcomes)

    def stopping(self) -> None:
        """Make no further client."""
        self._thread.stopping = True
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None

    def abandon(self) -> None:
        """Close the client without flushing."""
        self._close_thread(0.0)

    def close(self) -> Deferred[None] | None:
        """Close the client; not waited for during a probe, which may wait for a name server."""
        if self._worker is None:
            return None
        self._close_thread(CLOSE_TIMEOUT_S)
        return None if self._probing else self._thread_closed

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``. The sink's thread makes another client once the old one has sent its records."""
        files, plan = self._credentials.reload(self._planned)
        if plan is not None and self._worker is not None:
            self._plan = self._thread.plan = plan
            self._probing = True
            self._worker.do(self._thread.renew)
        return files

    def _planned(self, settings: Mapping[str, object]) -> ProducerPlan:
        context = self._context
        return producer_plan(context.name, read_properties(context.name, settings, context.log), context.log)

    def _close_thread(self, timeout_s: float) -> None:
        if self._worker is not None:
            self._worker.do(partial(self._thread.close, timeout_s))
            self._worker.quit()
            self._worker = None

    def _do(self, job: Callable[[], None]) -> None:
        if self._worker is not None:
            self._worker.do(job)

    def _has_room(self, record: Record) -> bool:
        plan = self._plan
        return self._in_flight_records < plan.max_records and self._in_flight_bytes + len(record.payload) <= plan.max_bytes

    def _show_queue(self) -> None:
        self._metrics.queued(self._in_flight_records, sum(len(dispatch.batch) for dispatch in self._in_flight))

    # As the owner of the producer's thread

    def settle_reports(self, reports: list[tuple[Dispatch, int, Exception | None]]) -> None:
        """See ``ProducerOwner``."""
        settled = []
        for dispatch, index, error in reports:
            if dispatch not in self._in_flight:
                continue  # given up
            self._in_flight_records -= 1
            self._in_flight_bytes -= len(dispatch.batch[index].payload)
            if dispatch.settle(index, RECEIPT if error is None else self._outcome(error, dispatch.batch[index])):
                settled.append(dispatch)
        if any(error is None for _, _, error in reports):
            self._silent_since_s = self._context.reactor.seconds()
            self.destination.confirmed()
            self._cluster.confirmed()
        self._in_flight.difference_update(settled)
        self._show_queue()
        for dispatch in settled:
            self.finish(dispatch)

    def _outcome(self, error: Exception, record: Record) -> DeliveryError:
        reason = error_text(error)
        self._failures.add(type(error).__name__, reason)
        match error:
            case NoLeaderKnown() if self._cluster.is_reachable:
                self._cluster.topic_missing(record.record_type, reason)
                return Retryable(reason)
            case KafkaTimeoutError():
                timeout_s = float(self._plan.arguments["delivery_timeout_ms"]) / 1000
                outcome = self.destination.unanswered(timeout_s, reason)
                if isinstance(outcome, NotConnected):
                    self._cluster.unusable(reason)
                return outcome
            case BrokerResponseError():
                if isinstance(error, SaslAuthenticationFailedError):
                    self._cluster.unusable(reason)
                if error.errno in MISSING_TOPIC_CODES:
                    self._cluster.topic_missing(record.record_type, reason)
                return delivery_error(error.errno, reason)
            case _ if isinstance(error, _CONNECTION_ERRORS):
                self._cluster.unreachable(reason)
                return NotConnected(reason)
            case KafkaError():
                return Retryable(reason)
            case _:
                return Rejected(f"no Kafka record can be made of it: {type(error).__name__}: {error}")

    def probed(self) -> None:
        """See ``ProducerOwner``."""
        self._probing = False

    def made_client(self) -> None:
        """See ``ProducerOwner``."""
        self._cluster.client_changed()
        self._cluster.connected()

    def was_refused(self, reason: str) -> None:
        """See ``ProducerOwner``."""
        self._note_connection_failure(reason)
        self._cluster.unusable(reason)

    def saw_listener(self) -> None:
        """See ``ProducerOwner``."""
        self._cluster.connected()

    def saw_no_listener(self) -> None:
        """See ``ProducerOwner``."""
        self._cluster.disconnected()
        if self._cluster.is_reachable:
            self.could_not_connect("no broker accepts connections")

    def could_not_connect(self, reason: str) -> None:
        """See ``ProducerOwner``."""
        self._note_connection_failure(reason)
        self._cluster.unreachable(reason)

    def could_not_flush(self, reason: str) -> None:
        """See ``ProducerOwner``."""
        self._failures.add("close", reason)

    def closed(self) -> None:
        """See ``ProducerOwner``."""
        self._thread_closed.callback(None)

    def _note_connection_failure(self, reason: str) -> None:
        self._failures.add("connect", reason, counts=bool(self._in_flight))

    # Checking for a broker

    def _check(self) -> None:
        """While no broker is known to answer, use changed credentials and have the thread probe the brokers."""
        self._next_check = self._context.reactor.callLater(PROBE_INTERVAL_S, self._check)
        if self._cluster.is_reachable and not self._is_silent():
            return
        self._check_credentials()
        if not self._probing:  # a probe may take longer than the interval
            self._probing = True
            self._do(self._thread.probe)

    def _is_silent(self) -> bool:
        return bool(self._in_flight) and self._context.reactor.seconds() - self._silent_since_s >= SILENCE_S

    def _check_credentials(self) -> None:
        """Use changed credentials, whatever the reason why no broker can be reached."""
        try:
            if files := self.reload():
                self._context.log.info("credentials_reloaded", dispatcher=self.name, files=[*files])
        except FleetgwError as error:
            self._failures.add("credentials", str(error))
