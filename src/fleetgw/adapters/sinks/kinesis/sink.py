"""Kinesis: each record goes to its type's stream, with the vehicle as partition key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fleetgw.adapters.process.serial_worker import SerialWorker
from fleetgw.adapters.sinks.kinesis.client import BotoClient
from fleetgw.adapters.sinks.kinesis.settings import credential_files, read_settings
from fleetgw.adapters.sinks.support.failure_log import FailureLog
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.adapters.sinks.support.request_sink import RequestSink
from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.adapters.sinks.kinesis.client import StreamClient
    from fleetgw.adapters.sinks.kinesis.settings import KinesisSettings
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.publishers import Publisher
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

REQUEST_RECORDS = 500
REQUEST_SIZE_BYTES = 10 * 1024 * 1024
PARTITION_KEY_BYTES = 256
"""Bounds of one request. Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html"""


class _ThreadedPublisher:
    """``Publisher`` over a client that blocks: each request in flight has a thread of its own."""

    def __init__(self, client: StreamClient, make_worker: Callable[[str], Worker], name: str) -> None:
        self._client = client
        self._make_worker = make_worker
        self._name = name
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []  # filled from the workers' own threads: an append needs no lock

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """See ``Publisher``."""
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = self._make_worker(f"{self._name}-{len(self._workers) + 1}")
            self._workers.append(worker)

        def put() -> None:
            outcomes = self._client.put(destination, records)
            self._idle.append(worker)  # before ``done``, which may lead to the next request
            done(outcomes)

        worker.do(put)

    def fault(self, destination: str) -> DeliveryError | None:
        """See ``Publisher``."""
        return self._client.fault(destination)

    def close(self) -> None:
        """See ``Publisher``."""
        for worker in self._workers:
            worker.quit()
        self._client.close()


class KinesisSink(RequestSink):
    """Puts records in requests of many, each on a thread of its own.

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
        self._settings = settings = read_settings(context, environ)
        self._make_client = make_client
        super().__init__(
            context,
            settings.streams,
            RequestLimits(
                records=REQUEST_RECORDS,
                size_bytes=REQUEST_SIZE_BYTES,
                record_overhead_bytes=PARTITION_KEY_BYTES,
                requests=settings.max_requests,
                payload_bytes=settings.max_record_bytes - PARTITION_KEY_BYTES,
                retries=settings.max_retries,
            ),
            timeout_s=settings.delivery_timeout_s,
            metrics=PublishMetrics(context.metrics, "kinesis", "Records that Kinesis has taken.", context.record_types),
            failures=FailureLog(context.log, "kinesis_err", context.reactor),
            make_worker=make_worker,
            credential_files=credential_files(environ),
        )

    def open(self) -> None:
        """Begin to probe the streams."""
        super().open()
        self._context.log.info("kinesis_registered", streams=dict(self._settings.streams))

    def make_publisher(self) -> Publisher:
        """Make a client, which reads the credentials once."""
        return _ThreadedPublisher(self._make_client(self._settings), self._make_worker, f"fleetgw-{self.name}")
