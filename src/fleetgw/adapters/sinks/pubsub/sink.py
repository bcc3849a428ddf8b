"""Pub/Sub: each record is a message on its type's topic, with its metadata as attributes."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.sinks.pubsub.publisher import GrpcPublisher
from fleetgw.adapters.sinks.pubsub.settings import MAX_RETRIES, credential_files, read_settings
from fleetgw.adapters.sinks.support.destination_watch import Missing
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.numbers import PublishNumbers
from fleetgw.adapters.sinks.support.request_sink import ServiceDelivery
from fleetgw.adapters.sinks.support.serial_worker import SerialWorker
from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits
from fleetgw.domain.errors import NotConnected
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import IHoldsCopies, IPromptDispatcher, IReloadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.sinks.pubsub.settings import PubsubSettings
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.request_sink import Publisher
    from fleetgw.adapters.sinks.support.serial_worker import Worker
    from fleetgw.domain.ports import Outcome, Readiness
    from fleetgw.domain.records import Record

REQUEST_RECORDS = 1_000
REQUEST_SIZE_BYTES = 9_500_000
GATHERED_SIZE_BYTES = 7_500_000
ATTRIBUTES_BYTES = 500
"""A request may hold 1000 messages and 10 MB; attributes are counted with this much each, and a vehicle may make a
thousand of them 2 MB larger: requests are filled up to less.
Source: https://cloud.google.com/pubsub/quotas#resource_limits"""

NOT_CONNECTED_TOTAL = Metric(
    "pubsub_not_connected_total",
    Kind.COUNTER,
    "Records for which Pub/Sub or the topic could not be reached.",
    ("record_type",),
)


@implementer(IPromptDispatcher, IReloadable, IHoldsCopies)
class PubsubSink:
    """Publishes in requests of many, which gRPC's own threads carry; a thread looks for credentials and topics.

    :param context: settings are the section ``pubsub``.
    :param make_publisher: makes the connection from settings and what is told of created topics, on a thread, for tests.
    :param make_worker: makes that thread from its name, for tests.
    :param environ: the environment variables.
    :cvar memory_weight: a request under way is held as records, as a message and as the bytes of its body, encoded.
    """

    memory_weight = 4.0

    def __init__(
        self,
        context: SinkContext,
        make_publisher: Callable[[PubsubSettings, Callable[[str], None]], Publisher] = GrpcPublisher,
        make_worker: Callable[[str], Worker] = SerialWorker,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.name = context.name
        self._context = context
        self._make_worker = make_worker
        self._settings = settings = read_settings(context, environ)
        self._not_connected = {
            record_type: context.metrics.counter(NOT_CONNECTED_TOTAL, record_type=record_type)
            for record_type in context.record_types
        }
        self._delivery = ServiceDelivery(
            context,
            "Pub/Sub",
            partial(make_publisher, settings, self._log_created),
            settings.topics,
            RequestLimits(
                records=REQUEST_RECORDS,
                size_bytes=GATHERED_SIZE_BYTES,
                record_overhead_bytes=ATTRIBUTES_BYTES,
                requests=settings.max_requests,
                payload_bytes=REQUEST_SIZE_BYTES - ATTRIBUTES_BYTES,
                retries=MAX_RETRIES,
                timeout_s=settings.delivery_timeout_s,
                one_vehicle=settings.ordering,
            ),
            numbers=PublishNumbers(context.metrics, "pubsub", "Messages that Pub/Sub has taken.", context.record_types),
            failures=FailureLog(context.log, "pubsub_err", context.reactor),
            answered=self._count_not_connected,
            credential_files=credential_files(environ),
        )

    def start(self) -> Deferred[None]:
        """Start the thread that finds credentials and topics."""
        settings = self._settings
        self._delivery.start(self._make_worker(f"fleetgw-{self.name}"))
        server = settings.emulator or settings.endpoint
        self._context.log.info(
            "pubsub_registered",
            namespace=self._context.namespace,
            project=settings.project,
            server=server,
            topics=dict(settings.topics),
        )
        return succeed(None)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Hand records to gRPC."""
        return self._delivery.dispatch(batch)

    def stop(self) -> Deferred[None]:
        """Wait for what is under way, then close the connection. Takes no longer than a record may."""
        return self._delivery.stop()

    def readiness(self) -> Readiness:
        """By the last look at the topics, and the last answers."""
        return self._delivery.readiness()

    def reload(self) -> Sequence[str]:
        """Where the file with the credentials has changed, make another connection: one reads it once."""
        return self._delivery.reload()

    def _log_created(self, topic: str) -> None:
        """On the thread that looks."""
        record_type = next(kind for kind, name in self._settings.topics.items() if name == topic)
        self._context.reactor.callFromThread(
            self._context.log.info,
            "pubsub_topic_created",
            topic_name=self._context.destination(record_type),
            txType=record_type,
        )

    def _count_not_connected(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        if isinstance(outcomes[0], (NotConnected, Missing)):
            for record in records:
                self._not_connected[record.record_type].add(1)
