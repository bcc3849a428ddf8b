"""Kafka by confluent-kafka (librdkafka), on the reactor's thread: neither ``produce`` nor ``poll(0)`` blocks."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer
from zope.interface import implementer

from fleetgw.adapters.sinks.kafka.client_events import ClientEvents
from fleetgw.adapters.sinks.kafka.clients import Clients
from fleetgw.adapters.sinks.kafka.cluster import Cluster
from fleetgw.adapters.sinks.kafka.error_codes import TOO_LARGE_CODES
from fleetgw.adapters.sinks.kafka.failures import KafkaFailures
from fleetgw.adapters.sinks.kafka.metrics import KafkaMetrics
from fleetgw.adapters.sinks.kafka.poll_pace import PollPace
from fleetgw.adapters.sinks.kafka.record_errors import RecordErrors
from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.domain.errors import FleetgwError
from fleetgw.domain.ports import RECEIPT, IReloadable, ITakesFurtherTypes, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from confluent_kafka import Message
    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.domain.records import Record, Vehicle

    Report = Callable[[Dispatch, int, KafkaError | None, Message], None]

IDLE_POLL_INTERVAL_S = 1.0
"""Interval at which errors and statistics are polled for while no record is in flight."""

UNREACHABLE_POLL_INTERVAL_S = 0.25
"""The same while no broker can be reached; bounds the delay until a broker that is back is noticed."""

RELOAD_INTERVAL_S = 1.0
"""Interval at which credential files are checked for changes while no broker can be reached."""

BOOTSTRAP_AGAIN_S = 60.0
"""A client without a broker for this time is replaced: all brokers may have new addresses (see ``METADATA_RECOVERY``)."""

REMAKE_INTERVAL_S = 5.0
"""Shortest time between making a client and replacing it after a fatal error."""


@implementer(IReloadable, ITakesFurtherTypes)
class ConfluentKafkaSink(LifecycleSink):
    """Produces to ``<namespace>_<record type>``: key = vin, value = payload, the metadata as headers.

    Every dispatch ends within librdkafka's ``message.timeout.ms``.

    :param context: settings are librdkafka properties.
    :param make_producer: makes the client from its configuration, for tests.
    """

    def __init__(self, context: SinkContext, make_producer: Callable[..., Producer] = Producer) -> None:
        super().__init__(context)
        self._clients = Clients(context, make_producer)
        topics = ByRecordType(context.destination, context.record_types)
        self._routes = ByRecordType(lambda record_type: (topics[record_type], ("txtype", record_type)), context.record_types)
        self._metrics = KafkaMetrics(context.metrics, context.record_types)
        self._failures = KafkaFailures(context, self._metrics)
        self._cluster = Cluster(self.destination, self._clients.servers, topics)
        self._events = ClientEvents(self._cluster)
        self._errors = RecordErrors(self._failures, self._cluster, self._events, self.destination)
        self._credentials_checked_at_s = 0.0
        self._reachable_at_s = -math.inf
        self._fatal: KafkaError | None = None
        self._suspects: list[tuple[Dispatch, int]] = []
        self._in_flight: dict[Dispatch, float] = {}  # time of each dispatch, the oldest first
        self._reported: list[Dispatch] = []  # all their records are settled, the answer is due
        self._pace = PollPace()
        self._polled_at_s = 0.0
        self._next_poll: IDelayedCall | None = None

    def open(self) -> None:
        """Make the client, which connects by itself.

        :raises ConfigurationError: naming every property that librdkafka refuses.
        """
        self._clients.start({"error_cb": self._client_error, "stats_cb": self._events.statistics})
        self._cluster.started()
        self._poll_after(IDLE_POLL_INTERVAL_S)
        self._context.log.info(
            "kafka_registered",
            namespace=self._context.namespace,
            client="confluent-kafka",
            servers=self._clients.servers,
        )

    def deliver(self, dispatch: Dispatch) -> None:
        """Hand records to librdkafka; ``_poll`` fetches their delivery reports."""
        producer = self._clients.in_use
        if producer is None:
            raise AssertionError("a running sink has a client")
        self._produce(producer, dispatch, enumerate(dispatch.batch), self._report)
        self._metrics.produced(dispatch)
        if not dispatch.unsettled:
            self.finish(dispatch)
            return
        if not self._in_flight:
            self._poll_after(self._pace.pause_s(0))
        self._in_flight[dispatch] = self._context.reactor.seconds()

    def settled(self, dispatch: Dispatch, outcomes: Sequence[Outcome]) -> None:
        """Count the records, and note whether Kafka confirms any."""
        self._in_flight.pop(dispatch, None)
        self._cluster.settled(dispatch.batch, outcomes)
        self._metrics.settled(dispatch, outcomes)

    def stopping(self) -> None:
        """Flush without lingering."""
        if self._in_flight:
            self._poll_after(0)

    def abandon(self) -> None:
        """Discard the records in flight, and take the reports that are there."""
        self._purge()

    def close(self) -> None:
        """Release the clients."""
        if self._next_poll is not None:
            self._next_poll.cancel()
            self._next_poll = None
        self._clients.end()

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``. A new client takes over as soon as no record is in flight.

        While no broker can be reached it takes over at once: records in flight are purged and become retryable.
        """
        files, has_made_one = self._clients.reload()
        if has_made_one:
            self._poll_after(0)
        return files

    # Producing

    def _produce(
        self, producer: Producer, dispatch: Dispatch, records: Iterable[tuple[int, Record]], report: Report
    ) -> None:
        """Hand some records of a dispatch to a client; those that it refuses are settled at once.

        :param records: each with its index in the batch.
        """
        routes = self._routes
        vehicle: Vehicle | None = None
        received_at_ms = -1
        for index, record in records:
            if record.vehicle is not vehicle or record.received_at_ms != received_at_ms:  # the same for all of one read
                vehicle, received_at_ms = record.vehicle, record.received_at_ms
                vin = vehicle.vin
                version_header = ("device_client_version", vehicle.device_client_version)
                time_header = ("receivedat", b"%d" % received_at_ms)
                vin_header = ("vin", vin)
            topic, type_header = routes[record.record_type]
            try:
                # By position, which is a tenth cheaper: topic, value, key, partition, callback, its other name on_delivery
                # (used when the first is absent), timestamp (0: now), headers.
                producer.produce(
                    topic,
                    record.payload,
                    vin,
                    -1,
                    partial(report, dispatch, index),
                    None,
                    0,
                    [
                        version_header,
                        time_header,
                        ("timestamp", b"0"),
                        ("txid", record.txid),
                        type_header,
                        ("version", b"0"),
                        vin_header,
                    ],
                )
            except Exception as error:  # of any kind: it becomes the record's outcome
                dispatch.settle(index, self._errors.refused(error, record))

    def _report(self, dispatch: Dispatch, index: int, error: KafkaError | None, message: Message) -> None:
        """Take the delivery report of one record; called by librdkafka within ``poll``."""
        outcome: Outcome = RECEIPT
        if error is not None:
            if error.code() in TOO_LARGE_CODES:
                # the broker refuses the request as a whole, and does not say which of its records is too large
                self._suspects.append((dispatch, index))
                return
            outcome = self._error_outcome(dispatch, index, error)
        elif message.offset() is None and self._clients.tells_offsets:
            outcome = self._errors.unplaced()
        if dispatch.settle(index, outcome):
            self._reported.append(dispatch)

    def _report_alone(self, dispatch: Dispatch, index: int, error: KafkaError | None, message: Message) -> None:
        """Take the delivery report of a record that had a request of its own: it is the record that is too large."""
        if error is None or error.code() not in TOO_LARGE_CODES:
            self._report(dispatch, index, error, message)
        elif dispatch.settle(index, self._error_outcome(dispatch, index, error)):
            self._reported.append(dispatch)

    def _error_outcome(self, dispatch: Dispatch, index: int, error: KafkaError) -> Outcome:
        now_s = self._context.reactor.seconds()
        return self._errors.reported(error, dispatch.batch[index], now_s - self._in_flight.get(dispatch, now_s))

    def _send_suspects_alone(self) -> None:
        """Send each suspect again in a request of its own, so that one large record does not fail its neighbours.

        Later records of the same vehicle may be ahead of them by now.
        """
        if not self._suspects:
            return
        suspects, self._suspects = self._suspects, []
        single = self._clients.alone()
        for dispatch, index in suspects:
            self._produce(single, dispatch, [(index, dispatch.batch[index])], self._report_alone)
            if not dispatch.unsettled:
                self._reported.append(dispatch)

    # Polling

    def _poll_after(self, delay_s: float) -> None:
        if self._next_poll is not None:
            self._next_poll.cancel()
        self._next_poll = self._context.reactor.callLater(delay_s, self._poll)

    def _poll(self) -> None:
        """Fetch delivery reports, answer settled dispatches, and poll again soon while records are in flight."""
        self._next_poll = None
        self._fetch_reports()
        self._send_suspects_alone()
        self._answer_reported()
        in_flight = self._in_flight
        self._metrics.queued(sum(each.unsettled for each in in_flight), sum(len(each.batch) for each in in_flight))
        if self._fatal is not None:
            self._replace_client(self._fatal)
        self._recover()
        self._take_over()
        if self._clients.in_use is None or self._next_poll is not None:
            return  # the answers made a caller stop the sink, or dispatch
        if self._in_flight:
            oldest_s = next(iter(self._in_flight.values()))
            self._poll_after(self._pace.pause_s(self._context.reactor.seconds() - oldest_s))
        else:
            self._poll_after(IDLE_POLL_INTERVAL_S if self._cluster.is_reachable else UNREACHABLE_POLL_INTERVAL_S)

    def _fetch_reports(self) -> None:
        for client in self._clients.all():
            try:
                if self._running:
                    client.poll(0)
                else:
                    client.flush(0)  # polls, and ends the lingering
            except KafkaException as error:  # a fatal error; it does not come by the error callback
                self._fatal = error.args[0]
                self._client_error(self._fatal)

    def _answer_reported(self) -> None:
        """Answer outside of librdkafka's callbacks, because the answer may call anything."""
        reported, self._reported = self._reported, []
        now_s = self._context.reactor.seconds()
        polled_before_s, self._polled_at_s = self._polled_at_s, now_s
        for dispatch in reported:
            if dispatch in self._in_flight:
                dispatched_at_s = self._in_flight[dispatch]
                self._pace.learn(now_s - dispatched_at_s, polled_before_s - dispatched_at_s)
                self.finish(dispatch)

    def _purge(self) -> None:
        """Have a report on every record in flight, delivered or not; suspects still wait for a client of their own."""
        for client in self._clients.all():
            client.purge()
        self._fetch_reports()
        self._answer_reported()

    # Keeping a client that works

    def _client_error(self, error: KafkaError) -> None:
        counts = bool(self._in_flight) or error.fatal()
        self._failures.add(error.name(), f"{error.name()}: {error.str()}", counts=counts)
        self._events.error(error)

    def _recover(self) -> None:
        """Without a broker, check for changed credentials, and ask the bootstrap servers again from time to time."""
        now_s = self._context.reactor.seconds()
        if self._cluster.is_reachable:
            self._reachable_at_s = now_s
        elif self._running:
            self._check_credentials(now_s)
            if now_s - max(self._reachable_at_s, self._clients.made_at_s) >= BOOTSTRAP_AGAIN_S:
                self._clients.bootstrap_again()

    def _check_credentials(self, now_s: float) -> None:
        """Use changed credentials, whatever the reason why no broker can be reached."""
        if now_s - self._credentials_checked_at_s < RELOAD_INTERVAL_S:
            return
        self._credentials_checked_at_s = now_s
        try:
            if files := self.reload():
                self._context.log.info("credentials_reloaded", dispatcher=self.name, files=[*files])
        except FleetgwError as error:
            self._failures.add("credentials", str(error))

    def _take_over(self) -> None:
        """Go on with the successor, once no record is in flight or no broker can be reached."""
        if not self._clients.has_successor or (self._in_flight and self._cluster.is_reachable):
            return
        if self._running and self._in_flight:
            self._purge()
        if self._running:
            self._clients.take_over()
            self._events.client_changed()

    def _replace_client(self, fatal: KafkaError) -> None:
        """Make another client, at a bounded rate: after a fatal error an idempotent producer works no more."""
        if self._context.reactor.seconds() - self._clients.made_at_s < REMAKE_INTERVAL_S:
            return
        self._purge()
        if self._running:
            self._fatal = None
            self._clients.replace(fatal)
            self._events.client_changed()
