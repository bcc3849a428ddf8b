"""Kafka by kafka-python: its blocking calls run on one thread of the sink, results come back in bursts."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.sinks.kafka.arguments import ProducerPlan, producer_plan
from fleetgw.adapters.sinks.kafka.credential_files import CredentialFiles
from fleetgw.adapters.sinks.kafka.deliveries import NOT_RUNNING, Delivery
from fleetgw.adapters.sinks.kafka.failures import MISSING_TOPIC_CODES, FailureLog, MissingTopics, delivery_error
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
from fleetgw.adapters.sinks.kafka.metrics import KafkaNumbers
from fleetgw.adapters.sinks.kafka.producer_thread import CLOSE_TIMEOUT_S, NoLeaderKnown, ProducerThread, said
from fleetgw.adapters.sinks.kafka.properties import read_properties
from fleetgw.adapters.sinks.support.serial_worker import SerialWorker, Worker
from fleetgw.domain.errors import DeliveryError, FleetgwError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, IDispatcher, IReloadable, NotReady, Outcome, Readiness, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.records import Record

PROBE_INTERVAL_S = 1.0
"""How often a broker is looked for while none is known to answer."""

SILENCE_S = 2.0
"""Records are under way and none is confirmed for so long: the library says nothing of a connection that it makes anew."""

_CONNECTION_ERRORS = (KafkaConnectionError, NodeNotReadyError, MetadataEmptyBrokerList, IllegalStateError)

_READY = Ready()


_FULL = Retryable("the queue to Kafka is full")


@implementer(IDispatcher, IReloadable)
class KafkaPythonSink:
    """Produces what ``ConfluentKafkaSink`` produces, from the same section.

    Everything here runs on the reactor's thread; see ``ProducerThread`` for the rest.

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
        self.name = context.name
        self._context = context
        self._make_worker = make_worker
        self._credentials = CredentialFiles(context.settings)
        self._plan = self._planned(context.settings)
        self._servers = ",".join(self._plan.servers)
        self._topics = {record_type: context.destination(record_type) for record_type in context.record_types}
        self._numbers = KafkaNumbers(context.metrics, context.record_types)
        self._failures = FailureLog(context.log, self._numbers, context.reactor)
        self._missing = MissingTopics(self._topics)
        self._readiness: Readiness = NotReady("not started")
        self._unconfirmed = False  # a record timed out: a connection alone is no good news until one is confirmed
        self._worker: Worker | None = None
        self._probe: IDelayedCall | None = None
        self._open: set[Delivery] = set()
        self._open_records = 0
        self._open_bytes = 0
        self._confirmed_at_s = -math.inf
        self._waiting_since_s = math.inf  # the first of those under way came, or the last one was confirmed
        self._stopped: Deferred[None] | None = None
        self._looking = False
        self._thread = ProducerThread(self._plan, self._topics, context.reactor, make_producer, self)

    def start(self) -> Deferred[None]:
        """Start the sink's thread; it connects now or later."""
        self._readiness = NotReady(f"no broker of {self._servers} has answered yet")
        self._worker = self._make_worker(f"fleetgw-{self.name}")
        self._looking = True
        self._worker.do(self._thread.look)
        self._probe = self._context.reactor.callLater(PROBE_INTERVAL_S, self._look_for_broker)
        self._context.log.info(
            "kafka_registered", namespace=self._context.namespace, client="kafka-python", servers=self._servers
        )
        return succeed(None)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Queue records for the sink's thread, as far as the bound allows."""
        if self._worker is None or self._stopped is not None:
            return succeed([NOT_RUNNING] * len(batch))
        delivery = Delivery(batch)
        taken = []
        for index, record in enumerate(batch):
            refusal = self._refusal(record)
            if refusal is not None:
                delivery.outcomes[index] = refusal
                delivery.unsettled -= 1
            else:
                self._open_records += 1
                self._open_bytes += len(record.payload)
                taken.append(index)
        delivery.count_produced(self._numbers)
        if taken:
            if not self._open:
                self._waiting_since_s = self._context.reactor.seconds()
            self._open.add(delivery)
            self._note_queue()
            self._worker.do(partial(self._thread.send, delivery, taken))
        else:
            delivery.finish(self._numbers)
        return delivery.answer

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``. The sink's thread makes another client once the old one has sent what it has."""
        files, plan = self._credentials.reload(self._planned)
        if plan is not None and self._worker is not None:
            self._plan = self._thread.plan = plan
            self._looking = True
            self._worker.do(self._thread.renew)
        return files

    def _planned(self, settings: Mapping[str, object]) -> ProducerPlan:
        context = self._context
        return producer_plan(context.name, read_properties(context.name, settings, context.log), context.log)

    def stop(self) -> Deferred[None]:
        """Wait for what is under way, then close the client. Ends at the latest with the delivery time-out."""
        self._stopped = Deferred(self._give_up)
        self._thread.stopping = True
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        self._readiness = NotReady("stopped")
        if not self._open:
            self._release(CLOSE_TIMEOUT_S)
        return self._stopped

    def readiness(self) -> Readiness:
        """By the last delivery, or the last look for a broker; and by the last word on each topic."""
        return self._missing.readiness(self._readiness)

    # As the owner of the producer's thread

    def settle_reports(self, reports: list[tuple[Delivery, int, Exception | None]]) -> None:
        """See ``ProducerOwner``."""
        settled = []
        for delivery, index, error in reports:
            if delivery not in self._open:
                continue  # given up
            delivery.outcomes[index] = RECEIPT if error is None else self._outcome(error, delivery.batch[index])
            delivery.unsettled -= 1
            self._open_records -= 1
            self._open_bytes -= len(delivery.batch[index].payload)
            if not delivery.unsettled:
                settled.append(delivery)
        if self._stopped is None and any(error is None for _, _, error in reports):
            self._confirmed_at_s = self._waiting_since_s = self._context.reactor.seconds()
            self._readiness = _READY
            self._unconfirmed = False
        self._open.difference_update(settled)
        self._note_queue()
        for delivery in settled:
            self._missing.settled(delivery.batch, delivery.outcomes)
            delivery.finish(self._numbers)
        if settled and not self._open and self._stopped is not None:
            self._release(CLOSE_TIMEOUT_S)

    def _note_queue(self) -> None:
        self._numbers.queued(self._open_records, sum(len(delivery.batch) for delivery in self._open))

    def _refusal(self, record: Record) -> DeliveryError | None:
        if record.record_type not in self._topics:
            self._failures.add("not_routed", "a record of a type that is not routed here")
            return self._context.not_routed(record.record_type)
        if self._open_records >= self._plan.max_records or self._open_bytes + len(record.payload) > self._plan.max_bytes:
            self._failures.add("queue_full", "the queue to Kafka is full (queue.buffering.max.messages, .kbytes)")
            return _FULL
        return None

    def _outcome(self, error: Exception, record: Record) -> DeliveryError:
        reason = said(error)
        self._failures.add(type(error).__name__, reason)
        if isinstance(error, NoLeaderKnown) and isinstance(self._readiness, Ready):
            self._missing.add(record.record_type, reason)  # as the broker was there when last seen
            return Retryable(reason)
        if isinstance(error, SaslAuthenticationFailedError):
            self._lost(reason)
            self._unconfirmed = True
        if isinstance(error, BrokerResponseError):
            if error.errno in MISSING_TOPIC_CODES:
                self._missing.add(record.record_type, reason)
            return delivery_error(error.errno, reason)
        if isinstance(error, KafkaTimeoutError) and self._confirms_others():
            return Retryable(f"{reason}, while others were confirmed")
        if isinstance(error, (KafkaTimeoutError, *_CONNECTION_ERRORS)):
            self._lost(reason)
            self._unconfirmed = isinstance(error, KafkaTimeoutError)
            return NotConnected(reason)
        return (
            Retryable(reason)
            if isinstance(error, KafkaError)
            else Rejected(f"no Kafka record can be made of it: {type(error).__name__}: {error}")
        )

    def _confirms_others(self) -> bool:
        timeout_s = float(self._plan.arguments["delivery_timeout_ms"]) / 1000
        return self._confirmed_at_s > self._context.reactor.seconds() - timeout_s / 2

    def _lost(self, reason: str) -> None:
        if self._stopped is None:
            self._readiness = NotReady(f"{self._servers}: {reason}")

    def _look_for_broker(self) -> None:
        self._probe = None
        in_doubt = isinstance(self._readiness, NotReady) or self._hears_nothing()
        if in_doubt:
            self._look_at_credentials()
        if self._worker is not None and in_doubt and not self._looking:
            self._looking = True  # a look may take longer than the time between two: they must not heap up
            self._worker.do(self._thread.look)
        self._look_again()

    def _hears_nothing(self) -> bool:
        return bool(self._open) and self._context.reactor.seconds() - self._waiting_since_s >= SILENCE_S

    def _look_at_credentials(self) -> None:
        """Whatever the reason is that no broker can be reached: it may be that they were replaced."""
        try:
            if files := self.reload():
                self._context.log.info("credentials_reloaded", dispatcher=self.name, files=[*files])
        except FleetgwError as error:
            self._failures.add("credentials", str(error))

    def looked(self) -> None:
        """See ``ProducerOwner``."""
        self._looking = False

    def _look_again(self) -> None:
        if self._stopped is None and self._probe is None:
            self._probe = self._context.reactor.callLater(PROBE_INTERVAL_S, self._look_for_broker)

    def made_client(self) -> None:
        """See ``ProducerOwner``."""
        self._unconfirmed = False  # a time-out of the client before it says nothing about this one
        self.saw_listener()

    def was_refused(self, reason: str) -> None:
        """See ``ProducerOwner``."""
        self._unconfirmed = True
        self.could_not_connect(reason)

    def saw_listener(self) -> None:
        """See ``ProducerOwner``."""
        if self._stopped is None and not self._unconfirmed:
            self._readiness = _READY

    def saw_no_listener(self) -> None:
        """See ``ProducerOwner``."""
        self._unconfirmed = False  # there was no broker: one that is there next is another matter
        if isinstance(self._readiness, Ready):
            self.could_not_connect("no broker takes connections")

    def could_not_connect(self, reason: str) -> None:
        """See ``ProducerOwner``."""
        self._failures.add("connect", reason, counts=bool(self._open))
        self._lost(reason)

    def could_not_flush(self, reason: str) -> None:
        """See ``ProducerOwner``."""
        self._failures.add("close", reason)

    def _give_up(self, stopped: Deferred[None]) -> None:
        """Stopping was cancelled."""
        self._release(0.0)
        abandoned, self._open = self._open, set()
        for delivery in abandoned:
            delivery.finish(self._numbers)
        if not stopped.called:  # as it is when a look is under way
            stopped.callback(None)

    def _release(self, timeout_s: float) -> None:
        if self._worker is not None:
            self._worker.do(partial(self._thread.close, timeout_s))
            self._worker.quit()
            self._worker = None
            if self._looking and self._stopped is not None and not self._stopped.called:
                self._stopped.callback(None)  # a look may wait for a name server; nothing is left to be sent

    def closed(self) -> None:
        """See ``ProducerOwner``."""
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)
