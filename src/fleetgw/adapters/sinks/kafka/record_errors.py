"""Outcomes for the records that a librdkafka client refuses, or reports as failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from fleetgw.adapters.sinks.kafka.error_codes import MISSING_TOPIC_CODES, delivery_error
from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.kafka.client_events import ClientEvents
    from fleetgw.adapters.sinks.kafka.cluster import Cluster
    from fleetgw.adapters.sinks.kafka.failures import KafkaFailures
    from fleetgw.adapters.sinks.support.destination import Destination
    from fleetgw.domain.records import Record

_NOT_CONNECTED_CODES = frozenset(
    {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._DESTROY}
)


class RecordErrors:
    """Turns the errors of single records into outcomes, and notes each: in the log, the metrics and the known state."""

    def __init__(self, failures: KafkaFailures, cluster: Cluster, events: ClientEvents, destination: Destination) -> None:
        self._failures = failures
        self._cluster = cluster
        self._events = events
        self._destination = destination

    def reported(self, error: KafkaError, record: Record, waited_s: float) -> DeliveryError:
        """The outcome of a record whose delivery report has an error.

        :param waited_s: seconds since the client has the record.
        """
        reason = f"{error.name()}: {error.str()}"
        self._failures.add(error.name(), reason)
        code = error.code()
        if code == KafkaError._MSG_TIMED_OUT:
            outcome = self._destination.unanswered(waited_s, reason)
            if isinstance(outcome, NotConnected):
                self._events.timed_out()
            return outcome
        if code in MISSING_TOPIC_CODES:
            self._cluster.topic_missing(record.record_type, reason)
        return NotConnected(reason) if code in _NOT_CONNECTED_CODES else delivery_error(code, reason)

    def unplaced(self) -> Retryable:
        """The outcome of a record that is reported as delivered without an offset."""
        reason = "a later batch was confirmed, this record was not"
        self._failures.add("no_offset", reason)
        return Retryable(reason)

    def refused(self, error: Exception, record: Record) -> DeliveryError:
        """The outcome of a record that ``produce`` does not take.

        :param error: raised by ``produce``.
        """
        if isinstance(error, KafkaException):
            return self.reported(error.args[0], record, 0.0)
        if isinstance(error, BufferError):
            return self._failures.queue_full()
        self._failures.add("unsendable", f"{type(error).__name__}: {error}")
        return Rejected(f"no Kafka record can be made of it: {type(error).__name__}: {error}")
