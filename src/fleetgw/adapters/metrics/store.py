"""The store of a gateway's series, which exporters read as a snapshot."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from attrs import field, frozen
from zope.interface import implementer

from fleetgw.adapters.metrics.series import label_values
from fleetgw.domain.distribution import Distribution
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import ICounter, IGauge, IHistogram, IMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@implementer(ICounter)
class _Counter:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int) -> None:
        self.value += amount


@implementer(IGauge)
class _Gauge:
    __slots__ = ("_measure", "_value")

    def __init__(self) -> None:
        self._value: float = 0
        self._measure: Callable[[], float] | None = None

    @property
    def value(self) -> float:
        return +(self._value if self._measure is None else self._measure())  # a bool becomes 1 or 0

    def set_to(self, value: float) -> None:
        self._value = value
        self._measure = None

    def add(self, amount: int) -> None:
        self._value += amount

    def measured_by(self, measure: Callable[[], float]) -> None:
        self._measure = measure


@implementer(IHistogram)
class _Histogram:
    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    @property
    def value(self) -> Distribution:
        return Distribution(self._bounds, tuple(self._counts), self._sum)

    def observe(self, value: float, count: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count


@frozen
class Family:
    """All series of one metric at one moment.

    :ivar series: numbers by label values in the order of ``metric.labels``; those of a counter or gauge, never empty then.
    :ivar distributions: the same for a histogram.
    """

    metric: Metric
    series: Mapping[tuple[str, ...], float]
    distributions: Mapping[tuple[str, ...], Distribution] = field(factory=dict)


@implementer(IMetrics)
class MetricStore:
    """Keeps every series, without locks: only the reactor's thread may use it."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._counters: dict[str, dict[tuple[str, ...], _Counter]] = {}
        self._gauges: dict[str, dict[tuple[str, ...], _Gauge]] = {}
        self._histograms: dict[str, dict[tuple[str, ...], _Histogram]] = {}
        self._hooks: list[Callable[[], None]] = []

    def counter(self, metric: Metric, **labels: str) -> ICounter:
        """The counter of ``metric`` with these labels; snapshots contain it from now on, starting at 0.

        :raises ValueError: the metric is no counter, the labels are not the metric's, or another metric has its name.
        """
        values = label_values(metric, Kind.COUNTER, labels)
        self._register(metric)
        return self._counters.setdefault(metric.name, {}).setdefault(values, _Counter())

    def gauge(self, metric: Metric, **labels: str) -> IGauge:
        """As ``counter``, for gauges."""
        values = label_values(metric, Kind.GAUGE, labels)
        self._register(metric)
        return self._gauges.setdefault(metric.name, {}).setdefault(values, _Gauge())

    def histogram(self, metric: Metric, **labels: str) -> IHistogram:
        """As ``counter``, for histograms."""
        values = label_values(metric, Kind.HISTOGRAM, labels)
        self._register(metric)
        return self._histograms.setdefault(metric.name, {}).setdefault(values, _Histogram(metric.buckets))

    def before_export(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` before every snapshot. It sets gauges that are measured on demand, quickly, and never raises."""
        self._hooks.append(hook)

    def remove_hook(self, hook: Callable[[], None]) -> None:
        """Stop calling ``hook``; harmless when it is not called."""
        if hook in self._hooks:
            self._hooks.remove(hook)

    def freeze(self) -> None:
        """The gateway has ended: drop the hooks, and let every measured gauge keep its last value.

        Measures and hooks refer to the gateway's parts, which refer to the store: these cycles would keep them in memory.
        """
        for hook in self._hooks:
            hook()
        self._hooks.clear()
        for series in self._gauges.values():
            for gauge in series.values():
                gauge.set_to(gauge.value)

    def snapshot(self) -> Sequence[Family]:
        """Run the hooks, and return the current numbers in the order of the metrics' names."""
        for hook in self._hooks:
            hook()
        return [self.family(metric) for _, metric in sorted(self._metrics.items())]

    def family(self, metric: Metric) -> Family:
        """The current numbers of one metric, without running the hooks; no series where there are none yet."""
        name = metric.name
        if name not in self._metrics:
            return Family(metric, {})
        if metric.kind is Kind.HISTOGRAM:
            return Family(metric, {}, {values: one.value for values, one in self._histograms[name].items()})
        series: Mapping[tuple[str, ...], _Counter | _Gauge] = self._counters.get(name) or self._gauges[name]
        return Family(metric, {values: one.value for values, one in series.items()})

    def _register(self, metric: Metric) -> None:
        if self._metrics.setdefault(metric.name, metric) != metric:
            raise ValueError(f"metric {metric.name} is there already, with another kind, help text or other labels")
