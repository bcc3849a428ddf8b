"""The Kafka sink's numbers; names are what dashboards of the Go server already use."""

from collections.abc import Iterable

from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import IMetrics
from fleetgw.domain.records import Record

PRODUCE_TOTAL = Metric("kafka_produce_total", Kind.COUNTER, "Records handed to the Kafka client.", ("record_type",))
PRODUCE_TOTAL_BYTES = Metric(
    "kafka_produce_total_bytes", Kind.COUNTER, "Payload bytes handed to the Kafka client.", ("record_type",)
)
PRODUCE_ACK_TOTAL = Metric("kafka_produce_ack_total", Kind.COUNTER, "Records confirmed by Kafka.", ("record_type",))
PRODUCE_ACK_TOTAL_BYTES = Metric(
    "kafka_produce_ack_total_bytes", Kind.COUNTER, "Payload bytes confirmed by Kafka.", ("record_type",)
)
ERR = Metric(
    "kafka_err", Kind.COUNTER, "Records that Kafka did not take, and errors of its client while it had any to send."
)
PRODUCE_QUEUE_SIZE = Metric(
    "kafka_produce_queue_size",
    Kind.GAUGE,
    "Records with the Kafka client: waiting for their report (buffer), reported on but not answered yet (events), total.",
    ("type",),
)

Totals = tuple[tuple[str, int, int], ...]
"""Record type, number of records, payload bytes; a type once."""


def totals(records: Iterable[Record]) -> Totals:
    """Add up records by type, so that a batch costs one counter update a type."""
    batch = list(records)
    sizes_by_type = (
        (record_type, [len(record.payload) for record in batch if record.record_type == record_type])
        for record_type in {record.record_type for record in batch}
    )
    return tuple((record_type, len(sizes), sum(sizes)) for record_type, sizes in sizes_by_type)


class KafkaNumbers:
    """The sink's series, looked up once.

    :ivar errors: counts ``kafka_err``.
    """

    def __init__(self, metrics: IMetrics, record_types: Iterable[str]) -> None:
        self.errors = metrics.counter(ERR)
        self._buffer, self._events, self._total = (
            metrics.gauge(PRODUCE_QUEUE_SIZE, type=kind) for kind in ("buffer", "events", "total")
        )
        self._series = {
            record_type: (
                metrics.counter(PRODUCE_TOTAL, record_type=record_type),
                metrics.counter(PRODUCE_TOTAL_BYTES, record_type=record_type),
                metrics.counter(PRODUCE_ACK_TOTAL, record_type=record_type),
                metrics.counter(PRODUCE_ACK_TOTAL_BYTES, record_type=record_type),
            )
            for record_type in record_types
        }

    def queued(self, waiting: int, total: int) -> None:
        """Set the size of the queue.

        :param waiting: records without a report.
        :param total: records that have not been answered.
        """
        self._buffer.set_to(waiting)
        self._events.set_to(total - waiting)
        self._total.set_to(total)

    def produced(self, added: Totals) -> None:
        """Count records that the client has taken."""
        for record_type, records, size_bytes in added:
            produced, produced_bytes, _, _ = self._series[record_type]
            produced.add(records)
            produced_bytes.add(size_bytes)

    def confirmed(self, added: Totals) -> None:
        """Count records that Kafka has confirmed."""
        for record_type, records, size_bytes in added:
            _, _, confirmed, confirmed_bytes = self._series[record_type]
            confirmed.add(records)
            confirmed_bytes.add(size_bytes)
