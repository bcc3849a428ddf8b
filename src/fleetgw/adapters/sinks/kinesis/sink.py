"""Kinesis: each record goes to its type's stream, with the vehicle as partition key."""

from __future__ import annotations

import os
from functools import partial
from itertools import count
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
from fleetgw.adapters.sinks.kinesis.client import BotoClient
from fleetgw.adapters.sinks.kinesis.settings import read_settings
from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import IDispatcher, NotReady

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.serial_worker import Worker
    from fleetgw.adapters.sinks.context import SinkContext
    from fleetgw.adapters.sinks.kinesis.client import StreamClient
    from fleetgw.adapters.sinks.kinesis.settings import KinesisSettings
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome, Readiness
    from fleetgw.domain.records import Record

REQUEST_RECORDS = 500
REQUEST_SIZE_BYTES = 10 * 1024 * 1024
PARTITION_KEY_BYTES = 256
"""What Kinesis takes in one request: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html"""

_NOT_RUNNING = NotConnected("the Kinesis sink is not running")
_GIVEN_UP = Retryable("the sink stopped before Kinesis answered")


@implementer(IDispatcher)
class KinesisSink:
    """Puts records in requests of many. Requests of one stream run on threads of their own, one each.

    :param context: settings are the section ``kinesis``.
    :param make_client: makes the client, on a thread, for tests.
    :param make_worker: makes a thread from its name, for tests.
    :param environ: the environment variables.
    """

    def __init__(
        self,
        context: SinkContext,
        make_client: Callable[[KinesisSettings], StreamClient] = BotoClient,
        make_worker: Callable[[str], Worker] = SerialWorker,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.name = context.name
        self._context = context
        self._make_client = make_client
        self._make_worker = make_worker
        self._settings = settings = read_settings(context, environ)
        self._streams = tuple(dict.fromkeys(settings.streams.values()))
        numbers = PublishNumbers(context.metrics, "kinesis", "Records that Kinesis has taken.", context.record_types)
        failures = FailureLog(context.log, "kinesis_err", context.reactor)
        random = Random()  # noqa: S311  jitter needs no secrecy
        self._requests = Requests(
            context.reactor,
            self,
            settings.streams,
            RequestLimits(REQUEST_RECORDS, REQUEST_SIZE_BYTES, PARTITION_KEY_BYTES, settings.max_requests),
            max_payload_bytes=settings.max_record_bytes - PARTITION_KEY_BYTES,
            max_retries=settings.max_retries,
            timeout_s=settings.delivery_timeout_s,
            numbers=numbers,
            failures=failures,
            random=random,
        )
        self._watch = DestinationWatch(context.reactor, self._look, failures, random)
        self._results: Burst[Callable[[], None]] = Burst(context.reactor, lambda result: result())
        self._client: StreamClient | None = None
        self._watcher: Worker | None = None
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []
        self._worker_numbers = count(1)
        self._stopped: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        """Start the thread that makes the client and looks at the streams."""
        self._watcher = self._make_worker(f"fleetgw-{self.name}-watch")
        self._watch.start()
        self._context.log.info("kinesis_registered", streams=dict(self._settings.streams))
        return succeed(None)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Hand records to the threads."""
        if self._watcher is None or self._stopped is not None:
            return succeed([_NOT_RUNNING] * len(batch))
        return self._requests.dispatch(batch)

    def stop(self) -> Deferred[None]:
        """Wait for what is under way, then let the threads end. Takes no longer than a record may."""
        self._stopped = Deferred(lambda _: self._requests.give_up(_GIVEN_UP))
        self._watch.stop()
        self._requests.settled().addCallback(self._release)
        return self._stopped

    def readiness(self) -> Readiness:
        """By the last look at the streams, and the last answers."""
        return self._watch.readiness()

    # Courier

    def send(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """See ``Courier``."""
        client = self._client
        if client is None:
            readiness = self._watch.readiness()
            reason = readiness.reason if isinstance(readiness, NotReady) else "stopped"
            self._results.add(partial(done, [Unreachable(reason)] * len(records)))
            return
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = self._make_worker(f"fleetgw-{self.name}-{next(self._worker_numbers)}")
            self._workers.append(worker)

        def put() -> None:
            outcomes = client.put(destination, records)
            self._results.add(partial(self._answered, worker, destination, outcomes, done))

        worker.do(put)

    def _answered(
        self, worker: Worker, destination: str, outcomes: Sequence[Outcome], done: Callable[[Sequence[Outcome]], None]
    ) -> None:
        self._idle.append(worker)
        self._watch.answered(destination, outcomes)
        done(outcomes)

    # On the reactor's thread, but for ``look``

    def _look(self) -> None:
        client = self._client

        def look() -> None:
            found: StreamClient | None = client
            findings: dict[str, DeliveryError | None]
            try:
                found = client or self._make_client(self._settings)
                findings = {stream: found.fault(stream) for stream in self._streams}
            except Unreachable as error:
                findings = dict.fromkeys(self._streams, error)
            self._results.add(partial(self._looked, found, findings))

        if self._watcher is not None:
            self._watcher.do(look)

    def _looked(self, client: StreamClient | None, findings: Mapping[str, DeliveryError | None]) -> None:
        if self._stopped is not None and self._stopped.called:
            if client is not None:
                client.close()
            return
        self._client = client
        self._watch.looked(findings)
        self._requests.begin()

    def _release(self, _: None) -> None:
        for worker in (*self._workers, *([self._watcher] if self._watcher is not None else ())):
            worker.quit()
        if self._client is not None:
            self._client.close()
        if self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)
