"""Samples of a gateway's figures, one a second: rates, their history, and percentiles of a window."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from fleetgw.domain.metrics import (
    ACK_LATENCY_SECONDS,
    LEDGER_ACKED_TOTAL,
    LEDGER_DELIVERED_TOTAL,
    RECORD_TOTAL,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.adapters.metrics.store import MetricStore
    from fleetgw.domain.distribution import Distribution
    from fleetgw.domain.metrics import Metric

RATE_S = 5
"""Rates are those of the last so many seconds."""

WINDOW_S = 60
"""Percentiles are those of the last so many seconds."""

HISTORY_S = 600
"""Length of the history, with a number a second."""


@frozen
class Sample:
    """The figures of one moment.

    :ivar at_s: monotonic seconds.
    :ivar received: number of records by type.
    :ivar acked: the same, of those acknowledged, without duplicates.
    :ivar delivered: number of records by sink.
    :ivar ack_latency: of all record types, in seconds; None before the first type has a route.
    """

    at_s: float
    received: Mapping[str, int]
    acked: Mapping[str, int]
    delivered: Mapping[str, int]
    ack_latency: Distribution | None


@define(eq=False)
class Sampling:
    """Takes the samples; call ``tick`` once a second. Its cost grows with the record types and sinks, not with vehicles.

    :ivar monotonic: seconds, never going back.
    :ivar count_vehicles: returns the number of connected vehicles.
    :ivar received_per_s: the history: records a second over ``RATE_S``, the oldest first.
    :ivar acked_per_s: the same of records acknowledged.
    :ivar vehicles: the history of connected vehicles.
    :ivar by_type: the history by record type, every ``RATE_S``: of records, and of records acknowledged.
    """

    store: MetricStore
    monotonic: Callable[[], float]
    count_vehicles: Callable[[], int]
    received_per_s: deque[float] = field(factory=lambda: deque(maxlen=HISTORY_S), init=False)
    acked_per_s: deque[float] = field(factory=lambda: deque(maxlen=HISTORY_S), init=False)
    vehicles: deque[int] = field(factory=lambda: deque(maxlen=HISTORY_S), init=False)
    by_type: deque[tuple[Mapping[str, float], Mapping[str, float]]] = field(
        factory=lambda: deque(maxlen=HISTORY_S // RATE_S), init=False
    )
    _ticks: int = field(default=0, init=False)
    _samples: deque[Sample] = field(factory=lambda: deque(maxlen=WINDOW_S + 1), init=False)

    def tick(self) -> None:
        """Take a sample."""
        self._samples.append(
            Sample(
                self.monotonic(),
                self.sums(RECORD_TOTAL, "record_type"),
                self.sums(LEDGER_ACKED_TOTAL, "record_type"),
                self.sums(LEDGER_DELIVERED_TOTAL, "dispatcher"),
                self._ack_latency(),
            )
        )
        received_per_s = self.rates(lambda sample: sample.received)
        acked_per_s = self.rates(lambda sample: sample.acked)
        self.received_per_s.append(sum(received_per_s.values()))
        self.acked_per_s.append(sum(acked_per_s.values()))
        if self._ticks % RATE_S == 0:
            self.by_type.append((received_per_s, acked_per_s))
        self._ticks += 1
        self.vehicles.append(self.count_vehicles())

    @property
    def latest(self) -> Sample:
        """The last sample; one is taken where there is none."""
        if not self._samples:
            self.tick()
        return self._samples[-1]

    def rates(self, totals: Callable[[Sample], Mapping[str, int]]) -> Mapping[str, float]:
        """Growth a second over the last ``RATE_S``.

        :param totals: gives the numbers of a sample.
        """
        latest = self.latest
        earlier = self._samples[-min(RATE_S + 1, len(self._samples))]
        before, elapsed_s = totals(earlier), latest.at_s - earlier.at_s
        if not elapsed_s:
            return dict.fromkeys(totals(latest), 0.0)
        return {name: round((total - before.get(name, 0)) / elapsed_s, 1) for name, total in totals(latest).items()}

    def ack_latency(self) -> Distribution | None:
        """The time to an acknowledgement over the last ``WINDOW_S``, in seconds; None while there is none."""
        latest, earlier = self.latest.ack_latency, self._samples[0].ack_latency
        return latest.since(earlier) if latest is not None and earlier is not None else latest

    def sums(self, metric: Metric, label: str, **only: str) -> Mapping[str, int]:
        """The sums of a metric's series now, by one of its labels.

        :param only: take the series with these labels alone.
        """
        position, sums = metric.labels.index(label), Counter[str]()
        wanted = {metric.labels.index(name): value for name, value in only.items()}
        for values, number in self.store.family(metric).series.items():
            if all(values[index] == value for index, value in wanted.items()):
                sums[values[position]] += round(number)
        return dict(sums)

    def _ack_latency(self) -> Distribution | None:
        whole: Distribution | None = None
        for each in self.store.family(ACK_LATENCY_SECONDS).distributions.values():
            whole = each if whole is None else whole.plus(each)
        return whole
