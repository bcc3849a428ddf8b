"""Counts and logs the Kafka sink's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.domain.errors import Retryable

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.kafka.metrics import KafkaMetrics
    from fleetgw.adapters.sinks.support.context import SinkContext

_QUEUE_FULL = Retryable("the queue to Kafka is full")


class KafkaFailures:
    """Counts each error in ``kafka_err``, and logs each kind of error at a bounded rate: see ``FailureLog``."""

    def __init__(self, context: SinkContext, metrics: KafkaMetrics) -> None:
        self._log = FailureLog(context.log, "kafka_err", context.reactor)
        self._metrics = metrics

    def add(self, kind: str, reason: str, *, counts: bool = True) -> None:
        """Note one error.

        :param kind: of a closed set, such as the name of an error code.
        :param reason: for people.
        :param counts: False for an error while no record waits, such as a lost connection: it is only logged.
        """
        self._metrics.errors.add(counts)
        self._log.add(kind=kind, reason=reason)

    def queue_full(self) -> Retryable:
        """The outcome of a record that the client's queue has no room for."""
        self.add("queue_full", "the queue to Kafka is full (queue.buffering.max.messages, .kbytes)")
        return _QUEUE_FULL
