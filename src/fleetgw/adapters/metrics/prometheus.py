"""Exports the store of series as text that Prometheus scrapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, generate_latest

from fleetgw.adapters.metrics.process_figures import ProcessFigures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetgw.adapters.metrics.store import Family, MetricStore
    from fleetgw.domain.metrics import Metric


class PrometheusExporter:
    """Writes a snapshot for each scrape. Nothing runs between scrapes: the page that serves it is started and stopped.

    prometheus-client appends ``_total`` to the name of every counter, and dashboards use the names without it, so
    this class writes the text itself. Figures of the garbage collector are prometheus-client's.
    """

    def __init__(self, store: MetricStore, registry: CollectorRegistry | None = None) -> None:
        """Export the store and ``registry``; by default, a registry of figures of the process and the garbage collector."""
        if registry is None:
            registry = CollectorRegistry()
            registry.register(ProcessFigures())
            GCCollector(registry=registry)
        self._store = store
        self._registry = registry

    def exposition(self) -> bytes:
        """All series in Prometheus' text format 0.0.4, ours in the order of their names."""
        ours = "".join(line for family in self._store.snapshot() for line in _lines(family))
        # A label value that was not UTF-8 has surrogates.
        return ours.encode("utf-8", "replace") + generate_latest(self._registry)


def _lines(family: Family) -> Iterator[str]:
    metric = family.metric
    yield f"# HELP {metric.name} {_escaped(metric.help)}\n# TYPE {metric.name} {metric.kind.value}\n"
    for labels, value in sorted((_label_text(metric, values), value) for values, value in family.series.items()):
        yield f"{metric.name}{labels} {_number_text(value)}\n"
    for values, distribution in sorted(family.distributions.items()):
        for bound, count in distribution.cumulative():
            yield f"{metric.name}_bucket{_label_text(metric, values, le=bound)} {count}\n"
        labels = _label_text(metric, values)
        yield f"{metric.name}_sum{labels} {_number_text(distribution.sum)}\n"
        yield f"{metric.name}_count{labels} {distribution.count}\n"


def _label_text(metric: Metric, values: tuple[str, ...], **further: str) -> str:
    labels = [*sorted(zip(metric.labels, values, strict=True)), *further.items()]
    pairs = [f'{name}="{_quoted(value)}"' for name, value in labels]
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
