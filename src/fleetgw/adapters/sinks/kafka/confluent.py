"""Kafka by confluent-kafka (librdkafka), thread-free on the reactor: produce never blocks, poll(0) brings the reports."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.sinks.kafka.clients import Clients
from fleetgw.adapters.sinks.kafka.deliveries import NOT_RUNNING, Delivery
from fleetgw.adapters.sinks.kafka.failures import (
    MISSING_TOPIC_CODES,
    TOO_LARGE_CODES,
    FailureLog,
    delivery_error,
)
from fleetgw.adapters.sinks.kafka.metrics import KafkaNumbers
from fleetgw.adapters.sinks.kafka.poll_pace import PollPace
from fleetgw.adapters.sinks.kafka.standing import Standing
from fleetgw.domain.errors import DeliveryError, FleetgwError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT, IDispatcher, IReloadable, Outcome, Readiness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from confluent_kafka import Message
    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.records import Record, Vehicle

    Report = Callable[[Delivery, int, KafkaError | None, Message], None]

IDLE_POLL_INTERVAL_S = 1.0
"""How often errors and statistics are looked at while nothing is under way."""

LOOK_INTERVAL_S = 0.25
"""The same while no broker can be reached: as long as it may take to notice that one is back."""

RELOAD_INTERVAL_S = 1.0
"""How often credentials are looked at while no broker can be reached."""

BOOTSTRAP_AGAIN_S = 60.0
"""A client without a broker for this time is replaced: all brokers may have new addresses (see ``METADATA_RECOVERY``)."""

REMAKE_INTERVAL_S = 5.0
"""A producer that failed fatally lives at least so long before it is replaced."""

_NOT_CONNECTED_CODES = frozenset(
    {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._DESTROY}
)


@implementer(IDispatcher, IReloadable)
class ConfluentKafkaSink:
    """Produces to ``<namespace>_<record type>``: key = vin, value = payload, the metadata as headers.

    :param context: settings are librdkafka properties.
    :param make_producer: makes the client from its configuration, for tests.
    """

    def __init__(self, context: SinkContext, make_producer: Callable[..., Producer] = Producer) -> None:
        self.name = context.name
        self._context = context
        self._clients = Clients(context, make_producer)
        self._topics = {record_type: context.destination(record_type) for record_type in context.record_types}
        self._numbers = KafkaNumbers(context.metrics, context.record_types)
        self._failures = FailureLog(context.log, self._numbers, context.reactor)
        self._standing = Standing(self._clients.servers, self._topics)
        self._credentials_looked_at_s = 0.0
        self._had_broker_at_s = -math.inf
        self._confirmed_at_s = -math.inf
        self._fatal: KafkaError | None = None
        self._suspects: list[tuple[Delivery, int]] = []
        self._open: dict[Delivery, float] = {}  # when each was handed over, the oldest first
        self._pace = PollPace()
        self._looked_at_s = 0.0
        self._settled: list[Delivery] = []
        self._tick: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        """Make the client; it connects by itself, now or later."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._clients.start({"error_cb": self._heard_error, "stats_cb": self._standing.heard_statistics})
        self._standing.started()
        self._tick = self._context.reactor.callLater(IDLE_POLL_INTERVAL_S, self._poll)
        self._context.log.info(
            "kafka_registered",
            namespace=self._context.namespace,
            client="confluent-kafka",
            servers=self._clients.servers,
        )

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Hand records to librdkafka; their reports come back through ``_poll``."""
        producer = self._clients.in_use
        if producer is None or self._stopped is not None:
            return succeed([NOT_RUNNING] * len(batch))
        delivery = Delivery(batch)
        self._offer(producer, delivery, range(len(batch)), self._reported)
        delivery.count_produced(self._numbers)
        if not delivery.unsettled:
            delivery.finish(self._numbers)
        else:
            if not self._open:
                self._poll_after(self._pace.pause_s(0))
            self._open[delivery] = self._context.reactor.seconds()
        return delivery.answer

    def stop(self) -> Deferred[None]:
        """Flush, then let go of the client. Ends at the latest with librdkafka's ``message.timeout.ms``."""
        self._stopped = Deferred(self._give_up)
        if self._open:
            self._poll_after(0)
        else:
            self._release()
        return self._stopped

    def readiness(self) -> Readiness:
        """By librdkafka's last word: see ``Standing``."""
        return self._standing.readiness()

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``. Another client takes over at the next moment without anything under way.

        At once when no broker can be reached: what is under way is given back then, and not lost.
        """
        files, has_made_one = self._clients.reload()
        if has_made_one:
            self._poll_after(0)
        return files

    def _look_at_credentials(self) -> None:
        """Whatever the reason is that no broker can be reached: it may be that they were replaced."""
        now_s = self._context.reactor.seconds()
        if now_s - self._credentials_looked_at_s < RELOAD_INTERVAL_S:
            return
        self._credentials_looked_at_s = now_s
        try:
            if files := self.reload():
                self._context.log.info("credentials_reloaded", dispatcher=self.name, files=[*files])
        except FleetgwError as error:
            self._failures.add("credentials", str(error))

    def _look_at_broker(self) -> None:
        """Without a broker, look for changed credentials, and ask the bootstrap servers again from time to time."""
        now_s = self._context.reactor.seconds()
        if self._standing.has_broker:
            self._had_broker_at_s = now_s
        elif self._stopped is None:
            self._look_at_credentials()
            if now_s - max(self._had_broker_at_s, self._clients.made_at_s) >= BOOTSTRAP_AGAIN_S:
                self._clients.bootstrap_again()

    def _take_over(self) -> None:
        """Go on with the successor, when that can be."""
        if not self._clients.has_successor or self._stopped is not None or (self._open and self._standing.has_broker):
            return
        if self._open:
            self._purge()
            self._answer_settled()
        if self._stopped is None:
            self._clients.take_over()
            self._standing.client_changed()

    def _offer(self, producer: Producer, delivery: Delivery, indexes: Iterable[int], report: Report) -> None:
        """Hand some of a delivery's records to a client; what it refuses at once is settled at once."""
        batch = delivery.batch
        topics = self._topics
        vehicle: Vehicle | None = None
        received_at_ms = -1
        for index in indexes:
            record = batch[index]
            if record.vehicle is not vehicle or record.received_at_ms != received_at_ms:  # the same for all of one read
                vehicle, received_at_ms = record.vehicle, record.received_at_ms
                vin = vehicle.vin
                version_header = ("device_client_version", vehicle.device_client_version)
                time_header = ("receivedat", b"%d" % received_at_ms)
                vin_header = ("vin", vin)
            try:
                # By position, a tenth cheaper: topic, value, key, partition, callback, its other name on_delivery (read
                # only when the first is absent), timestamp (0: now), headers.
                producer.produce(
                    topics[record.record_type],
                    record.payload,
                    vin,
                    -1,
                    partial(report, delivery, index),
                    None,
                    0,
                    [
                        version_header,
                        time_header,
                        ("timestamp", b"0"),
                        ("txid", record.txid),
                        ("txtype", record.record_type),
                        ("version", b"0"),
                        vin_header,
                    ],
                )
            except Exception as error:  # whatever it is, it becomes the record's outcome
                delivery.outcomes[index] = self._refusal(error, record)
                delivery.unsettled -= 1

    def _reported(self, delivery: Delivery, index: int, error: KafkaError | None, message: Message) -> None:
        """Take one record's delivery report; runs within ``poll``."""
        if error is None:
            delivery.outcomes[index] = self._confirmation(message)
        elif error.code() in TOO_LARGE_CODES:
            # the broker refused a whole request, and does not say which of its records is too large
            self._suspects.append((delivery, index))
            return
        else:
            delivery.outcomes[index] = self._outcome(error, delivery.batch[index], self._open.get(delivery))
        delivery.unsettled -= 1
        if not delivery.unsettled:
            self._settled.append(delivery)

    def _reported_alone(self, delivery: Delivery, index: int, error: KafkaError | None, message: Message) -> None:
        """Take the report on a record that was sent by itself: now the word is about this record."""
        record = delivery.batch[index]
        if error is None:
            delivery.outcomes[index] = self._confirmation(message)
        else:
            delivery.outcomes[index] = self._outcome(error, record, self._open.get(delivery))
        delivery.unsettled -= 1
        if not delivery.unsettled:
            self._settled.append(delivery)

    def _confirmation(self, message: Message) -> Outcome:
        """Believe that a record is in Kafka when the broker has said where."""
        if message.offset() is not None or not self._clients.tells_offsets:
            return RECEIPT
        reason = "a later batch was confirmed, this record was not"
        self._failures.add("no_offset", reason)
        return Retryable(reason)

    def _try_alone(self) -> None:
        """Send each suspect again, by itself, so that one large record does not take its neighbours along.

        Later records of the same vehicle may be ahead of them by now.
        """
        if not self._suspects:
            return
        suspects, self._suspects = self._suspects, []
        single = self._clients.alone()
        for delivery, index in suspects:
            self._offer(single, delivery, (index,), self._reported_alone)
            if not delivery.unsettled:
                self._settled.append(delivery)

    def _outcome(self, error: KafkaError, record: Record, since_s: float | None = None) -> DeliveryError:
        """Tell what an error means for a record.

        :param since_s: when the record was handed over, where it was.
        """
        reason = f"{error.name()}: {error.str()}"
        self._failures.add(error.name(), reason)
        code = error.code()
        if code == KafkaError._MSG_TIMED_OUT:
            now_s = self._context.reactor.seconds()
            if since_s is not None and self._confirmed_at_s > (since_s + now_s) / 2:
                return Retryable(f"{reason}, while others were confirmed")
            self._standing.timed_out()
            return NotConnected(reason)
        if code in MISSING_TOPIC_CODES:
            self._standing.topic_missing(record.record_type, reason)
        return NotConnected(reason) if code in _NOT_CONNECTED_CODES else delivery_error(code, reason)

    def _refusal(self, error: Exception, record: Record) -> DeliveryError:
        """Tell why the client did not even take a record."""
        if isinstance(error, KafkaException):
            return self._outcome(error.args[0], record)
        if isinstance(error, BufferError):
            self._failures.add("queue_full", "the queue to Kafka is full (queue.buffering.max.messages, .kbytes)")
            return Retryable("the queue to Kafka is full")
        if record.record_type not in self._topics:
            self._failures.add("not_routed", "a record of a type that is not routed here")
            return self._context.not_routed(record.record_type)
        self._failures.add("unsendable", f"{type(error).__name__}: {error}")
        return Rejected(f"no Kafka record can be made of it: {type(error).__name__}: {error}")

    def _poll_after(self, delay_s: float) -> None:
        if self._tick is not None:
            self._tick.cancel()
        self._tick = self._context.reactor.callLater(delay_s, self._poll)

    def _poll(self) -> None:
        """Take what librdkafka has to say, answer what is settled, and look again soon while anything is under way."""
        self._tick = None
        self._hear()
        self._try_alone()
        self._answer_settled()
        self._numbers.queued(sum(each.unsettled for each in self._open), sum(len(each.batch) for each in self._open))
        if self._fatal is not None:
            self._replace_producer(self._fatal)
        self._look_at_broker()
        self._take_over()
        if self._clients.in_use is None or self._tick is not None:
            return  # a caller stopped the sink, or dispatched, when it heard
        if self._stopped is not None and not self._open:
            self._release()
        elif self._open:
            oldest_s = next(iter(self._open.values()))
            self._poll_after(self._pace.pause_s(self._context.reactor.seconds() - oldest_s))
        else:
            self._poll_after(IDLE_POLL_INTERVAL_S if self._standing.has_broker else LOOK_INTERVAL_S)

    def _hear(self) -> None:
        for client in self._clients.all():
            try:
                if self._stopped is None:
                    client.poll(0)
                else:
                    client.flush(0)  # as poll, and no lingering
            except KafkaException as error:  # only a fatal error comes this way, past the error callback
                self._fatal = error.args[0]
                self._heard_error(self._fatal)

    def _purge(self) -> None:
        """Have every record reported on now, delivered or not; but suspects still wait for a client of their own."""
        for client in self._clients.all():
            client.purge()
        self._hear()

    def _answer_settled(self) -> None:
        """Answer outside of librdkafka's callbacks: what callers do then may be anything."""
        settled, self._settled = self._settled, []
        now_s = self._context.reactor.seconds()
        looked_before_s, self._looked_at_s = self._looked_at_s, now_s
        for delivery in settled:
            if delivery in self._open:
                handed_over_s = self._open.pop(delivery)
                self._pace.heard(now_s - handed_over_s, looked_before_s - handed_over_s)
                self._standing.settled(delivery.batch, delivery.outcomes)
                if RECEIPT in delivery.outcomes:
                    self._confirmed_at_s = now_s
                delivery.finish(self._numbers)

    def _give_up(self, _stopped: Deferred[None]) -> None:
        """Stopping was cancelled."""
        self._purge()
        self._answer_settled()
        self._release()

    def _release(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._clients.end()
        self._standing.stopped()
        abandoned, self._open = self._open, {}
        for delivery in abandoned:
            delivery.finish(self._numbers)
        if self._stopped is not None:
            self._stopped.callback(None)

    def _replace_producer(self, fatal: KafkaError) -> None:
        """librdkafka's idempotent producer is of no more use after a fatal error: make a new one, not too often."""
        now_s = self._context.reactor.seconds()
        if now_s - self._clients.made_at_s < REMAKE_INTERVAL_S:
            return
        self._purge()
        self._answer_settled()
        if self._stopped is not None:
            return
        self._fatal = None
        self._clients.replace(fatal)
        self._standing.client_changed()

    def _heard_error(self, error: KafkaError) -> None:
        self._failures.add(error.name(), f"{error.name()}: {error.str()}", counts=bool(self._open) or error.fatal())
        self._standing.heard_error(error)
