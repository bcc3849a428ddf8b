"""Pub/Sub: each record is a message on its type's topic, with its metadata as attributes."""

from __future__ import annotations

import os
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.delivery.failure_log import FailureLog
from fleetgw.adapters.delivery.numbers import PublishNumbers
from fleetgw.adapters.delivery.requests import Requests
from fleetgw.adapters.delivery.results import Burst
from fleetgw.adapters.delivery.vehicle_queues import RequestLimits
from fleetgw.adapters.delivery.watch import DestinationWatch, Unreachable
from fleetgw.adapters.serial_worker import SerialWorker
from fleetgw.adapters.sinks.pubsub.publisher import GrpcPublisher
from fleetgw.adapters.sinks.pubsub.settings import MAX_RETRIES, read_settings
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import IDispatcher, NotReady

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.serial_worker import Worker
    from fleetgw.adapters.sinks.context import SinkContext
    from fleetgw.adapters.sinks.pubsub.publisher import Publisher
    from fleetgw.adapters.sinks.pubsub.settings import PubsubSettings
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome, Readiness
    from fleetgw.domain.records import Record

REQUEST_RECORDS = 1_000
REQUEST_SIZE_BYTES = 9_500_000
ATTRIBUTES_BYTES = 500
"""What a request may hold is 1000 messages and 10 MB; attributes are counted with this much each.
Source: https://cloud.google.com/pubsub/quotas#resource_limits"""

NOT_CONNECTED_TOTAL = Metric(
    "pubsub_not_connected_total", Kind.COUNTER, "Records for which Pub/Sub could not be reached.", ("record_type",)
)

_NOT_RUNNING = NotConnected("the Pub/Sub sink is not running")
_GIVEN_UP = Retryable("the sink stopped before Pub/Sub answered")


@implementer(IDispatcher)
class PubsubSink:
    """Publishes in requests of many, which gRPC's own threads carry; a thread looks for credentials and topics.

    :param context: settings are the section ``pubsub``.
    :param make_publisher: makes the connection, on a thread, for tests.
    :param make_worker: makes that thread from its name, for tests.
    :param environ: the environment variables.
    """

    def __init__(
        self,
        context: SinkContext,
        make_publisher: Callable[[PubsubSettings], Publisher] = GrpcPublisher,
        make_worker: Callable[[str], Worker] = SerialWorker,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.name = context.name
        self._context = context
        self._make_publisher = make_publisher
        self._make_worker = make_worker
        self._settings = settings = read_settings(context, environ)
        numbers = PublishNumbers(context.metrics, "pubsub", "Messages that Pub/Sub has taken.", context.record_types)
        self._not_connected = {
            record_type: context.metrics.counter(NOT_CONNECTED_TOTAL, record_type=record_type)
            for record_type in context.record_types
        }
        failures = FailureLog(context.log, "pubsub_err", context.reactor)
        random = Random()  # noqa: S311  jitter needs no secrecy
        self._requests = Requests(
            context.reactor,
            self,
            settings.topics,
            RequestLimits(
                REQUEST_RECORDS, REQUEST_SIZE_BYTES, ATTRIBUTES_BYTES, settings.max_requests, one_vehicle=settings.ordering
            ),
            max_payload_bytes=REQUEST_SIZE_BYTES - ATTRIBUTES_BYTES,
            max_retries=MAX_RETRIES,
            timeout_s=settings.delivery_timeout_s,
            numbers=numbers,
            failures=failures,
            random=random,
        )
        self._topics = tuple(dict.fromkeys(settings.topics.values()))
        self._watch = DestinationWatch(context.reactor, self._look, failures, random)
        self._results: Burst[Callable[[], None]] = Burst(context.reactor, lambda result: result())
        self._publisher: Publisher | None = None
        self._worker: Worker | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        """Start the thread that finds credentials and topics."""
        settings = self._settings
        self._worker = self._make_worker(f"fleetgw-{self.name}")
        self._watch.start()
        server = settings.emulator or settings.endpoint
        self._context.log.info("pubsub_registered", project=settings.project, server=server, topics=dict(settings.topics))
        return succeed(None)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Hand records to gRPC."""
        if self._worker is None or self._stopped is not None:
            return succeed([_NOT_RUNNING] * len(batch))
        return self._requests.dispatch(batch)

    def stop(self) -> Deferred[None]:
        """Wait for what is under way, then close the connection. Takes no longer than a record may."""
        self._stopped = Deferred(lambda _: self._requests.give_up(_GIVEN_UP))
        self._watch.stop()
        self._requests.settled().addCallback(self._release)
        return self._stopped

    def readiness(self) -> Readiness:
        """By the last look at the topics, and the last answers."""
        return self._watch.readiness()

    # Courier

    def send(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """See ``Courier``."""

        def published(outcomes: Sequence[Outcome]) -> None:
            self._results.add(partial(self._answered, destination, records, outcomes, done))

        if self._publisher is not None:
            self._publisher.publish(destination, records, published)
            return
        readiness = self._watch.readiness()
        published([Unreachable(readiness.reason if isinstance(readiness, NotReady) else "stopped")] * len(records))

    # On the reactor's thread, but for ``look``

    def _answered(
        self,
        destination: str,
        records: Sequence[Record],
        outcomes: Sequence[Outcome],
        done: Callable[[Sequence[Outcome]], None],
    ) -> None:
        if isinstance(outcomes[0], NotConnected):
            for record in records:
                self._not_connected[record.record_type].add(1)
        if self._publisher is not None:
            self._watch.answered(destination, outcomes)
        done(outcomes)

    def _look(self) -> None:
        publisher = self._publisher

        def look() -> None:
            found: Publisher | None = publisher
            findings: dict[str, DeliveryError | None] = {}
            created = []
            try:
                found = publisher or self._make_publisher(self._settings)
                for topic in self._topics:
                    findings[topic], is_new = found.provide(topic)
                    if is_new:
                        created.append(topic)
            except Unreachable as error:
                findings = dict.fromkeys(self._topics, error)
            self._results.add(partial(self._looked, found, findings, created))

        if self._worker is not None:
            self._worker.do(look)

    def _looked(
        self, publisher: Publisher | None, findings: Mapping[str, DeliveryError | None], created: Sequence[str]
    ) -> None:
        if self._stopped is not None and self._stopped.called:
            if publisher is not None:
                publisher.close()
            return
        self._publisher = publisher
        for topic in created:
            self._context.log.info("pubsub_topic_created", topic=topic)
        self._watch.looked(findings)
        self._requests.begin()

    def _release(self, _: None) -> None:
        if self._worker is not None:
            self._worker.quit()
        if self._publisher is not None:
            self._publisher.close()
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)
