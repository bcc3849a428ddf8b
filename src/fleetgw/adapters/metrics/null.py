"""Metrics for gateways without an exporter."""

from collections.abc import Callable

from zope.interface import implementer

from fleetgw.adapters.metrics.series import label_values
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import ICounter, IGauge, IHistogram, IMetrics


@implementer(ICounter, IGauge, IHistogram)
class _NullSeries:
    def add(self, amount: int) -> None:
        """Do nothing."""

    def set_to(self, value: float) -> None:
        """Do nothing."""

    def measured_by(self, measure: Callable[[], float]) -> None:
        """Do nothing."""

    def observe(self, value: float, count: int = 1) -> None:
        """Do nothing."""


_NULL_SERIES = _NullSeries()


@implementer(IMetrics)
class NullMetrics:
    """Checks metrics and labels, and keeps no number."""

    def counter(self, metric: Metric, **labels: str) -> ICounter:
        """A counter that does nothing."""
        label_values(metric, Kind.COUNTER, labels)
        return _NULL_SERIES

    def gauge(self, metric: Metric, **labels: str) -> IGauge:
        """A gauge that does nothing."""
        label_values(metric, Kind.GAUGE, labels)
        return _NULL_SERIES

    def histogram(self, metric: Metric, **labels: str) -> IHistogram:
        """A histogram that does nothing."""
        label_values(metric, Kind.HISTOGRAM, labels)
        return _NULL_SERIES
