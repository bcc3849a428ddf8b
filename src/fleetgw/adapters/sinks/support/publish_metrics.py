"""The counters of most sinks, by the names that dashboards of the Go server use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fleetgw.domain.ports import IMetrics, Outcome
    from fleetgw.domain.records import Record


class PublishMetrics:
    """``<sink>_publish_total``, ``<sink>_publish_total_bytes`` and ``<sink>_err``, by record type.

    :param sink: the first part of the names, such as ``mqtt``.
    :param published: the help text of the first counter, such as ``Messages that the broker has confirmed.``
    :param record_types: the values of the label at first; the sink takes no records of types that are not routed to it.
    """

    def __init__(self, metrics: IMetrics, sink: str, published: str, record_types: Iterable[str]) -> None:
        total = Metric(f"{sink}_publish_total", Kind.COUNTER, published, ("record_type",))
        size = Metric(f"{sink}_publish_total_bytes", Kind.COUNTER, f"Bytes of them: {published}", ("record_type",))
        err = Metric(f"{sink}_err", Kind.COUNTER, f"Records that {sink} did not take.", ("record_type",))
        self._series = ByRecordType(
            lambda record_type: tuple(metrics.counter(metric, record_type=record_type) for metric in (total, size, err)),
            record_types,
        )

    def published(self, record_type: str, count: int, size_bytes: int) -> None:
        """Count records that the destination has."""
        total, size, _ = self._series[record_type]
        total.add(count)
        size.add(size_bytes)

    def failed(self, record_type: str, count: int = 1) -> None:
        """Count records that were not taken."""
        self._series[record_type][2].add(count)

    def count(self, batch: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Count the outcomes of a batch.

        :param outcomes: in the order of the batch.
        """
        sizes: dict[str, list[int]] = {}
        for record, outcome in zip(batch, outcomes, strict=True):
            if outcome is RECEIPT:
                sizes.setdefault(record.record_type, []).append(len(record.payload))
            else:
                self.failed(record.record_type)
        for record_type, published in sizes.items():
            self.published(record_type, len(published), sum(published))
