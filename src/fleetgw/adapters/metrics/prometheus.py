"""Metrics for Prometheus to scrape."""

import math
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from zope.interface import implementer

from fleetgw.adapters.metrics.series import label_values
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import ICounter, IGauge, IMetrics


@implementer(ICounter)
class _Counter:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, amount: int) -> None:
        self.value += amount


@implementer(IGauge)
class _Gauge:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def set_to(self, value: float) -> None:
        self.value = value


@implementer(IMetrics)
class PrometheusMetrics:
    """Keeps every series in this process, without locks: used on the reactor's thread only.

    The text is written here rather than by prometheus-client, which appends ``_total`` to the name of every counter: the
    names are those that dashboards already use. The process and garbage collector figures are prometheus-client's.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Show our series and those of ``registry``; by default, the process's and the garbage collector's."""
        if registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
            GCCollector(registry=registry)
        self._registry = registry
        self._metrics: dict[str, Metric] = {}
        self._counters: dict[str, dict[tuple[str, ...], _Counter]] = {}
        self._gauges: dict[str, dict[tuple[str, ...], _Gauge]] = {}

    def counter(self, metric: Metric, **labels: str) -> ICounter:
        """The counter of ``metric`` with these labels; it is shown from now on, with 0 at first.

        :raises ValueError: the metric is no counter, the labels are not the metric's, or another metric has its name.
        """
        values = label_values(metric, Kind.COUNTER, labels)
        self._enter(metric)
        return self._counters.setdefault(metric.name, {}).setdefault(values, _Counter())

    def gauge(self, metric: Metric, **labels: str) -> IGauge:
        """As ``counter``, for gauges."""
        values = label_values(metric, Kind.GAUGE, labels)
        self._enter(metric)
        return self._gauges.setdefault(metric.name, {}).setdefault(values, _Gauge())

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4, our families by name."""
        ours = "".join(self._lines())
        # A label that was no UTF-8 carries surrogates.
        return ours.encode("utf-8", "replace") + generate_latest(self._registry)

    def _enter(self, metric: Metric) -> None:
        if self._metrics.setdefault(metric.name, metric) != metric:
            raise ValueError(f"metric {metric.name} is there already, with another kind, help text or other labels")

    def _lines(self) -> Iterator[str]:
        for name, metric in sorted(self._metrics.items()):
            yield f"# HELP {name} {_escaped(metric.help)}\n# TYPE {name} {metric.kind.value}\n"
            series: Mapping[tuple[str, ...], _Counter | _Gauge] = self._counters.get(name) or self._gauges[name]
            for labels, value in sorted((_label_text(metric, values), one.value) for values, one in series.items()):
                yield f"{name}{labels} {_number_text(value)}\n"


def _label_text(metric: Metric, values: tuple[str, ...]) -> str:
    pairs = [f'{name}="{_quoted(value)}"' for name, value in sorted(zip(metric.labels, values, strict=True))]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _number_text(number: float) -> str:
    if math.isfinite(number):
        return repr(number)
    if math.isnan(number):
        return "NaN"
    return "+Inf" if number > 0 else "-Inf"
