"""The Kafka sink's metrics, with the names that dashboards of the Go server use."""

from collections.abc import Iterable, Sequence

from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import RECEIPT, IMetrics, Outcome
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
    "Records with the Kafka client: without a delivery report (buffer), with one but not answered yet (events), total.",
    ("type",),
)

Totals = tuple[tuple[str, int, int], ...]
"""Record type, number of records, payload bytes; one entry for each type."""


def totals(records: Sequence[Record]) -> Totals:
    """Add up records by type, so that a batch costs one update for each counter and type."""
    added = []
    while records:
        record_type = records[0].record_type
        sizes = [len(record.payload) for record in records if record.record_type == record_type]
        added.append((record_type, len(sizes), sum(sizes)))
        if len(sizes) == len(records):
            break
        records = [record for record in records if record.record_type != record_type]
    return tuple(added)


class KafkaMetrics:
    """The sink's metric series, looked up once.

    :ivar errors: counts ``kafka_err``.
    """

    def __init__(self, metrics: IMetrics, record_types: Iterable[str]) -> None:
        self.errors = metrics.counter(ERR)
        self._buffer, self._events, self._total = (
            metrics.gauge(PRODUCE_QUEUE_SIZE, type=kind) for kind in ("buffer", "events", "total")
        )
        self._series = ByRecordType(
            lambda record_type: (
                metrics.counter(PRODUCE_TOTAL, record_type=record_type),
                metrics.counter(PRODUCE_TOTAL_BYTES, record_type=record_type),
                metrics.counter(PRODUCE_ACK_TOTAL, record_type=record_type),
                metrics.counter(PRODUCE_ACK_TOTAL_BYTES, record_type=record_type),
            ),
            record_types,
        )

        self._produced: dict[Dispatch, Totals] = {}

    def queued(self, waiting: int, total: int) -> None:
        """Set the size of the queue.

        :param waiting: records without a delivery report.
        :param total: records that have not been answered.
        """
        self._buffer.set_to(waiting)
        self._events.set_to(total - waiting)
        self._total.set_to(total)

    def produced(self, dispatch: Dispatch) -> None:
        """Count the records of a dispatch that the client has taken: those without an outcome, before any is reported on."""
        batch = dispatch.batch
        if dispatch.unsettled != len(batch):
            batch = [record for index, record in enumerate(batch) if not dispatch.is_settled(index)]
        added = self._produced[dispatch] = totals(batch)
        for record_type, records, size_bytes in added:
            produced, produced_bytes, _, _ = self._series[record_type]
            produced.add(records)
            produced_bytes.add(size_bytes)

    def settled(self, dispatch: Dispatch, outcomes: Sequence[Outcome]) -> None:
        """Count the records of a dispatch that Kafka has confirmed, after ``produced``."""
        added = self._produced.pop(dispatch)
        if outcomes.count(RECEIPT) < len(outcomes):
            batch = zip(dispatch.batch, outcomes, strict=True)
            added = totals([record for record, outcome in batch if outcome is RECEIPT])
        for record_type, records, size_bytes in added:
            _, _, confirmed, confirmed_bytes = self._series[record_type]
            confirmed.add(records)
            confirmed_bytes.add(size_bytes)
