"""Pub/Sub: each record is a message on its type's topic, with its metadata as attributes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fleetgw.adapters.process.serial_worker import SerialWorker
from fleetgw.adapters.sinks.pubsub.publisher import GrpcPublisher
from fleetgw.adapters.sinks.pubsub.settings import MAX_RETRIES, credential_files, read_settings
from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.adapters.sinks.support.request_errors import Missing
from fleetgw.adapters.sinks.support.request_sink import RequestSink
from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits
from fleetgw.domain.errors import NotConnected
from fleetgw.domain.metrics import Kind, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.adapters.sinks.pubsub.settings import PubsubSettings
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.publishers import Publisher
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

REQUEST_RECORDS = 1_000
REQUEST_SIZE_BYTES = 9_500_000
GATHERED_SIZE_BYTES = 7_500_000
ATTRIBUTES_BYTES = 500
"""A request may hold 1000 messages and 10 MB. The attributes of a message count ``ATTRIBUTES_BYTES``; a vehicle can make
those of a thousand messages 2 MB larger, so requests are filled to less than 10 MB.
Source: https://cloud.google.com/pubsub/quotas#resource_limits"""

NOT_CONNECTED_TOTAL = Metric(
    "pubsub_not_connected_total",
    Kind.COUNTER,
    "Records for which Pub/Sub or the topic could not be reached.",
    ("record_type",),
)


class PubsubSink(RequestSink):
    """Publishes in requests of many, which gRPC's own threads carry.

    :param context: settings are the section ``pubsub``.
    :param make_publisher: makes the connection from the settings and a callback for created topics, on a thread, for tests.
    :param make_worker: makes a thread from its name, for tests.
    :param environ: the environment variables.
    """

    def __init__(
        self,
        context: SinkContext,
        make_publisher: Callable[[PubsubSettings, Callable[[str], None]], Publisher] = GrpcPublisher,
        make_worker: Callable[[str], Worker] = SerialWorker,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._settings = settings = read_settings(context, environ)
        self._make_publisher = make_publisher
        self._not_connected = ByRecordType(
            lambda record_type: context.metrics.counter(NOT_CONNECTED_TOTAL, record_type=record_type), context.record_types
        )
        super().__init__(
            context,
            settings.topics,
            RequestLimits(
                records=REQUEST_RECORDS,
                size_bytes=GATHERED_SIZE_BYTES,
                record_overhead_bytes=ATTRIBUTES_BYTES,
                requests=settings.max_requests,
                payload_bytes=REQUEST_SIZE_BYTES - ATTRIBUTES_BYTES,
                retries=MAX_RETRIES,
                one_vehicle=settings.ordering,
            ),
            timeout_s=settings.delivery_timeout_s,
            metrics=PublishMetrics(context.metrics, "pubsub", "Messages that Pub/Sub has taken.", context.record_types),
            failures=FailureLog(context.log, "pubsub_err", context.reactor),
            make_worker=make_worker,
            credential_files=credential_files(environ),
        )

    def open(self) -> None:
        """Begin to look for credentials and topics."""
        super().open()
        settings = self._settings
        self._context.log.info(
            "pubsub_registered",
            namespace=self._context.namespace,
            project=settings.project,
            server=settings.emulator or settings.endpoint,
            topics=dict(settings.topics),
        )

    def make_publisher(self) -> Publisher:
        """Make a connection, which reads the credentials once."""
        return self._make_publisher(self._settings, self._log_created)

    def answered(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Count records whose topic could not be reached."""
        if isinstance(outcomes[0], (NotConnected, Missing)):
            for record in records:
                self._not_connected[record.record_type].add(1)

    def _log_created(self, topic: str) -> None:
        """Called on the thread of the probe."""
        record_type = next(kind for kind, name in [*self._settings.topics.items()] if name == topic)
        self._context.reactor.callFromThread(
            self._context.log.info,
            "pubsub_topic_created",
            topic_name=self._context.destination(record_type),
            txType=record_type,
        )
