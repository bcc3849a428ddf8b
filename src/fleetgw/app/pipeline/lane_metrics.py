"""The time series of one lane, looked up once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.metrics import (
    LANE_CAPACITY_RECORDS,
    LANE_HELD_RECORDS,
    LANE_MEMORY_BYTES,
    LANE_REFUSED_FOR_MEMORY_TOTAL,
    LANE_REFUSED_TOTAL,
    LANE_RETRIED_TOTAL,
    SINK_BATCH_RECORDS,
    SINK_LATENCY_SECONDS,
    SINK_READY,
)
from fleetgw.domain.ports import Ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.domain.ports import IDispatcher, IMetrics


class LaneMetrics:
    """The metrics of one lane and its sink.

    :ivar batch_records: the records of each batch that is dispatched.
    :ivar latency: seconds from each dispatch to its outcomes.
    """

    def __init__(
        self,
        sink: IDispatcher,
        capacity_records: int,
        held_records: Callable[[], int],
        memory_bytes: Callable[[], int],
        metrics: IMetrics,
    ) -> None:
        """Look the series up; the gauges are measured until ``close``."""
        labels = {"dispatcher": sink.name}
        self.refused_total = metrics.counter(LANE_REFUSED_TOTAL, **labels)
        self.refused_for_memory_total = metrics.counter(LANE_REFUSED_FOR_MEMORY_TOTAL, **labels)
        self.retried_total = metrics.counter(LANE_RETRIED_TOTAL, **labels)
        self.batch_records = metrics.histogram(SINK_BATCH_RECORDS, **labels)
        self.latency = metrics.histogram(SINK_LATENCY_SECONDS, **labels)
        self._measured = [
            metrics.gauge(metric, **labels)
            for metric in (LANE_HELD_RECORDS, LANE_MEMORY_BYTES, LANE_CAPACITY_RECORDS, SINK_READY)
        ]
        held, memory, capacity, ready = self._measured
        held.measured_by(held_records)
        memory.measured_by(memory_bytes)
        capacity.set_to(capacity_records)
        ready.measured_by(lambda: _is_ready(sink))

    def close(self) -> None:
        """Set the gauges to 0: the metrics must not keep the lane in memory."""
        for gauge in self._measured:
            gauge.set_to(0)


def _is_ready(sink: IDispatcher) -> bool:
    try:
        return isinstance(sink.readiness(), Ready)
    except Exception:  # of a sink that breaks its contract
        return False
