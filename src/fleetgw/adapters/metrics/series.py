"""Label values, which identify a time series of a metric."""

from collections.abc import Mapping

from fleetgw.domain.metrics import Kind, Metric


def label_values(metric: Metric, kind: Kind, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Values of the metric's labels, in the metric's order.

    :raises ValueError: the metric is of the other kind, or ``labels`` are not exactly the metric's.
    """
    if metric.kind is not kind:
        raise ValueError(f"metric {metric.name} is a {metric.kind.value}, not a {kind.value}")
    if labels.keys() != set(metric.labels):
        raise ValueError(f"metric {metric.name} has the labels {sorted(metric.labels)}, not {sorted(labels)}")
    return tuple(labels[name] for name in metric.labels)
