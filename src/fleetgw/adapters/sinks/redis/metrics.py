"""Metrics of the sink, by record type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
from fleetgw.domain.errors import Unheard
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.sinks.redis.parts import Part
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

NO_RECEIVER_TOTAL = Metric(
    "redis_no_receiver_total", Kind.COUNTER, "Records that no client of Redis was there to receive.", ("record_type",)
)

NO_RECEIVER = Unheard("no client of Redis subscribes to the vehicle")
"""The outcome of a record that no client has received."""


class RedisMetrics:
    """Counts channels, as the Go server does, not records: a record that goes to two channels counts twice."""

    def __init__(self, context: SinkContext) -> None:
        published = "Channels that records were published to, of records that clients of Redis received."
        self._metrics = PublishMetrics(context.metrics, "redis", published, context.record_types)
        self._no_receiver = ByRecordType(
            lambda record_type: context.metrics.counter(NO_RECEIVER_TOTAL, record_type=record_type), context.record_types
        )

    def refused(self, record: Record) -> None:
        """Count a record that was not sent."""
        self._metrics.failed(record.record_type)

    def count(self, part: Part, outcomes: Sequence[Outcome]) -> None:
        """Count the records of a part.

        :param outcomes: in the order of the part.
        """
        published: dict[str, tuple[int, int]] = {}  # channels and payload bytes, by record type
        for place, (record, outcome) in enumerate(zip(part.records, outcomes, strict=True)):
            record_type = record.record_type
            if outcome is RECEIPT:
                channels = part.channel_counts.get(place) or len(part.channels[place])
                count, size_bytes = published.get(record_type, (0, 0))
                published[record_type] = count + channels, size_bytes + channels * len(record.payload)
            elif outcome is NO_RECEIVER:
                self._no_receiver[record_type].add(1)
            else:
                self._metrics.failed(record_type)
        for record_type, (count, size_bytes) in published.items():
            self._metrics.published(record_type, count, size_bytes)
